"""A damaged or hostile tokenizer folder is one line, and nothing of it is executed."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megalite.config.errors import DataError
from megalite.tokenizer.formats.byte_level import byte_characters
from megalite.tokenizer.load import load_tokenizer

GOOD = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [
        {"id": 256, "content": "<|endoftext|>", "single_word": False, "lstrip": False, "rstrip": False,
         "normalized": False, "special": True}
    ],
    "normalizer": None,
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    "post_processor": None,
    "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
    "model": {
        "type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
        "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
        "vocab": {character: byte for byte, character in enumerate(byte_characters())}, "merges": [],
    },
}  # fmt: skip


def changed(change: Callable[[Any], object]) -> bytes:
    values = json.loads(json.dumps(GOOD))
    change(values)
    return json.dumps(values).encode()


DAMAGED: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "a list": b"[]",
    "an empty object": b"{}",
    "truncated": json.dumps(GOOD).encode()[:2000],
    "not text": b"\xff\xfe\x00",
    "deep": b"[" * 100_000,
    "no vocabulary": changed(lambda values: values["model"].pop("vocab")),
    "an empty vocabulary": changed(lambda values: values["model"].update(vocab={})),
    "a vocabulary of texts": changed(lambda values: values["model"]["vocab"].update(a="b")),
    "a negative id": changed(lambda values: values["model"]["vocab"].update(zz=-1)),
    "an id of a billion": changed(lambda values: values["model"]["vocab"].update(zz=10**9)),
    "two tokens of one id": changed(lambda values: values["model"]["vocab"].update(zz=5)),
    "garbage merges": changed(lambda values: values["model"].update(merges=["a", "b c d", ""])),
    "merges of unknown tokens": changed(lambda values: values["model"].update(merges=[["nono", "nene"]])),
    "an unknown model": changed(lambda values: values["model"].update(type="Magic")),
    "an added token far beyond": changed(lambda values: values["added_tokens"][0].update(id=9999)),
    "an added token without content": changed(lambda values: values["added_tokens"][0].pop("content")),
    "an added token with two ids": changed(lambda values: values["model"]["vocab"].update({"<|endoftext|>": 300})),
    "added tokens that are text": changed(lambda values: values.update(added_tokens="x")),
    "an unknown pre-tokenizer": changed(lambda values: values.update(pre_tokenizer={"type": "Magic"})),
    "no unknown token": changed(
        lambda values: values.update(model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "x"})
    ),
}  # fmt: skip


def refused(folder: Path) -> str:
    with pytest.raises(DataError) as raised:
        load_tokenizer(folder)
    said = str(raised.value)
    assert "\n" not in said
    assert str(folder) in said
    assert len(said) < 500
    return said


def test_the_undamaged_one_loads(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(changed(lambda values: None))
    assert load_tokenizer(tmp_path).vocab_size == 257


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_tokenizer_json_is_one_line(tmp_path: Path, name: str) -> None:
    (tmp_path / "tokenizer.json").write_bytes(DAMAGED[name])
    refused(tmp_path)


@pytest.mark.parametrize("file", ["tokenizer_config.json", "special_tokens_map.json"])
@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b'{"a": 1, "a": 2}', b"\xff"])
def test_a_damaged_config_is_one_line(tmp_path: Path, file: str, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(changed(lambda values: None))
    (tmp_path / file).write_bytes(content)
    assert file in refused(tmp_path)


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage", b"\x00" * 100, b"IQ== 0\nIg== 1\n", bytes(range(256)) * 9],
    ids=lambda content: content[:4],
)
def test_a_tokenizer_model_that_is_none_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    assert "tokenizer.model" in refused(tmp_path)


@pytest.mark.parametrize(
    ("vocabulary", "merges"),
    [
        ("[]", ""),
        ("{}", ""),
        ('{"a": 0, "b": 1}', "a b\n"),
        ('{"a": 0, "b": 1, "ab": 2}', "a b c\n"),
        ('{"a": 0, "b": 1, "ab": 2}', "\x01garbage\n"),
        ('{"a": 0, "b": 0}', ""),
        ('{"a": 0, "b": 1e99}', ""),
    ],
)
def test_garbage_in_gpt2s_files_is_one_line(tmp_path: Path, vocabulary: str, merges: str) -> None:
    (tmp_path / "vocab.json").write_text(vocabulary)
    (tmp_path / "merges.txt").write_text(merges)
    refused(tmp_path)


def test_code_of_a_tokenizer_folder_is_not_executed(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_bytes(changed(lambda values: None))
    config = {"auto_map": {"AutoTokenizer": ["own.Own", None]}, "tokenizer_class": "Own", "chat_template": 7}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'executed')!r}, 'w')\n")
    assert load_tokenizer(tmp_path).eos_id == 256
    assert not (tmp_path / "executed").exists()
    assert "own" not in sys.modules


def test_unavoidable_special_tokens_are_refused_unless_parsed(tmp_path: Path) -> None:
    words = {"vocab": {"a": 0, "stop": 1, "?": 2}, "type": "WordLevel", "unk_token": "?"}
    text = changed(
        lambda values: values.update(model=words, pre_tokenizer={"type": "WhitespaceSplit"}, added_tokens=[])
    )
    (tmp_path / "tokenizer.json").write_bytes(text)
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"eos_token": "stop"}))
    assert "use another tokenizer, or give --parse_special_tokens" in refused(tmp_path)
    assert load_tokenizer(tmp_path, parse_special_tokens=True).eos_id == 1


@pytest.mark.parametrize("value", [True, 3, "moon"])
def test_special_tokens_that_are_no_list_are_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "tokenizer.json").write_bytes(changed(lambda values: None))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"extra_special_tokens": value}))
    assert "extra_special_tokens is" in refused(tmp_path)
