import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import datasets
import pytest
import yaml
from rich.console import Console
from small_corpus import reason_to_drop

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.filters.prose import ProseFilter
from megalite.corpus.prepare.plan import make_plan
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe, load_recipe
from megalite.corpus.sources.installed_docs import installed_documents, module_docstrings
from megalite.corpus.words.clean_text import clean_text
from megalite.files.readers.documents import read_documents
from megalite.files.readers.malformed import ReadReport

REPOSITORY = Path(__file__).parents[3]
QUIET = Console(quiet=True)
INVISIBLE = {*map(chr, [*range(9), *range(0xE, 0x1C), 0x1F, 0x7F, 0xFEFF, 0x200B])}
GOOD = (
    "The quick brown fox and the lazy dog have to live with each other in that old house by the river, and nobody knows "
    "how long this will go on, because each of them thinks of the other as a guest that came for a day and stayed. "
) * 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (GOOD, None),
        ("The dog and the cat.", "few_words"),
        (GOOD * 1500, "many_words"),
        ("a b c d e f g the of to " * 20, "short_words"),
        ("internationalisation the institutionalisation of " * 30, "long_words"),
        ("lorem ipsum dolor sit amet " * 20, "few_stop_words"),
        (("there and with " + "| " * 13) * 20, "token_to_word_ratio"),
        ("the 12345 and 67890 of 1.111 222 333 444 " * 10, "not_alphabetic"),
        (
            "\n".join([f"This is line {n} with the words and of" for n in range(10)] + ["the same line"] * 10),
            "duplicate_lines",
        ),
    ],
)
def test_each_rule_drops_what_it_is_for(text: str, reason: str | None) -> None:
    assert reason_to_drop(text, [ProseFilter()]) == reason


def test_a_rule_can_be_turned_off() -> None:
    assert reason_to_drop("The dog and the cat.", [ProseFilter(min_words=None, min_stop_words=1)]) is None


def test_cleaning_orders_characters_and_keeps_what_is_said() -> None:
    assert clean_text("a\r\nb\x00c  \n\n\n\n\n\nd\u200b e\u0301\n") == "a\nbc\n\n\nd \u00e9"
    assert clean_text("x\ud800y") == "x\ufffdy"
    assert clean_text("\tdef f(x):\n\t\treturn x") == "\tdef f(x):\n\t\treturn x"


@pytest.mark.parametrize("mark", ["\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x1d", "\x1e", "\x85", "\u2028", "\u2029"])
def test_whatever_breaks_a_line_keeps_words_apart(mark: str) -> None:
    assert clean_text(f"one{mark}two").splitlines() == (["one", "", "two"] if mark == "\u2029" else ["one", "two"])


def test_cleaning_twice_is_cleaning_once_on_real_mail(shared_data: Path) -> None:
    texts = [d.text for d in read_documents([shared_data / "messy/email_spamassassin.jsonl.zst"])][:300]
    once = [clean_text(text) for text in texts]
    assert [clean_text(text) for text in once] == once
    assert [text.split() for text in once] == [
        "".join(c for c in unicodedata.normalize("NFC", text) if c not in INVISIBLE).split() for text in texts
    ]


def test_docstrings_are_parsed_and_never_run() -> None:
    long = "What this module is for, told at length." * 10
    source = f'"""{long}"""\nraise SystemExit\nclass A:\n    def f(self):\n        """{long}again"""\n'
    assert module_docstrings(source) == [long, long + "again"]
    assert module_docstrings("def (") == []


def test_installed_packages_give_text_without_absolute_paths() -> None:
    documents = list(installed_documents(300_000))
    assert sum(len(d.text) for d in documents) > 200_000
    assert [d.text for d in documents] == [d.text for d in installed_documents(300_000)]
    assert all(not d.meta["path"].startswith("/") for d in documents)
    assert {d.meta["kind"] for d in documents} >= {"docstrings", "description"}


def test_what_an_interrupted_pip_leaves_behind_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "~broken-1.0.dist-info").mkdir()
    expected = [d.path for d in installed_documents(50_000)]
    monkeypatch.syspath_prepend(tmp_path)
    assert [d.path for d in installed_documents(50_000)] == expected


