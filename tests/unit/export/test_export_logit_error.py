"""The measured logit error is that of the whole models in memory, run by transformers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from megalite.data.index_file import write_index
from megalite.data.indexed import IndexedDataset
from megalite.export.exported_folder import ExportOptions, export_checkpoint
from megalite.export.logit_error import difference, tokens_to_measure
from runs import VOCAB, write_data


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp16"])
def test_the_error_is_that_of_the_models_in_memory(
    make_checkpoint: Callable[..., Any], tmp_path: Path, tied: bool, dtype: str
) -> None:
    checkpoint, model = make_checkpoint(model={"tie_word_embeddings": tied, "attention_bias": True})
    error = export_checkpoint(checkpoint, tmp_path / "out", ExportOptions(dtype, max_shard_bytes=6_000)).error
    assert error is not None
    ids, text = tokens_to_measure(None, 16, VOCAB)
    assert error.text == text
    assert ids.shape == (16, 16)
    with torch.no_grad():
        reference = model(ids).logits
        in_fp32 = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)(ids).logits
        in_own = AutoModelForCausalLM.from_pretrained(tmp_path / "out")(ids).logits.float()
    for measured, logits in ((error.of_weights, in_fp32), (error.of_arithmetic, in_own)):
        assert measured.largest == float((logits - reference).abs().max())
        assert measured.mean == pytest.approx(float((logits - reference).abs().mean()), rel=1e-5)
        assert measured.same_choice == float((logits.argmax(-1) == reference.argmax(-1)).double().mean())
    assert error.spread == pytest.approx(float(reference.std()), rel=1e-5)
    if dtype == "fp32":
        assert error.of_weights.largest == 0.0
    else:
        assert 0 < error.of_weights.largest < error.spread


def test_an_exchanged_weight_is_seen_in_the_error(
    make_checkpoint: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint, _ = make_checkpoint()
    honest = export_checkpoint(checkpoint, tmp_path / "honest", ExportOptions("bf16")).error
    import megalite.export.exported_folder as module

    original = module.cast_pieces

    def negates_one(name: str, *arguments: Any) -> Any:
        for piece in original(name, *arguments):
            yield -piece if name == "model.layers.1.self_attn.o_proj.weight" else piece

    monkeypatch.setattr(module, "cast_pieces", negates_one)
    wrong = export_checkpoint(checkpoint, tmp_path / "wrong", ExportOptions("bf16")).error
    assert honest is not None and wrong is not None
    assert wrong.of_weights.mean > 10 * honest.of_weights.mean


def test_difference_counts_positions_and_takes_absolutes() -> None:
    reference = torch.tensor([[[0.0, 1.0], [2.0, 1.0]]])
    got = difference(reference, torch.tensor([[[0.5, 1.0], [1.0, 1.5]]]))
    assert (got.largest, got.mean, got.same_choice) == (1.0, 0.5, 0.5)


def test_the_tokens_come_from_readable_validation_data(tmp_path: Path) -> None:
    write_data(tmp_path)
    valid = str(tmp_path / "train")
    ids, text = tokens_to_measure(valid, 16, VOCAB)
    assert ids.flatten().tolist() == IndexedDataset(valid).read(0, 256).tolist()
    assert ids.shape == (16, 16)
    assert text == f"the first 256 tokens of the validation data `{valid}`"
    for prefix, vocab_size, reason in [
        (None, VOCAB, "because the run has no validation data"),
        ("gone", VOCAB, "because the validation data `gone` could not be read"),
        (valid, 20, f"because the validation data `{valid}` does not fit the model"),
    ]:
        ids, text = tokens_to_measure(prefix, 16, vocab_size)
        assert text == f"256 random token ids (seed 0), {reason}"
        assert torch.equal(ids, tokens_to_measure(prefix, 16, vocab_size)[0])
        assert 0 <= int(ids.min()) < int(ids.max()) < vocab_size
    assert tokens_to_measure(valid, 4096, VOCAB)[0].shape == (1, 256)
    short = np.arange(50, dtype=np.uint16)
    short.tofile(tmp_path / "short.bin")
    with (tmp_path / "short.idx").open("wb") as file:
        write_index(file, short.dtype, np.array([50], dtype=np.int32))
    assert tokens_to_measure(str(tmp_path / "short"), 16, VOCAB)[0].shape == (3, 16)
