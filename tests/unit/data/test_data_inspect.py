"""The trace of documents and samples against the texts themselves."""

import gzip
import json
import random
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import yaml
from pyarrow import parquet
from rich.console import Console
from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.config.load import load_run_config
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import load_recipe
from megalite.data.indexed import IndexedDataset
from megalite.data.inspect import command as inspect_data
from megalite.data.inspect.trace import UntraceableError, trace_documents
from megalite.data.merge import merge
from megalite.data.preprocess.command import preprocess
from megalite.data.preprocess.plan import Level, PreprocessOptions
from megalite.data.samples.blend import open_blend
from megalite.data.samples.gpt_dataset import GPTDataset
from megalite.tokenizer.load import load_tokenizer
from runs import write_documents

QUIET = Console(quiet=True)


def test_parts_name_every_token_of_a_stretch(tmp_path: Path) -> None:
    lengths = [3, 0, 20, 1, 0, 9]
    write_documents(tmp_path / "x", lengths)
    dataset = IndexedDataset(tmp_path / "x")
    owners = [(number, place) for number, length in enumerate(lengths) for place in range(length)]
    for start in range(sum(lengths)):
        for count in (1, 2, 7, sum(lengths) - start):
            if start + count <= sum(lengths):
                told = [(n, first + i) for n, first, taken in dataset.parts(start, count) for i in range(taken)]
                assert told == owners[start : start + count]


def expected_places(paths: list[Path]) -> list[tuple[str, int, str]]:
    """Path, line and text of every document with a word, by a reader of four lines."""
    places = []
    for path in paths:
        content = path.read_bytes()
        lines = (gzip.decompress(content) if path.suffix == ".gz" else content).decode().split("\n")
        for number, line in enumerate(lines, start=1):
            if line.startswith("{") and json.loads(line)["text"]:
                places.append((str(path), number, json.loads(line)["text"]))
    return places


