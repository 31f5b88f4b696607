"""Packing: documents in a row do not attend to each other; if they would, packing is refused."""

from pathlib import Path

import pytest
import torch
from chats import conversation, run_values, write_rows
from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.config.labels import IGNORE
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.model.packing import TOLERANCE, check_packing, packing_leak
from megalite.posttraining.run.samples import pad_to_ranks, token_dataset
from megalite.posttraining.schema import SftRun
from megalite.posttraining.settings import Settings
from megalite.posttraining.sft import fine_tune, training_rows

ROW = 128


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_llama_keeps_packed_documents_apart(chat_model: Path, attention: str) -> None:
    from transformers import AutoConfig

    assert packing_leak(AutoConfig.from_pretrained(chat_model), attention) < TOLERANCE


@pytest.mark.parametrize("kind", ["qwen2", "qwen3", "mistral", "gemma", "phi3"])
def test_other_families_of_transformers_keep_them_apart(kind: str) -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model(
        kind, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, hidden_size=64
    )
    check_packing(config, "sdpa")


def test_a_leak_is_seen_and_refused(chat_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import transformers.masking_utils
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(chat_model)
    monkeypatch.setattr(transformers.masking_utils, "find_packed_sequence_indices", lambda position_ids: None)
    assert packing_leak(config, "sdpa") > 0.01
    with pytest.raises(ConfigError, match=r"lets packed documents attend to each other .* set data.packing to false"):
        check_packing(config, "sdpa")


def test_a_model_without_position_ids_is_refused() -> None:
    from transformers import AutoConfig

    config = AutoConfig.for_model("mamba", hidden_size=32, num_hidden_layers=1, vocab_size=64)
    with pytest.raises(ConfigError, match=r"data\.packing: "):
        check_packing(config, "eager")


def test_the_loss_of_every_packed_token_equals_its_loss_alone(chat_model: Path, chat_tokenizer) -> None:
    pytest.importorskip("trl")
    from transformers import AutoModelForCausalLM
    from trl.data_utils import pack_dataset
    from trl.trainer.sft_trainer import DataCollatorForLanguageModeling

    model = AutoModelForCausalLM.from_pretrained(chat_model, dtype=torch.float32, attn_implementation="sdpa").eval()
    encoder = ChatEncoder(chat_tokenizer, "m")
    chats = [encoder.encode(conversation(seed, rounds=1)) for seed in range(24)]
    dataset = token_dataset([(chat.ids, chat.labels) for chat in chats])
    packed = pack_dataset(dataset, ROW, "bfd")
    assert len(packed) < len(dataset) / 2
    batch = DataCollatorForLanguageModeling(pad_token_id=0, padding_free=True)([packed[0], packed[1]])
    documents = [length for row in (packed[0], packed[1]) for length in row["seq_lengths"]]
    assert len(documents) > 4 and "attention_mask" not in batch
    together = token_losses(model, batch)
    position = 0
    for length in documents:
        piece = slice(position, position + length)
        ids, labels = batch["input_ids"][:, piece], batch["labels"][:, piece]
        alone = token_losses(model, {"input_ids": ids, "labels": labels})
        torch.testing.assert_close(together[:, position : position + length - 1], alone, atol=1e-5, rtol=1e-5)
        position += length
    counted = sum(label != IGNORE for row in (packed[0], packed[1]) for label in row["labels"])
    assert int((together > 0).sum()) == counted  # no label is lost, none is taken across documents


def test_a_packed_step_has_the_loss_of_an_unpacked_step(chat_model: Path, chat_tokenizer, tmp_path: Path) -> None:
    pytest.importorskip("trl")
    rows = write_rows(tmp_path / "chat.jsonl", [{"messages": conversation(seed)} for seed in range(24)])

    def settings(samples: int, micro: int, packing: bool) -> Settings[SftRun]:
        batch = {"micro_batch_size": micro, "global_batch_size": samples}
        data, run = {"packing": packing, "sequence_length": 256}, {"name": f"packing-{packing}"}
        values = run_values(tmp_path, chat_model, rows, data=data, batch=batch, run=run, training={"steps": 1})
        return Settings(SftRun.model_validate(values), "y", None, "none", None, False, 1)

    encoder = ChatEncoder(chat_tokenizer, "m")
    chats = [encoder.encode(conversation(seed)) for seed in range(24)]
    packed = training_rows(
        [(chat.ids, chat.labels) for chat in chats], settings(1, 1, packing=True).config, Console(quiet=True)
    )
    assert sorted(length for row in packed for length in row["seq_lengths"]) == sorted(len(chat.ids) for chat in chats)
    assert len(packed) <= 12
    together = fine_tune(settings(len(packed), 1, packing=True)).losses[1]
    assert together == pytest.approx(fine_tune(settings(24, 4, packing=False)).losses[1], rel=1e-5)


def token_losses(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    inputs = {key: value for key, value in batch.items() if key != "labels"}
    with torch.no_grad():
        logits = model(**inputs, use_cache=False).logits[:, :-1]
    labels = batch["labels"][:, 1:]
    losses = torch.nn.functional.cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
    return losses


def test_validation_is_filled_up_with_samples_that_carry_no_loss() -> None:
    samples = [([1, 2, 3], [IGNORE, 2, 3])] * 5
    filled = pad_to_ranks(samples, 4)
    assert len(filled) == 8 and filled[:5] == samples
    assert all(label == IGNORE for _, labels in filled[5:] for label in labels)
    assert pad_to_ranks(samples[:4], 4) == samples[:4]
