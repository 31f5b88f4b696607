"""Bits per byte against transformers, one token at a time."""

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from megalite.config.errors import ConfigError, DataError
from megalite.evaluation.bits_per_byte import bits_per_byte, document_nats
from megalite.huggingface.load import start_of_text


@pytest.mark.parametrize(("window", "stride"), [(8, 3), (8, 8), (16, 1), (64, 32), (1000, 500)])
def test_windows_predict_each_token_once_with_their_context(model_folder: Path, window: int, stride: int) -> None:
    model = AutoModelForCausalLM.from_pretrained(model_folder)
    ids = torch.randint(0, 500, (41,), generator=torch.Generator().manual_seed(1)).tolist()
    expected, begin, last_end = 0.0, 0, 1
    while last_end < len(ids):  # one token at a time, each with the context of its window
        end = min(len(ids), last_end + (window if last_end == 1 else stride))
        begin = max(0, end - 1 - window)
        for place in range(last_end, end):
            with torch.no_grad():
                logits = model(torch.tensor([ids[begin:place]])).logits[0, -1]
            expected -= float(logits.log_softmax(-1)[ids[place]])
        last_end = end
    assert document_nats(model, ids, window, stride) == pytest.approx(expected, rel=1e-4)


def test_bits_per_byte_are_nats_over_ln_2_and_bytes(model_folder: Path) -> None:
    model, tokenizer = AutoModelForCausalLM.from_pretrained(model_folder), AutoTokenizer.from_pretrained(model_folder)
    text = "Café and tea."
    ids = torch.tensor([[1, *tokenizer(text)["input_ids"]]])
    with torch.no_grad():
        loss = float(model(ids, labels=ids).loss)
    result = bits_per_byte(model, tokenizer, [text])
    assert result.nats_per_token == pytest.approx(loss, rel=1e-5)
    assert result.bytes == 14
    assert result.bits_per_byte == pytest.approx(loss * (ids.shape[1] - 1) / math.log(2) / 14, rel=1e-5)
    with pytest.raises(DataError, match="no text to score"):
        bits_per_byte(model, tokenizer, [])
    for window, stride, message in (
        (8, 9, "--stride 9"),
        (8, 0, "--stride 0"),
        (0, 1, "--window 0"),
        (513, 1, "1 to 512"),
    ):
        with pytest.raises(ConfigError, match=message):
            bits_per_byte(model, tokenizer, [text], window, stride)


def test_a_document_begins_after_bos_or_else_eos(model_folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(model_folder)
    assert start_of_text(tokenizer) == tokenizer.bos_token_id == 1
    tokenizer.bos_token = None
    assert start_of_text(tokenizer) == tokenizer.eos_token_id
    tokenizer.eos_token = None
    with pytest.raises(DataError, match="neither a bos nor an eos"):
        start_of_text(tokenizer)