@pytest.fixture
def source(tmp_path: Path) -> Path:
    lines = [{"text": f"{GOOD} Number {n}.", "meta": {"source": f"s{n % 3}"}} for n in range(300)]
    lines += [{"text": lines[n]["text"].upper()} for n in range(20)]  # the same words
    lines += [{"text": "too short"}] * 5
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines) + "broken\n")
    return path


def recipe(source: Path, **keys: object) -> Recipe:
    return Recipe.model_validate(
        {"sources": [{"kind": "files", "paths": [str(source)]}], "valid_fraction": 0.1, **keys}
    )


def test_in_equals_kept_plus_dropped_with_reasons_and_examples(source: Path, tmp_path: Path) -> None:
    prepare_corpus(recipe(source), tmp_path / "out", QUIET)
    ledger = json.loads((tmp_path / "out/ledger.json").read_text())
    assert (ledger["read"], ledger["kept"], ledger["malformed"]) == (325, 300, 1)
    assert ledger["malformed_examples"][0].startswith(f"{source}:326: not JSON")
    assert ledger["dropped"] == {"exact_duplicate": 20, "few_words": 5}
    assert ledger["dropped_examples"]["few_words"][0] == {"place": f"{source}:321", "text": "too short"}
    assert ledger["kept_by_source"] == {"s0": 100, "s1": 100, "s2": 100}


def test_the_split_is_whole_shuffled_and_reproducible(source: Path, tmp_path: Path) -> None:
    for name in ("a", "b"):
        prepare_corpus(recipe(source), tmp_path / name, QUIET)
    for file in ("train-00000.jsonl.zst", "valid-00000.jsonl.zst", "ledger.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    train, valid = (
        [d.text for d in read_documents([tmp_path / "a" / f"{split}-00000.jsonl.zst"])] for split in ("train", "valid")
    )
    assert len(set(train) | set(valid)) == len(train) + len(valid) == 300
    assert 10 < len(valid) < 60
    numbers = [int(text.split()[-1].rstrip(".")) for text in train]
    assert numbers != sorted(numbers)
    prepare_corpus(recipe(source, shuffle_seed=9), tmp_path / "c", QUIET)
    other = [d.text for d in read_documents([tmp_path / "c/train-00000.jsonl.zst"])]
    assert other != train
    assert sorted(other) == sorted(train)  # another order, the same split


def test_a_finished_corpus_is_kept_from_another_recipe(source: Path, tmp_path: Path) -> None:
    prepare_corpus(recipe(source), tmp_path / "out", QUIET)
    before = (tmp_path / "out/train-00000.jsonl.zst").stat().st_mtime_ns
    prepare_corpus(recipe(source), tmp_path / "out", QUIET)
    assert (tmp_path / "out/train-00000.jsonl.zst").stat().st_mtime_ns == before
    with pytest.raises(DataError, match="is not of this recipe"):
        prepare_corpus(recipe(source, valid_fraction=0.2), tmp_path / "out", QUIET)
    prepare_corpus(recipe(source, valid_fraction=0.2), tmp_path / "out", QUIET, overwrite=True)


