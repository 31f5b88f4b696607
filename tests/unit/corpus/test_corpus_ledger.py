import json
import random
import re
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.filters.prose import ProseFilter
from megalite.corpus.ledger.ledger import Ledger, bin_of, bin_start
from megalite.corpus.ledger.page import ledger_page
from megalite.corpus.prepare.dry_run import score_corpus
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.prepare.recount import recount

QUIET = Console(quiet=True)
VOID = {"meta", "br"}


def documents(count: int = 120) -> list[dict[str, object]]:
    """Some good, some too short, some full of numbers, some both, some twice."""
    draw = random.Random(1)
    words = "the and of that house river night day people water light road hand word time year".split()
    made = []
    for number in range(count):
        text = " ".join(draw.choices(words, k=draw.choice([20, 60, 80])))
        if number % 4 == 0:
            text = re.sub(r"[a-z]{4,}", "1234", text)
        made.append({"text": made[-1]["text"] if number % 10 == 9 else text, "meta": {"source": f"s{number % 3}"}})
    return made


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in documents()) + "broken\n")
    return path


def recipe(source: Path, **limits: object) -> Recipe:
    filters = [{"kind": "prose", **limits}, {"kind": "spam"}]
    return Recipe.model_validate({"sources": [{"kind": "files", "paths": [str(source)]}], "filters": filters})


def book(rows: list[dict[str, object]], chain: FilterChain) -> Ledger:
    ledger = Ledger()
    for number, row in enumerate(rows):
        ledger.read += 1
        verdict = chain.judge(str(row["text"]))
        ledger.judge(verdict.reasons, chain.rules, verdict.scores)
        if verdict.reason is None:
            ledger.keep("s", verdict.text)
        else:
            ledger.drop(verdict.reason, "s", f"{row['text']}:{number}", verdict.text)
    return ledger


def test_overlaps_and_lone_reasons_are_counted_from_all_reasons() -> None:
    chain = FilterChain([ProseFilter(min_stop_words=4, max_duplicate_lines=0.0, min_mean_word_length=3.6)])
    rows = documents()
    ledger = book(rows, chain).to_json(chain.rules)
    all_reasons = [set(chain.judge(str(row["text"])).reasons) for row in rows]
    pairs = {frozenset(pair[:2]): pair[2] for pair in ledger["overlaps"]}
    assert len(pairs) >= 3
    for first, second in combinations(ledger["rules"], 2):
        both = sum({first, second} <= reasons for reasons in all_reasons)
        assert pairs.get(frozenset((first, second)), 0) == both
    for name, facts in ledger["rules"].items():
        assert facts["fired"] == sum(name in reasons for reasons in all_reasons)
        assert facts["alone"] == sum(reasons == {name} for reasons in all_reasons)
        assert sum(count for _, _, count in facts["histogram"]) == len(rows)
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values()) == len(rows)


def test_books_of_parts_add_up_to_the_books_of_the_whole() -> None:
    chain = FilterChain([ProseFilter()])
    rows = [row | {"text": f"{row['text']} x{number}"} for number, row in enumerate(documents(300))]
    whole, first, second = book(rows, chain), book(rows[:130], chain), book(rows[130:], chain)
    first.merge(second)
    merged, expected = first.to_json(chain.rules), whole.to_json(chain.rules)
    for ledger in (merged, expected):  # places differ: the parts number their documents from zero
        ledger.pop("dropped_examples")
    assert merged == expected


def test_examples_are_a_fair_sample_of_ten() -> None:
    ledger = Ledger()
    for number in range(2000):
        ledger.read += 1
        ledger.drop("r", "s", f"file:{number}", f"text {number}")
    places = [int(example["place"].split(":")[1]) for example in ledger.dropped_examples["r"]]
    assert len(places) == 10
    assert places == sorted(places)
    assert places[0] < 600 and places[-1] > 1400
    again = Ledger()
    for number in random.Random(2).sample(range(2000), 2000):
        again.read += 1
        again.drop("r", "s", f"file:{number}", f"text {number}")
    assert {v["place"] for v in again.dropped_examples["r"]} == {v["place"] for v in ledger.dropped_examples["r"]}


