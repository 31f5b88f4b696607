"""Every command that reads records ends with 2 where too many are malformed, and goes through where they are allowed."""

import importlib
import json
import sys
from pathlib import Path

import pytest
from small_corpus import WORDS

GOOD, BROKEN = 690, 7


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    texts = [" ".join(WORDS[(n * 7919 + i * (n + 3) * 31) % len(WORDS)] for i in range(100)) for n in range(GOOD)]
    lines = [json.dumps({"text": text, "label": str(number % 2)}) for number, text in enumerate(texts)]
    lines[10:10] = ["{broken"] * BROKEN
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines))
    return path


COMMANDS = {
    "megalite.corpus.dedup.command": ["--output", "OUT"],
    "megalite.corpus.decontaminate.command": ["--output", "OUT", "--against", "EVAL"],
    "megalite.corpus.classify.train": ["--label_key", "label", "--positive", "1", "--output", "OUT"],
    "megalite.tokenizer.train": ["--vocab_size", "300", "--output", "OUT"],
    "megalite.data.preprocess.command": ["--tokenizer", "TOKENIZER", "--output_prefix", "OUT", "--workers", "1"],
    "megalite.evaluation.cloze": ["--output", "OUT"],
}


@pytest.mark.parametrize("module", COMMANDS)
def test_a_command_refuses_a_broken_corpus(
    module: str, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "eval.jsonl").write_text(
        json.dumps({"text": "one two three four five six seven eight nine ten"}) + "\n"
    )
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    (folder / "tokenizer.json").write_text(
        json.dumps({"version": "1.0", "added_tokens": [], "model": {"type": "WordLevel", "vocab": {"a": 0, "<eos>": 1},
                    "unk_token": "a"}, "pre_tokenizer": {"type": "Whitespace"}})
    )  # fmt: skip
    words = {"OUT": str(tmp_path / "out"), "EVAL": str(tmp_path / "eval.jsonl"), "TOKENIZER": str(folder)}
    arguments = ["--input", str(broken), *(words.get(word, word) for word in COMMANDS[module])]
    main = importlib.import_module(module).main
    monkeypatch.setattr(sys, "argv", ["command", *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    told = capsys.readouterr().err
    assert f"{BROKEN} of {GOOD + BROKEN} records are malformed, and --max_malformed allows 6; the first: " in told
    assert f"{broken}:11: not JSON" in told
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.bin").exists()
    monkeypatch.setattr(sys, "argv", ["command", *arguments, "--max_malformed", "8"])
    main()
    assert list(tmp_path.glob("out*"))