def test_overwrite_replaces_a_corpus_and_nothing_else(source: Path, tmp_path: Path) -> None:
    prepare_corpus(recipe(source), tmp_path / "out", QUIET)
    (tmp_path / "out/thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"contains 'thesis\.tex', which this command did not write"):
        prepare_corpus(recipe(source, valid_fraction=0.2), tmp_path / "out", QUIET, overwrite=True)
    assert (tmp_path / "out/thesis.tex").read_text() == "years of work"
    with pytest.raises(DataError, match="is a file, but the output is a folder"):
        prepare_corpus(recipe(source), source, QUIET, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("notes")
    with pytest.raises(DataError, match="exists; choose another"):
        prepare_corpus(recipe(source), tmp_path / "mine", QUIET)


def test_a_failure_leaves_what_was_there(source: Path, tmp_path: Path) -> None:
    prepare_corpus(recipe(source), tmp_path / "out", QUIET)
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    with pytest.raises(DataError, match="no document of 325"):
        prepare_corpus(recipe(source, filters={"min_words": 10_000}), tmp_path / "out", QUIET, overwrite=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == ["out"]


def test_sources_without_a_document_say_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    with pytest.raises(DataError, match="the sources hold no document; check"):
        prepare_corpus(recipe(empty), tmp_path / "out", QUIET)
    empty.write_text('{"body": "x"}\n')
    with pytest.raises(DataError, match=r"no document \(1 are malformed, .*empty\.jsonl:1: no key 'text'"):
        prepare_corpus(recipe(empty), tmp_path / "out", QUIET)


def test_an_empty_result_and_a_wrong_recipe_are_refused(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no document of 325 is left; loosen the filters: \{'few_words': 325\}"):
        prepare_corpus(recipe(source, filters={"min_words": 10_000}), tmp_path / "out", QUIET)
    assert not list(tmp_path.glob("out*"))
    file = tmp_path / "r.yaml"
    file.write_text(yaml.safe_dump({"sources": [{"kind": "files", "paths": ["x"]}], "filters": {"min_word": 3}}))
    with pytest.raises(ConfigError, match=r"filters: unknown key 'min_word'; did you mean 'min_words'"):
        load_recipe(file)
    with pytest.raises(FileNotFoundError, match="no file matches"):
        prepare_corpus(recipe(tmp_path / "none.jsonl"), tmp_path / "out", QUIET)


def test_a_local_datasets_folder_is_streamed(source: Path, tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "train.jsonl").write_text("".join(json.dumps({"text": f"{GOOD} {n}"}) + "\n" for n in range(20)))
    values = {"sources": [{"kind": "dataset", "name": str(folder), "max_documents": 15}]}
    prepare_corpus(Recipe.model_validate(values), tmp_path / "out", QUIET)
    assert json.loads((tmp_path / "out/ledger.json").read_text())["kept"] == 15


class LastFirst:
    """A pool whose tasks finish in reverse order."""

    workers = 2

    workers = 1

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        return [function(item) for item in reversed(items)][::-1]


def test_the_files_of_a_dataset_are_units_of_work(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    for name in range(5):
        rows = [{"text": f"{GOOD} {name} {row}"} for row in range(name)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows or [{"text": GOOD}]))
    recipe = Recipe.model_validate({"sources": [{"kind": "dataset", "name": str(folder)}], "valid_fraction": 0})
    plan = make_plan(recipe, tmp_path / "out")
    assert plan.units == [(0, part) for part in range(5)]
    prepare_corpus(recipe, tmp_path / "out1", QUIET)
    prepare_corpus(recipe, tmp_path / "out2", QUIET, pool=LastFirst())
    one, two = (sorted((tmp_path / f"out{n}").glob("train-*")) for n in (1, 2))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]
    documents = list(read_documents(one))
    assert len({document.meta["place"] for document in documents}) == len(documents) == 11
    assert f"{folder}[4/5]:4" in {document.meta["place"] for document in documents}


def test_a_broken_dataset_is_one_line(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    (folder / "train.jsonl").write_text('{"text": "a"}\n{"text": null}\n')
    values = {"sources": [{"kind": "dataset", "name": str(folder)}], "on_error": "fatal"}
    with pytest.raises(DataError, match="dataset:2: no text under 'text'"):
        prepare_corpus(Recipe.model_validate(values), tmp_path / "out", QUIET)

    def breaks_off() -> Iterator[dict[str, str]]:
        yield {"text": GOOD}
        raise OSError("connection reset\nmore of it")

    stream = datasets.IterableDataset.from_generator(breaks_off)
    monkeypatch.setattr("datasets.load_dataset", lambda *_, **__: stream)
    with pytest.raises(DataError, match=r"cannot be read: connection reset$"):
        prepare_corpus(Recipe.model_validate(values), tmp_path / "out", QUIET)
    assert not (tmp_path / "out").exists()


def test_every_shipped_recipe_loads() -> None:
    shipped = list((REPOSITORY / "examples").rglob("corpus.yaml"))
    assert shipped
    for path in shipped:
        load_recipe(path)


def test_encodings_are_repaired_on_request(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "schÃ¶n â€œquotedâ€\x9d"}\n{"text": "plain “quotes” &lt;"}\n')
    sources = [{"kind": "files", "paths": [str(path)]}]
    texts = {}
    for repair in (False, True):
        recipe = Recipe.model_validate({"sources": sources, "repair_encodings": repair})
        texts[repair] = [d.text for d in make_plan(recipe, tmp_path / "out").documents(0, ReadReport())]
    assert texts[False] == ["schÃ¶n â€œquotedâ€\x9d", "plain “quotes” &lt;"]
    assert texts[True] == ["schön “quoted”", "plain “quotes” <"]