def test_many_sources_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.corpus.ledger.ledger.MOST_SOURCES", 2)
    ledger = Ledger()
    for name in ("a", "b", "c", "d", "a"):
        ledger.keep(name, "x")
    assert ledger.kept_by_source == {"a": 2, "b": 1, "(other sources)": 2}


@pytest.mark.parametrize("scale", ["share", "count"])
def test_a_score_lies_in_its_bar(scale: str) -> None:
    for score in (0.0, 0.019, 0.02, 0.5, 0.999, 1.0, 1, 2, 3, 50, 12345.6):
        number = bin_of(score, scale)
        assert bin_start(number, scale) <= score * (1 + 1e-12)
        assert score < bin_start(number + 1, scale) or (scale == "share" and score >= 1)


class Checker(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_is_self_contained_and_escapes_its_text() -> None:
    chain = FilterChain([ProseFilter()])
    ledger = book(documents(), chain)
    ledger.drop("exact_duplicate", "<b>", "p:1", "<script>alert('x')</script> & co", twin="p:0")
    ledger.read += 1
    page = ledger_page([ledger.to_json(chain.rules)])
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.links == []
    assert "<script" not in page
    shown = "".join(checker.text)
    assert "<script>alert('x')</script> & co" in shown
    assert "p:1 (twin p:0)" in shown
    for word in ("Funnel", "few_words", "not_alphabetic", "exact_duplicate", "<b>", "Overlaps"):
        assert word in shown
    assert page.count("<svg") == len(chain.rules)


def test_an_empty_ledger_still_makes_a_page() -> None:
    assert "0 % of 0 documents" in ledger_page([Ledger().to_json()])


def test_a_dry_run_counts_what_the_run_itself_does(source: Path, tmp_path: Path) -> None:
    asked = recipe(source)
    score_corpus(asked, tmp_path / "dry", QUIET)
    prepare_corpus(asked, tmp_path / "out", QUIET)
    counted, real = (json.loads((tmp_path / name / "ledger.json").read_text()) for name in ("dry", "out"))
    stages = real.pop("stages")
    assert counted == real
    assert [stage["stage"] for stage in stages] == ["filter", "exact"]
    assert real["dropped"].keys() == {"few_words", "not_alphabetic", "spam_top_word", "exact_duplicate"}
    assert sorted(path.name for path in (tmp_path / "dry").iterdir()) == [
        "ledger.html",
        "ledger.json",
        "recipe.json",
        "scores.parquet",
    ]


def test_thresholds_are_moved_without_reading_again(source: Path, tmp_path: Path) -> None:
    score_corpus(recipe(source, max_duplicate_lines=None), tmp_path / "dry", QUIET)
    moved = recipe(source, min_words=70, min_alphabetic_words=None, max_duplicate_lines=0.5)
    prepare_corpus(moved, tmp_path / "out", QUIET)
    source.unlink()
    chain = FilterChain(moved.filters)
    real = json.loads((tmp_path / "out/ledger.json").read_text())
    del real["stages"]
    assert recount(tmp_path / "dry", moved).to_json(chain.rules) == real


def test_a_rule_that_was_not_scored_and_missing_scores_are_told(source: Path, tmp_path: Path) -> None:
    score_corpus(recipe(source), tmp_path / "dry", QUIET)
    other = recipe(source).model_copy(
        update={
            "filters": Recipe.model_validate(
                {"sources": [{"kind": "files", "paths": ["x"]}], "filters": [{"kind": "gopher_quality"}]}
            ).filters
        }
    )
    with pytest.raises(ConfigError, match="rule 'gopher_few_words' was not scored"):
        recount(tmp_path / "dry", other)
    with pytest.raises(FileNotFoundError, match="no scores; make them"):
        recount(tmp_path, other)
