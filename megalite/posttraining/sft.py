"""Supervised fine-tuning of any Hugging Face folder on conversations and instructions."""

from typing import Any

from rich.console import Console

from megalite.config.errors import DataError, one_line_errors
from megalite.posttraining.chat_rows import conversations
from megalite.posttraining.lora import check_architecture, peft_config
from megalite.posttraining.mask_doctor import examine, show, spread
from megalite.posttraining.mask_page import write_page
from megalite.posttraining.model_folder import (
    chat_encoder,
    check_model_folder,
    load_config_and_tokenizer,
    read_template,
    sequence_limit,
)
from megalite.posttraining.packing import check_packing
from megalite.posttraining.run_state import MASK_PAGE, resume_point, tuning_folder
from megalite.posttraining.samples import Counts, encode_samples, pad_to_ranks, read_samples, token_dataset
from megalite.posttraining.schema import SftRun
from megalite.posttraining.session import is_first_rank, print_rows, run_session
from megalite.posttraining.settings import Settings, deepspeed_dict, read_settings


@one_line_errors
def main() -> None:
    """``tools/sft.py``: under ``accelerate launch``, ``deepspeed``, ``torchrun`` or plain ``python``."""
    fine_tune(read_settings(SftRun, "Fine-tune a model on conversations, with loss on the assistant's words only."))


def fine_tune(settings: Settings[SftRun]) -> Any:
    """Check, let the mask doctor look, train, export; returns what the run reported, None after ``--check``."""
    config = settings.config
    console = Console(quiet=not is_first_rank(), soft_wrap=True)
    run = tuning_folder(config)
    checkpoint = resume_point(config, settings.resume, settings.world_size, settings.ds_config is not None)
    check_model_folder(config.model.path)
    template = read_template(config)
    counts = Counts()
    talks, held_out = read_samples(config.data, config.run.seed, conversations, counts)

    # Up to here nothing heavy was imported: most mistakes cost a second.
    model_config, tokenizer = load_config_and_tokenizer(config.model.path)
    ds_config = deepspeed_dict(settings, model_config.get_text_config().hidden_size)
    sequence_limit(config, model_config)
    check_architecture(config, model_config)
    encoder = chat_encoder(config, tokenizer, template)
    if config.data.packing:
        check_packing(model_config, config.model.attention)
    findings = examine(encoder, spread(talks))
    show(findings, encoder, console)
    train = encode_samples(encoder, talks, config.data, counts, console, "tokenizing")
    valid = None
    if held_out is not None:
        valid = encode_samples(encoder, held_out, config.data, counts, console, "tokenizing held-out")
        valid = valid[: config.validation.max_samples]
    print_rows(counts, len(train), None if valid is None else len(valid), console)
    if not config.data.packing:
        _refuse_too_few(len(train), config, "samples")
    if is_first_rank():
        run.mkdir(parents=True, exist_ok=True)
        write_page(run / MASK_PAGE, findings, encoder)
        console.print(f"more of them: {run / MASK_PAGE}", highlight=False)
    if settings.check:
        return None

    def make_trainer() -> Any:
        return _trainer(settings, ds_config, train, valid, tokenizer)

    return run_session(settings, ds_config, run, checkpoint, encoder, make_trainer, console)


def _trainer(
    settings: Settings[SftRun], ds_config: dict[str, Any] | None, train: Any, valid: Any, tokenizer: Any
) -> Any:
    import datasets
    from trl import SFTConfig

    from megalite.posttraining.arguments import training_arguments
    from megalite.posttraining.trainers import ScheduledSFTTrainer

    datasets.disable_progress_bars()
    config = settings.config
    arguments = SFTConfig(
        **training_arguments(settings, ds_config, valid is not None),
        max_length=config.data.sequence_length if config.data.packing else None,
        packing=config.data.packing,
        packing_strategy="bfd",
        eval_packing=False,
    )
    padded = None if valid is None else pad_to_ranks(valid, settings.world_size * config.batch.micro_batch_size)
    trainer = ScheduledSFTTrainer(
        model=config.model.path,
        args=arguments,
        train_dataset=token_dataset(train),
        eval_dataset=None if padded is None else token_dataset(padded),
        processing_class=tokenizer,
        peft_config=peft_config(config),
    )
    _refuse_too_few(len(trainer.train_dataset), config, "packed rows" if config.data.packing else "samples")
    return trainer


def _refuse_too_few(samples: int, config: SftRun, what: str) -> None:
    if samples < config.batch.global_batch_size:
        raise DataError(
            f"{', '.join(config.data.train)}: {samples} {what} are fewer than batch.global_batch_size="
            f"{config.batch.global_batch_size}; take more rows or a smaller batch"
        )
