"""What a corpus command refuses before it begins: values that cannot be, bombs, damaged files."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from safetensors.numpy import save_file

from megalite.config.errors import ConfigError, DataError
from megalite.config.explain import validate
from megalite.corpus.classify.classifier import FORMAT, Classifier, Features, load_classifier
from megalite.corpus.decontaminate.command import decontaminate
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.dedup.deduplicate import deduplicate
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe, load_recipe

QUIET = Console(quiet=True)
SOURCES = [{"kind": "files", "paths": ["x.jsonl"]}]


def refused(values: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told) as failure:
        FilterChain(validate(Recipe, values, "r.yaml").filters)
    assert len(str(failure.value)) < 700
    assert len(str(failure.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"sources": []}, "sources=.*at least 1 item"),
        ({"sources": [{"kind": "files", "paths": []}]}, r"sources\.0\.paths=.*at least 1 item"),
        ({"sources": [{"kind": "files"}]}, r"'sources\.0\.paths' is missing; add it"),
        ({"sources": [{"kind": "file", "paths": ["x"]}]}, r"'file' is no kind; did you mean 'files'\?"),
        ({"sources": [{"paths": ["x"]}]}, r"'sources\.0\.kind' is missing"),
        ({"sources": [{"kind": "files", "paths": ["a\0b"]}]}, "a line of printable text is needed"),
        ({"sources": [{"kind": "files", "paths": [" "]}]}, "a line of printable text is needed"),
        ({"sources": SOURCES * 10_001}, "has more than 10000 items"),
        ({"filters": [{"kind": "gopher_qualty"}]}, "is no kind; did you mean 'gopher_quality'"),
        ({"filters": [{"kind": "y" * 9000}]}, "is no kind"),
        ({"filters": [{"kind": "spam"}] * 101}, "has more than 100 items"),
        ({"filters": [{"kind": "spam"}, {"kind": "spam"}]}, "occurs twice; remove one of the two filters"),
        ({"filters": [{"kind": "prose", "min_words": 10**40}]}, "min_words=.*at most"),
        ({"filters": [{"kind": "prose", "min_words": -1}]}, "min_words=-1: must be at least 0"),
        ({"filters": [{"kind": "spam", "max_top_word": float("nan")}]}, "max_top_word=nan"),
        ({"filters": [{"kind": "spam", "max_top_word": float("inf")}]}, "max_top_word=inf"),
        ({"filters": [{"kind": "language", "keep": []}]}, "keep=.*at least 1 item"),
        ({"filters": [{"kind": "language", "keep": ["en"] * 10**4}]}, "keep=.*more than 200"),
        ({"filters": [{"kind": "prose", "stop_words": "the"}]}, "stop_words='the': give a list of words"),
        ({"filters": [{"kind": "prose", "stop_words": {"de": "und"}}]}, "give a list of words, or lists by language"),
        ({"filters": [{"kind": "prose", "min_words": 9, "max_words": 8}]}, "min_words=9 is above max_words=8"),
        ({"filters": {1: 2}}, "expected a list"),
        ({"shuffle_seed": 10**70}, "shuffle_seed=.*at most|shuffle_seed=.*less than"),
        ({"dedup": {"bands": 10**7}}, "dedup.bands=10000000: must be at most"),
        ({"dedup": {"bands": 4000, "rows": 4000}}, "are more than 4,096 minima of a document; lower one"),
        ({"dedup": {"ngram": 10**9}}, "dedup.ngram=1000000000: must be at most"),
        ({"dedup": {"threshold": 0}}, "dedup.threshold=0"),
        ({"dedup": {"threshold": float("nan")}}, "dedup.threshold=nan"),
        ({"decontaminate": {"against": ["x"], "ngram": 10**9}}, "decontaminate.ngram=1000000000: must be at most"),
        ({"decontaminate": {"against": []}}, "decontaminate.against=.*at least 1 item"),
        ({"tokenize": {"train": {"vocab_size": 10**9}}}, "vocab_size=1000000000: must be at most"),
        ({"slurm": {"time": "1\n#SBATCH --wrap=x"}}, "slurm.time="),
        ({"slurm": {"partition": "a\nb"}}, "a line of printable text"),
        ({"slurm": {"options": {"qos": "a\nb"}}}, "a line of printable text"),
        ({"slurm": {"memory_gb": 10**12}}, "slurm.memory_gb=.*at most"),
    ],
)
def test_what_cannot_be_in_a_recipe_is_told_in_one_line(keys: dict[str, Any], told: str) -> None:
    refused({"sources": SOURCES} | keys, told)


@pytest.mark.parametrize(
    ("text", "told"), [("", "nothing"), ("- a\n- b\n", "a list"), ("just words\n", "text"), ("7\n", "a number")]
)
def test_a_file_that_is_no_recipe_says_what_it_holds(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=f"holds {told}, and a recipe has keys such as 'sources:'"):
        load_recipe(path)


@pytest.mark.parametrize("values", [{"bands": 0}, {"rows": 10**9}, {"ngram": 0}, {"threshold": 2}, {"bands": 4097}])
def test_bands_that_would_fill_the_memory_are_refused(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="the command line"):
        validate(Bands, values, "the command line")


@pytest.mark.parametrize("values", [{"ngram": 0}, {"ngram": 10**9}, {"min_words": 10**9}, {"min_overlap": 1.1}])
def test_contamination_is_bounded(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        validate(Contamination, values, "the command line")


@pytest.fixture
def refusal(megalite: Any) -> Callable[..., str]:
    """The one line of a command that is refused."""

    def run(*words: str) -> str:
        ended = megalite(*words)
        assert ended.returncode == 2, ended.stderr
        assert len(ended.stderr.splitlines()) == 1
        return ended.stderr

    return run


def test_options_out_of_bounds_are_told_at_once(refusal: Callable[..., str], tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text('{"text": "a"}\n')
    places = ("--input", str(source), "--output", str(tmp_path / "out"))
    assert "--bands 10000000: give at most 4,096" in refusal("dedup", *places, "--bands", "10000000")
    assert "--threshold nan: give a number" in refusal("dedup", *places, "--threshold", "nan")
    assert "--ngram 1000000000: give at most" in refusal(
        "decontaminate", *places, "--against", "x", "--ngram", "1000000000"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def header(path: Path, **changes: Any) -> Path:
    """A classifier's file with another header."""
    features = {"bits": 10, "characters": [2], "words": [1], "max_characters": 100}
    facts = {"bias": 0.0, "slope": 1.0, "offset": 0.0, "features": features, "facts": {}} | changes
    weights = np.zeros(1 << 10, np.float32)
    save_file({"weights": weights}, path, {"format": FORMAT, "classifier": json.dumps(facts)})
    return path


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"features": {"bits": 10**9, "characters": [], "words": [], "max_characters": 1}},
            "bits=1000000000: must be at most 26",
        ),
        (
            {"features": {"bits": 11, "characters": [2], "words": [], "max_characters": 9}},
            "its features need 2,048 of float32",
        ),
        ({"features": None}, "features"),
        ({"features": {"bits": 10, "characters": [10**9], "words": [], "max_characters": 9}}, "characters.0="),
        ({"bias": "x"}, "bias='x'"),
        ({"slope": None}, "slope=null"),
        ({"more": 1}, "unknown key 'more'"),
    ],
)
def test_a_damaged_header_of_a_classifier_is_told(changes: dict[str, Any], told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        load_classifier(header(tmp_path / "c.safetensors", **changes))


def test_damaged_weights_of_a_classifier_are_told(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    features = Features(bits=10)
    weights = np.zeros(1 << 10, np.float32)
    for wrong in (np.nan, np.inf):
        weights[3] = wrong
        Classifier(weights, 0.0, features=features).save(path)
        with pytest.raises(DataError, match="some weights are not finite"):
            load_classifier(path)
    whole = header(path).read_bytes()
    for content in (b"", whole[:100], whole[:-4], struct.pack("<Q", 2**60) + whole[8:], b"\0" * 64):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a classifier"):
            load_classifier(path)
    save_file({"other": weights}, path, {"format": FORMAT})
    with pytest.raises(DataError, match="not a classifier"):
        load_classifier(path)
    save_file({"weights": np.zeros((2, 2), np.int8)}, path, {"format": FORMAT, "classifier": "[]"})
    with pytest.raises(DataError):
        load_classifier(path)
    with path.open("wb") as file:
        file.truncate(1 << 40)  # a hole, not a disk
    with pytest.raises(DataError, match="larger than"):
        load_classifier(path)


@pytest.mark.parametrize("label", [None, [1], {"a": 1}])
def test_labels_that_are_none_are_told(label: Any, refusal: Callable[..., str], tmp_path: Path) -> None:
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps({"text": "a b c", "label": label}) + "\n")
    words = ("--input", str(source), "--positive", "1", "--output", str(tmp_path / "c.safetensors"))
    assert "a label is text, a number or a boolean; see --label_key" in refusal("train-classifier", *words)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.jsonl", b""),
        ("null.json", b"null"),
        ("number.json", b"7"),
        ("list.json", b"[1, null]"),
        ("word.jsonl", b'{"q": "word"}\n'),
        ("binary.jsonl", bytes(range(256))),
        ("binary.csv", bytes(range(256))),
        ("binary.txt", b"\xff\xff"),
        ("deep.json", b"[" * 100_000),
        ("head.csv", b"a,b\n"),
        ("cut.jsonl.gz", b"\x1f\x8b\x08"),
        ("not.parquet", b"PAR1xxxx"),
    ],
)
def test_an_evaluation_set_without_a_text_or_damaged_is_told(name: str, content: bytes, tmp_path: Path) -> None:
    source, path = tmp_path / "in.jsonl", tmp_path / name
    source.write_text('{"text": "one two three four five six seven eight nine ten"}\n')
    path.write_bytes(content)
    with pytest.raises(DataError, match=re.escape(str(path))) as failure:
        decontaminate([str(source)], [str(path)], tmp_path / "out", Contamination(), QUIET)
    assert len(str(failure.value).splitlines()) == 1
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"broken\n"])
def test_inputs_without_a_document_are_told_by_every_command(content: bytes, tmp_path: Path) -> None:
    source, against = tmp_path / "in.jsonl", tmp_path / "eval.jsonl"
    source.write_bytes(content)
    against.write_text('{"q": "one two three four five six seven eight nine ten"}\n')
    recipe = validate(Recipe, {"sources": [{"kind": "files", "paths": [str(source)]}]}, "r.yaml")
    runs: list[Callable[[Path], Any]] = [
        lambda out: deduplicate([str(source)], out, Bands(), QUIET),
        lambda out: decontaminate([str(source)], [str(against)], out, Contamination(), QUIET),
        lambda out: prepare_corpus(recipe, out, QUIET),
    ]
    for run_one in runs:
        with pytest.raises(DataError, match="no document"):
            run_one(tmp_path / "out")
        assert not list(tmp_path.glob("out*"))
