"""Decontamination against a brute force over words, and what it says about each document."""

import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.decontaminate.command import decontaminate
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.decontaminate.eval_items import read_eval_items
from megalite.files.readers.documents import read_documents

QUIET = Console(quiet=True)
QUESTION = "If a train leaves the old station at seven and travels for three hours, how far has it gone by then?"
SHORT = "Which of these animals lives on the ice?"
FILLER = "Nothing of this has been seen in any test so far, and nobody knows why. " * 9


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def run(inputs: Path, against: list[Path], output: Path, **options: Any) -> list[dict[str, Any]]:
    workers = options.pop("workers", 1)
    rule = Contamination(**options)
    decontaminate([str(inputs)], [str(path) for path in against], output, rule, QUIET, workers=workers)
    return [json.loads(line) for line in (output / "contaminated.jsonl").read_text().splitlines()]


@pytest.fixture
def evals(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "evals"
    folder.mkdir()
    (folder / "a.jsonl").write_text(
        json.dumps({"id": 1, "question": QUESTION, "choices": {"text": ["yes", SHORT]}}) + "\n"
    )
    (folder / "b.csv").write_text('name,text\nx,"one, two"\ny,"' + " ".join(f"cell{i}" for i in range(20)) + '"\n')
    content = json.dumps([{"targets": {" ".join(f"key{i}" for i in range(15)): 1}}, {"other": "text"}])
    (folder / "c.json.gz").write_bytes(gzip.compress(content.encode()))
    return sorted(folder.iterdir())


def test_a_flagged_document_names_the_item_and_the_position(evals: list[Path], tmp_path: Path) -> None:
    before = "Überall 😀 steht etwas. " + FILLER
    texts = [
        before + QUESTION.upper() + " " + FILLER,
        FILLER,
        "He asked: which of these animals  lives on the ICE, and where?",
        "which of these animals lives on the rock, " + " ".join(f"cell{i}" for i in range(3, 16)),
        "key0 " + " ".join(f"key{i}" for i in range(1, 15)),
        " ".join(f"cell{i}" for i in range(3, 15)) + " only twelve",
        "",
    ]
    found = run(write(tmp_path / "in.jsonl", texts), evals, tmp_path / "out")
    assert [entry["line"] for entry in found] == [1, 3, 4, 5]
    assert [(Path(e["items"][0]["path"]).name, e["items"][0]["item"], e["items"][0]["field"]) for e in found] == [
        ("a.jsonl", 1, "question"),
        ("a.jsonl", 1, "choices.text.1"),
        ("b.csv", 2, "text"),
        ("c.json.gz", 1, "targets"),
    ]
    assert found[0]["character"] == len(before)
    assert words(found[0]["matched"]) == words(QUESTION)[:13]
    assert (found[0]["items"][0]["ngrams"], found[0]["items"][0]["of"]) == (9, 9)
    assert (found[2]["items"][0]["ngrams"], found[2]["items"][0]["of"]) == (1, 8)
    kept = [d.text for d in read_documents(sorted((tmp_path / "out").glob("kept-*")))]
    assert kept == [texts[1], texts[5], texts[6]]
    ledger = json.loads((tmp_path / "out/ledger.json").read_text())
    assert ledger["read"] == 7 == ledger["kept"] + sum(ledger["dropped"].values())
    assert ledger["dropped"] == {
        "contaminated by a.jsonl": 2,
        "contaminated by b.csv": 1,
        "contaminated by c.json.gz": 1,
    }


def test_overlap_and_length_are_the_users(evals: list[Path], tmp_path: Path) -> None:
    texts = [QUESTION, " ".join(QUESTION.split()[:14]), SHORT]
    source = write(tmp_path / "in.jsonl", texts)
    for number, (options, lines) in enumerate(
        [
            ({}, [1, 2, 3]),
            ({"min_overlap": 0.5}, [1, 3]),
            ({"min_words": 9}, [1, 2]),
            ({"ngram": 15, "min_words": 9}, [1]),
        ]
    ):
        assert [entry["line"] for entry in run(source, evals, tmp_path / str(number), **options)] == lines


def test_flagged_documents_are_those_of_a_brute_force(shared_data: Path, tmp_path: Path) -> None:
    evals = [
        shared_data / "eval" / name for name in ("HumanEval.jsonl.gz", "truthfulqa.csv", "arc_easy_validation.jsonl")
    ]
    texts = [document.text for document in read_documents([shared_data / "corpus/peps_en.jsonl.zst"])][250:290]
    items = [words(item.text) for item in read_eval_items(evals)]
    texts += [" ".join(item[2:15]) for item in items if len(item) > 20][::40]
    texts += [" ".join(item[2:14]) for item in items if len(item) > 20][::40]
    grams: dict[int, set[tuple[str, ...]]] = {}
    for item in items:
        n = min(13, len(item))
        if n >= 8:
            grams.setdefault(n, set()).update(tuple(item[i : i + n]) for i in range(len(item) - n + 1))
    expected = []
    for number, text in enumerate(texts, start=1):
        split = words(text)
        if any(tuple(split[i : i + n]) in known for n, known in grams.items() for i in range(len(split) - n + 1)):
            expected.append(number)
    found = run(write(tmp_path / "in.jsonl", texts), evals, tmp_path / "out")
    assert len(expected) > 5
    assert [entry["line"] for entry in found] == expected


def test_a_long_text_is_searched_in_pieces(evals: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [FILLER * n + QUESTION + FILLER for n in range(1, 12)]
    source = write(tmp_path / "in.jsonl", texts)
    whole = run(source, evals, tmp_path / "whole")
    monkeypatch.setattr("megalite.corpus.decontaminate.contamination.BLOCK", 1)
    monkeypatch.setattr("megalite.corpus.decontaminate.contamination.LONG_TEXT", 500)
    monkeypatch.setattr("megalite.corpus.decontaminate.contamination.OVERLAP", 150)
    pieces = run(source, evals, tmp_path / "pieces")
    assert len(whole) == 11
    assert pieces == whole


def test_bytes_do_not_depend_on_the_number_of_workers(
    evals: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megalite.files.readers.input_units.UNIT_BYTES", 300)
    folder = tmp_path / "in"
    folder.mkdir()
    for number in range(3):
        write(folder / f"{number}.jsonl", [FILLER, QUESTION, f"text {number}"])
    for workers in (1, 2):
        found = run(folder / "*.jsonl", evals, tmp_path / str(workers), workers=workers)
        assert [entry["line"] for entry in found] == [2, 2, 2]
    one, two = ({p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("1", "2"))
    assert one == two
    evals[0].write_text(evals[0].read_text() + "{broken\n")
    with pytest.raises(DataError, match=r"a\.jsonl:2: not JSON"):
        run(folder / "*.jsonl", evals, tmp_path / "out")
    assert not (tmp_path / "out").exists()
