"""Write the tuned model as a Hugging Face folder, in one atomic step."""

import shutil
from pathlib import Path
from typing import Any

from megalite.files.own_folder import claim, remove_ours
from megalite.files.whole_folder import NEW, flush_all
from megalite.huggingface.load import load_config, load_weights
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.schema import TuningRun

NOT_EXPORTED = ("training_args.bin", "README.md")
"""A pickle of the arguments, and TRL's own model card."""


def export_model(trainer: Any, config: TuningRun, encoder: ChatEncoder) -> Path:
    """Write ``hf`` (and ``adapter`` with LoRA) into the run folder; returns ``hf``. Collective.

    Generation stops at the template's stop token. An adapter is merged into the weights, so that the folder needs no PEFT.
    """
    run = config.folder
    trainer.model.generation_config.eos_token_id = stop_ids(trainer.model.generation_config, encoder)
    kind = "hf" if config.lora is None else "adapter"
    partial = run / f"{kind}.partial"
    if trainer.is_world_process_zero():
        claim(partial)
    trainer.accelerator.wait_for_everyone()
    trainer.save_model(str(partial / NEW))
    trainer.accelerator.wait_for_everyone()
    if trainer.is_world_process_zero():
        encoder.tokenizer.save_pretrained(partial / NEW)  # the trainer's tokenizer may have another eos token
        _publish(partial, run / kind)
        if config.lora is not None:
            partial = run / "hf.partial"
            claim(partial)
            merge_adapter(config.model.path, run / "adapter", partial / NEW, encoder)
            _publish(partial, run / "hf")
    trainer.accelerator.wait_for_everyone()
    return run / "hf"


def stop_ids(generation_config: Any, encoder: ChatEncoder) -> list[int]:
    """The template's stop token, followed by the tokens at which the model stopped before."""
    known = generation_config.eos_token_id
    known = [known] if isinstance(known, int) else list(known or [])
    if encoder.tokenizer.eos_token_id is not None:
        known.append(encoder.tokenizer.eos_token_id)
    return list(dict.fromkeys([encoder.stop_id, *known]))


def merge_adapter(model: str, adapter: Path, target: Path, encoder: ChatEncoder) -> None:
    """Merge an adapter into the weights of ``model`` in fp32, and write them in the model's dtype."""
    import peft
    import torch
    from transformers.integrations import deepspeed

    deepspeed.unset_hf_deepspeed_config()  # otherwise from_pretrained would partition the weights over all ranks
    config = load_config(model)
    dtype = getattr(config, "dtype", None) or torch.float32
    base = load_weights(model, config, dtype=torch.float32)
    merged = peft.PeftModel.from_pretrained(base, str(adapter)).merge_and_unload().to(dtype)
    merged.generation_config.eos_token_id = stop_ids(merged.generation_config, encoder)
    merged.save_pretrained(target)
    encoder.tokenizer.save_pretrained(target)


def _publish(partial: Path, final: Path) -> None:
    for name in NOT_EXPORTED:
        (partial / NEW / name).unlink(missing_ok=True)
    flush_all(partial / NEW)
    if final.exists():  # the adapter of an interrupted export
        shutil.rmtree(final)
    (partial / NEW).rename(final)
    remove_ours(partial)