@pytest.fixture
def sources(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A plain file that is cut into many pieces, with blank and broken lines; and a compressed one."""
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 5000)
    lines = corpus.read_text().splitlines(keepends=True)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl.gz"
    first.write_text(
        "".join(line + "\n" * (n % 3 == 0) + "broken\n" * (n % 200 == 0) for n, line in enumerate(lines[:1200]))
    )
    second.write_bytes(gzip.compress("".join(lines[1200:]).encode()))
    return [first, second]


def test_every_document_is_traced_to_its_file_and_line(
    sources: list[Path], word_tokenizer: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(word_tokenizer)
    (manifest,) = preprocess([str(path) for path in sources], word_tokenizer, tmp_path / "out", QUIET)
    assert len(manifest.pieces) > 10
    expected = expected_places(sources)
    dataset = IndexedDataset(tmp_path / "out")
    found = trace_documents(dataset, range(dataset.num_documents), tokenizer)
    assert [(found[n].path, found[n].line, found[n].text) for n in range(dataset.num_documents)] == expected
    assert all(origin.is_same for origin in found.values())
    independent = Tokenizer.from_file(str(word_tokenizer / "tokenizer.json"))
    for number in (0, 17, 1199, dataset.num_documents - 1):
        (alone,) = trace_documents(dataset, [number], tokenizer).values()
        assert alone == found[number]
        assert dataset.document(number).tolist() == [*independent.encode(alone.text).ids, manifest.eod_id]


@pytest.mark.parametrize("level", ["document", "sentence"])
def test_the_trace_knows_the_records_of_several_keys(word_tokenizer: Path, tmp_path: Path, level: Level) -> None:
    if level == "sentence":
        pytest.importorskip("sentencex")
    draw, path, expected = random.Random(4), tmp_path / "x.jsonl", []
    with path.open("w") as file:
        for line in range(1, 400):
            title, text = (draw.choice(["", "the cat. a mat", "my red box", " "]) for _ in range(2))
            record = (
                {"title": title, "text": text} if line % 9 else draw.choice([{"text": "cat"}, {"title": 1, "text": ""}])
            )
            file.write(json.dumps(record) + "\n")
            if line % 9 and (title.strip() or text.strip()):
                expected.append((line, title, text))
    options = PreprocessOptions(keys=("title", "text"), level=level, max_malformed=0.5)
    preprocess([str(path)], word_tokenizer, tmp_path / "out", QUIET, options=options)
    for place, key in ((1, "title"), (2, "text")):
        dataset = IndexedDataset(tmp_path / f"out_{key}_{level}")
        found = trace_documents(dataset, range(dataset.num_documents), load_tokenizer(word_tokenizer))
        assert [(found[n].line, found[n].text) for n in range(len(expected))] == [(e[0], e[place]) for e in expected]
        assert all(origin.is_same is (True if level == "document" else None) for origin in found.values())


def test_rows_of_row_groups_are_traced(word_tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.data.preprocess.plan.SMALLEST_UNIT", 100)
    words = "the cat sat on a mat and then it".split()
    rows = [
        {"text": words[row % 9] + f" {words[row % 7]}" * (row % 5)} if row % 6 else {"text": ""} for row in range(500)
    ]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "x.parquet", row_group_size=20)
    (manifest,) = preprocess([str(tmp_path / "x.parquet")], word_tokenizer, tmp_path / "out", QUIET)
    assert len(manifest.pieces) > 5
    dataset = IndexedDataset(tmp_path / "out")
    found = trace_documents(dataset, range(dataset.num_documents), load_tokenizer(word_tokenizer))
    expected = [(number, row["text"]) for number, row in enumerate(rows, start=1) if row["text"]]
    assert [(found[n].line, found[n].text) for n in range(dataset.num_documents)] == expected
    assert all(origin.is_same for origin in found.values())


def test_the_trace_goes_through_merged_datasets(sources: list[Path], word_tokenizer: Path, tmp_path: Path) -> None:
    for name, path in zip("ab", sources, strict=True):
        preprocess([str(path)], word_tokenizer, tmp_path / name, QUIET)
    merge([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "ab")
    merge([str(tmp_path / "ab"), str(tmp_path / "a")], tmp_path / "aba")
    expected = expected_places([*sources, sources[0]])
    found = trace_documents(IndexedDataset(tmp_path / "aba"), range(len(expected)), load_tokenizer(word_tokenizer))
    assert [(found[n].path, found[n].line, found[n].text) for n in range(len(expected))] == expected
    assert all(origin.is_same for origin in found.values())


def test_the_trace_leads_through_a_corpus_to_the_raw_file(corpus: Path, word_tokenizer: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    source = {"kind": "files", "paths": [str(corpus)]}
    recipe.write_text(yaml.safe_dump({"sources": [source], "filters": [], "valid_fraction": 0.0}))
    prepare_corpus(load_recipe(recipe), tmp_path / "prepared", QUIET)
    shards = sorted(map(str, (tmp_path / "prepared").glob("train-*.jsonl.zst")))
    preprocess(shards, word_tokenizer, tmp_path / "out", QUIET)
    dataset = IndexedDataset(tmp_path / "out")
    raw = corpus.read_text().splitlines()
    found = trace_documents(dataset, range(0, dataset.num_documents, 40), load_tokenizer(word_tokenizer))
    assert len(found) > 20
    for origin in found.values():
        assert origin.path in shards
        assert origin.first_place is not None
        path, _, line = origin.first_place.rpartition(":")
        assert path == str(corpus)
        assert json.loads(raw[int(line) - 1])["text"].strip() == origin.text.strip()


def test_sources_that_are_gone_or_have_changed_are_told(
    sources: list[Path], word_tokenizer: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(word_tokenizer)
    preprocess([str(path) for path in sources], word_tokenizer, tmp_path / "out", QUIET)
    dataset = IndexedDataset(tmp_path / "out")
    with pytest.raises(DataError, match=r"first\.jsonl: \d+ of its documents have no token; give --tokenizer"):
        trace_documents(dataset, [5])
    content = sources[0].read_bytes()
    sources[0].write_bytes(content.replace(b"cat", b"dog"))  # as long as before
    assert not all(origin.is_same for origin in trace_documents(dataset, range(50), tokenizer).values())
    sources[0].write_bytes(content + b"\n")
    with pytest.raises(DataError, match=r"first\.jsonl: has \d+ bytes, it had \d+"):
        trace_documents(dataset, [5], tokenizer)
    sources[0].unlink()
    with pytest.raises(UntraceableError, match=r"first\.jsonl: the source is missing"):
        trace_documents(dataset, [5], tokenizer)


def inspect(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["inspect_data.py", *map(str, arguments)])
    inspect_data.main()


@pytest.fixture
def run_yaml(sources: list[Path], word_tokenizer: Path, tmp_path: Path) -> Path:
    """A run that reads two datasets, one of them merged, with a stage at the end."""
    for name, path in zip("ab", sources, strict=True):
        preprocess([str(path)], word_tokenizer, tmp_path / name, QUIET)
    merge([str(tmp_path / "a"), str(tmp_path / "b")], tmp_path / "ab")
    values = {
        "run": {"name": "x", "seed": 3},
        "model": {
            "vocab_size": 64,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
        },
        "data": {
            "train": [{"prefix": str(tmp_path / "ab"), "weight": 3}, str(tmp_path / "b")],
            "phases": [{"begin": 0.5, "weights": {str(tmp_path / "b"): 1}}],
            "tokenizer": str(word_tokenizer),
            "sequence_length": 50,
        },
        "batch": {"micro_batch_size": 2, "global_batch_size": 8},
        "optimizer": {"lr": 1e-3},
        "training": {"steps": 10},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(values))
    return path


def test_the_samples_of_a_step_are_traced_to_files_and_lines(
    run_yaml: Path, sources: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {place[:2]: place[2] for place in expected_places(sources)}
    config = load_run_config(run_yaml)
    loaded = load_tokenizer(Path(config.data.tokenizer))
    blend = open_blend(config)
    for step, prefixes in ((2, {"ab", "b"}), (6, {"b"})):
        inspect(monkeypatch, "--config", run_yaml, "--step", step, "--json")
        views = json.loads(capsys.readouterr().out)
        assert [view["sample"] for view in views] == list(range((step - 1) * 8, step * 8))
        assert {Path(view["prefix"]).name for view in views} == prefixes
        for view in views:
            assert [token for part in view["parts"] for token in part["ids"]] == blend[view["sample"]].tolist()
            for part in view["parts"]:
                text = places[part["origin"]["path"], part["origin"]["line"]]  # the source itself, read by the test
                ids = [*loaded.tokenizer.encode(text).ids, loaded.eos_id]
                assert ids[part["first"] : part["first"] + len(part["ids"])] == part["ids"]
    inspect(monkeypatch, "--config", run_yaml, "--step", 2, "--sample", 3)
    shown = capsys.readouterr().out
    assert shown.startswith("sample 11: ")
    assert "the same ids" in shown
    assert "<|endoftext|>" in shown


def test_a_document_and_a_sample_are_shown_as_text(
    sources: list[Path],
    word_tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    preprocess([str(path) for path in sources], word_tokenizer, tmp_path / "out", QUIET)
    path, line, text = expected_places(sources)[30]
    inspect(monkeypatch, tmp_path / "out", "--document", 30, "--tokenizer", word_tokenizer)
    shown = capsys.readouterr().out
    assert f"{text} <|endoftext|>" in shown
    assert f"{path}:{line}, the same ids" in shown
    dataset = GPTDataset(str(tmp_path / "out"), 40, 7)
    arguments = ("--sequence_length", 40, "--seed", 7, "--no_trace", "--json")
    inspect(monkeypatch, tmp_path / "out", "--sample", 5, "--epoch", 2, *arguments)
    (view,) = json.loads(capsys.readouterr().out)
    assert view["epoch"] == 2
    assert view["sample"] == dataset.first_window(2) + 5
    assert [token for part in view["parts"] for token in part["ids"]] == dataset[view["sample"]].tolist()
    inspect(monkeypatch, tmp_path / "out", "--tokenizer", word_tokenizer)
    shown = capsys.readouterr().out
    assert "documents by length" in shown
    inspect(monkeypatch, tmp_path / "out", "--tokenizer", word_tokenizer, "--json")
    told = json.loads(capsys.readouterr().out)
    assert told["eod_tokens"] == told["documents"] == len(expected_places(sources))
    assert told["vocabulary_used"] == pytest.approx(told["distinct_ids"] / load_tokenizer(word_tokenizer).vocab_size)


def test_datasets_of_others_are_shown_without_a_trace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tokens = write_documents(tmp_path / "x", [5, 9])
    inspect(monkeypatch, tmp_path / "x", "--document", 1)
    shown = capsys.readouterr().out.splitlines()
    assert shown == ["── document 1, all 9 tokens", " ".join(map(str, tokens[5:]))]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("x", "--document", 2), "--document=2 is not in 0..1"),
        (("x", "--document", -1), "--document=-1 is not in 0..1"),
        (("x", "--sample", -1), "--sample=-1 is not in"),
        (("x", "--sample", 2, "--epoch", 0, "--sequence_length", 8), "--sample=2 is not in 0..1"),
        (("x", "--sample", 0, "--sequence_length", 0), "--sequence_length 0: give at least 1"),
        (("x", "--sample", 0, "--document", 0), "not both"),
        (("gone",), "gone.idx: missing"),
        (("cut",), "cut.idx: has"),
        ((), "give one PREFIX, or --config"),
        (("--config", "run.yaml"), "--config needs --step N"),
        (("--config", "run.yaml", "--step", 1), "run.yaml: no such config file"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[Any, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_documents(tmp_path / "x", [5, 9])
    write_documents(tmp_path / "cut", [5, 9])
    (tmp_path / "cut.idx").write_bytes((tmp_path / "cut.idx").read_bytes()[:-3])
    with pytest.raises(SystemExit) as ended:
        inspect(monkeypatch, *arguments)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert message in told
    assert told.count("\n") == 1


def test_a_step_outside_the_run_is_refused(
    run_yaml: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, message in (
        (("--step", 11), "--step=11 is not in 1..10"),
        (("--step", 0), "--step=0 is not in 1..10"),
        (("--step", 1, "--sample", 8), "--sample=8 is not in 0..7"),
    ):
        with pytest.raises(SystemExit):
            inspect(monkeypatch, "--config", run_yaml, *arguments)
        assert message in capsys.readouterr().err
    inspect(monkeypatch, "--config", run_yaml, "--step", 11, "--json", "--no_trace", "training.steps=20")
    assert len(json.loads(capsys.readouterr().out)) == 8


def headings(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    inspect(monkeypatch, *arguments)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("──")]


def test_the_trace_works_from_any_folder_and_after_a_move(
    corpus: Path,
    word_tokenizer: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project / "raw", elsewhere):
        folder.mkdir(parents=True)
    lines = [line for line in corpus.read_text().splitlines(keepends=True) if json.loads(line)["text"]]
    (project / "raw" / "corpus.jsonl").write_text("".join(lines))
    monkeypatch.chdir(project)
    preprocess(["raw/corpus.jsonl"], word_tokenizer, Path("data"), QUIET)
    for folder, prefix in ((project, "data"), (elsewhere, "../project/data"), (project / "raw", str(project / "data"))):
        monkeypatch.chdir(folder)
        (line,) = headings(monkeypatch, capsys, prefix, "--document", "7")
        assert line.endswith(f"{project / 'raw' / 'corpus.jsonl'}:8")
    # The dataset alone has moved: its sources are where they were.
    for suffix in (".bin", ".idx", ".manifest.json"):
        (project / f"data{suffix}").rename(elsewhere / f"data{suffix}")
    merge([str(elsewhere / "data")] * 2, elsewhere / "both")
    (line,) = headings(monkeypatch, capsys, str(elsewhere / "data"), "--document", "7")
    assert line.endswith(f"{project / 'raw' / 'corpus.jsonl'}:8")
    # All of it has moved together, and what is known is shown; the dataset that was moved before was made elsewhere.
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    for folder in (project, elsewhere):
        folder.rename(tmp_path / "new" / folder.name)
    for number in ("7", str(len(lines) + 7)):
        (line,) = headings(monkeypatch, capsys, "new/elsewhere/both", "--document", number)
        assert line.endswith(f"{tmp_path / 'new' / 'project' / 'raw' / 'corpus.jsonl'}:8")
    # The source is gone.
    (tmp_path / "new" / "project" / "raw" / "corpus.jsonl").unlink()
    found = headings(monkeypatch, capsys, "new/elsewhere/both", "--sample", "3", "--sequence_length", "64")
    assert len(found) > 1
    assert all("corpus.jsonl: the source is missing" in line for line in found)
