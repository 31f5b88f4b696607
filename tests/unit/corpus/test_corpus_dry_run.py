"""A dry run over several workers, killed, damaged, and counted again."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from kills import killed_after
from pyarrow import parquet
from rich.console import Console
from small_corpus import files, recipe, write_corpus

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.prepare.dry_run import score_corpus
from megalite.corpus.prepare.plan import make_plan
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.prepare.recount import recount

QUIET = Console(quiet=True)
WEB = [
    {"kind": "gopher_quality", "min_words": 20, "min_stop_words": None},
    {"kind": "c4_quality", "min_sentences": None},
]


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return write_corpus(tmp_path, monkeypatch)


def test_bytes_of_the_scores_do_not_depend_on_the_workers(corpus: Path, tmp_path: Path) -> None:
    asked = recipe(corpus, dedup=None)
    assert len(make_plan(asked, tmp_path / "one").units) > 2
    for name, workers in (("one", 1), ("two", 2)):
        score_corpus(asked, tmp_path / name, QUIET, workers=workers)
    assert files(tmp_path / "one") == files(tmp_path / "two")
    prepare_corpus(asked, tmp_path / "out", QUIET)
    counted, real = (json.loads((tmp_path / name / "ledger.json").read_text()) for name in ("two", "out"))
    del real["stages"]
    assert counted == real
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"one", "two", "out"}


class Counting:
    """A pool, such as Ray's, that is handed in."""

    def __init__(self) -> None:
        self.done = 0

    def map(self, function: Any, items: Any) -> Any:
        for item in items:
            self.done += 1
            yield function(item)


def test_another_engine_scores_the_same_units(corpus: Path, tmp_path: Path) -> None:
    score_corpus(recipe(corpus), tmp_path / "one", QUIET)
    pool = Counting()
    score_corpus(recipe(corpus), tmp_path / "two", QUIET, pool=pool)
    assert pool.done == len(make_plan(recipe(corpus), tmp_path / "two").units)
    assert files(tmp_path / "one") == files(tmp_path / "two")


def test_a_killed_dry_run_goes_on_and_ends_with_equal_bytes(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_corpus(recipe(corpus), tmp_path / "whole", QUIET)
    allowed, finished = 0, False
    while not finished:
        finished = killed_after(allowed, lambda: score_corpus(recipe(corpus), tmp_path / "out", QUIET), monkeypatch)
        allowed += 1
    assert allowed > 3
    assert files(tmp_path / "out") == files(tmp_path / "whole")


def test_a_damaged_part_of_a_killed_dry_run_is_told(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not killed_after(3, lambda: score_corpus(recipe(corpus), tmp_path / "out", QUIET), monkeypatch)
    part = next((tmp_path / "out.work/scores").glob("scores-*.parquet"))
    for content in (b"", part.read_bytes()[:-9], b"[]"):
        part.write_bytes(content)
        with pytest.raises(DataError, match=r"scores-0000\d\.parquet: damaged: .*out\.work and run again"):
            score_corpus(recipe(corpus), tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"PAR1", b"x" * 100])
def test_damaged_scores_are_told(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "scores.parquet").write_bytes(content)
    with pytest.raises(DataError, match="damaged, or not the scores of a dry run"):
        recount(tmp_path, recipe(tmp_path))


def test_scores_that_somebody_else_wrote_are_told(corpus: Path, tmp_path: Path) -> None:
    score_corpus(recipe(corpus), tmp_path / "dry", QUIET)
    path = tmp_path / "dry/scores.parquet"
    table = parquet.read_table(path)
    for wrong in (
        pa.table({"text": ["a"]}),
        table.replace_schema_metadata({}),
        table.replace_schema_metadata({"malformed": "x", "examples": "[]", "settings": "{}"}),
        table.drop_columns(["digest"]),
    ):
        parquet.write_table(wrong, path)
        with pytest.raises((DataError, ConfigError), match="make a new dry run"):
            recount(tmp_path / "dry", recipe(corpus))


def test_a_change_that_the_scores_depend_on_is_refused(corpus: Path, tmp_path: Path) -> None:
    """Only thresholds can be moved: other words or other lines give other numbers."""
    language = {"kind": "language", "keep": ["en"], "min_probability": None}
    score_corpus(recipe(corpus, filters=[*WEB, language]), tmp_path / "dry", QUIET)
    for changed, told in (
        ([WEB[0] | {"stop_words": ["a"]}], r'gopher_quality: stop_words is \["a"\] now and was null'),
        ([WEB[1] | {"min_words_per_line": 5}], "c4_quality: min_words_per_line is 5 now and was 3"),
        ([language | {"keep": ["en", "de"]}], "languages that are kept is"),
    ):
        with pytest.raises(ConfigError, match=told):
            recount(tmp_path / "dry", recipe(corpus, filters=changed))
    moved = recipe(corpus, filters=[WEB[0] | {"min_words": 90}, language | {"min_probability": 0.9}])
    assert recount(tmp_path / "dry", moved).dropped["gopher_few_words"] > 0


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--dry_run", "--engine", "slurm"], "--dry_run scores on this machine or on Ray"),
        (["--render_only"], "--render_only writes the scripts of --engine slurm"),
        (["--workers", "0"], "--workers 0: give at least 1"),
    ],
)
def test_options_that_do_nothing_together_are_refused(
    options: list[str], told: str, megalite: Any, tmp_path: Path
) -> None:
    result = megalite("prepare-corpus", "--recipe", "x.yaml", "--output", tmp_path / "o", *options)
    assert result.returncode == 2
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_no_document_and_nothing_kept_give_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    asked = Recipe.model_validate({"sources": [{"kind": "files", "paths": [str(tmp_path / "in.jsonl")]}]})
    score_corpus(asked, tmp_path / "empty", QUIET)
    assert recount(tmp_path / "empty", asked).read == 0
    (tmp_path / "in.jsonl").write_text('{"text": "short"}\n')
    score_corpus(asked, tmp_path / "dropped", QUIET)
    ledger = json.loads((tmp_path / "dropped/ledger.json").read_text())
    assert (ledger["read"], ledger["kept"]) == (1, 0)
