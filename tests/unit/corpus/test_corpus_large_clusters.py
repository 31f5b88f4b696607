"""Large clusters against a brute force over all pairs, and against the plain way of settling them."""

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from rich.console import Console

from megalite.corpus.dedup import large_cluster, shingle_sets
from megalite.corpus.dedup.clustering import batches
from megalite.corpus.dedup.deduplicate import deduplicate
from megalite.corpus.dedup.large_cluster import LargeCluster
from megalite.corpus.dedup.minhash import Bands
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe
from megalite.files.readers.documents import read_documents

QUIET = Console(quiet=True)
NONE_IS_LARGE = 1 << 30


class Sets:
    """Sets of numbers in place of a ShingleSets over an index."""

    def __init__(self, sets: list[set[int]]) -> None:
        self._sets = [np.array(sorted(members), np.uint64) for members in sets]
        self.total = sum(map(len, sets))

    def hashes(self, document: int) -> npt.NDArray[np.uint64]:
        return self._sets[document]


def structured(draw: random.Random) -> list[set[int]]:
    """Templates with a part of one's own, boilerplate in every combination, chains of edits, copies, empty ones."""
    numbers = iter(range(10**9))
    value = lambda: hash_of(next(numbers))  # noqa: E731
    sets: list[set[int]] = []
    for _ in range(3):
        template = {value() for _ in range(draw.randint(5, 60))}
        for _ in range(25):
            sets.append(template | {value() for _ in range(draw.randint(0, len(template)))})
    blocks = [{value() for _ in range(8)} for _ in range(9)]
    sets += [set().union(*draw.sample(blocks, draw.randint(3, 9))) for _ in range(30)]
    for origin in draw.sample(sets, 20):
        kept = {member for member in origin if draw.random() < 0.93}
        sets.append(kept | {value() for _ in range(draw.randint(0, 3))})
    sets += [set(origin) for origin in draw.sample(sets, 5)] + [set(), set()]
    draw.shuffle(sets)
    return sets


def hash_of(number: int) -> int:
    return int.from_bytes(__import__("hashlib").blake2b(str(number).encode(), digest_size=8).digest(), "little")


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("rare", [2, 5, 32])
def test_no_pair_at_the_threshold_is_missed(threshold: float, rare: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large_cluster, "RARE", rare)
    for seed in range(3):
        sets = structured(random.Random(seed))
        everyone = np.zeros((len(sets), 3), np.uint64)  # all share all buckets
        found = LargeCluster(Sets(sets), everyone, threshold)  # type: ignore[arg-type]
        few = 0
        for document, mine in enumerate(sets):
            others = found.with_document(document).tolist()
            near = [
                other
                for other in range(document)
                if (not mine and not sets[other]) or len(mine & sets[other]) >= threshold * len(mine | sets[other]) > 0
            ]
            assert set(near) <= set(others) <= set(range(document))
            few += len(others)
            found.keep(document)
        assert few < (0.9 if threshold < 0.5 else 0.75) * len(sets) ** 2 / 2


def test_documents_that_share_no_bucket_are_never_told() -> None:
    sets = [{1, 2, 3, 4}] * 6
    keys = np.array([[0, 1], [0, 2], [5, 2], [6, 3], [7, 3], [8, 9]], np.uint64)
    found = LargeCluster(Sets(sets), keys, 0.8)  # type: ignore[arg-type]
    told = []
    for document in range(6):
        told.append(found.with_document(document).tolist())
        found.keep(document)
    assert told == [[], [0], [1], [], [3], []]


def pages(count: int, own: int, template: int = 90) -> list[str]:
    draw = random.Random(own)
    words = [f"word{number}" for number in range(20_000)]
    shared = " ".join(draw.choices(words, k=template))
    texts = [f"{shared} {' '.join(draw.choices(words, k=own))}" for _ in range(count)]
    for number in range(0, count, 10):  # and some true copies, with one word at the end
        texts[number] = f"{texts[(number * 7 + 3) % count]} {draw.choice(words)}"
    return texts


def write(path: Path, texts: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return path


def files(folder: Path) -> dict[str, Any]:
    """All bytes, but for the number of comparisons."""
    found: dict[str, Any] = {path.name: path.read_bytes() for path in folder.iterdir()}
    found["ledger.json"] = json.loads(found["ledger.json"])
    found["ledger.json"].get("dedup", {}).pop("compared", None)
    return found


@pytest.mark.parametrize("own", [24])
def test_a_crowd_keeps_the_same_documents_for_any_workers(
    own: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = write(tmp_path / "in.jsonl", pages(400, own))
    monkeypatch.setattr("megalite.corpus.dedup.clustering.LARGE", NONE_IS_LARGE)
    deduplicate([str(source)], tmp_path / "plain", Bands(), QUIET)
    monkeypatch.setattr("megalite.corpus.dedup.clustering.LARGE", 50)
    monkeypatch.setattr("megalite.files.readers.input_units.UNIT_BYTES", 60_000)
    for workers in (1, 2):
        deduplicate([str(source)], tmp_path / f"{workers}", Bands(), QUIET, workers=workers)
    assert files(tmp_path / "1") == files(tmp_path / "2")
    removed = [(tmp_path / name / "removed.jsonl").read_text() for name in ("plain", "1")]
    assert removed[0] == removed[1]
    assert removed[0].count("\n") >= 30


@pytest.mark.parametrize("name", ["neardup_articles_2500", "neardup_pep_revisions"])
def test_labelled_sets_lose_the_same_documents(
    name: str, shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = str(shared_data / f"messy/{name}.jsonl.zst")
    for label, limit in (("plain", NONE_IS_LARGE), ("large", 2)):
        monkeypatch.setattr("megalite.corpus.dedup.clustering.LARGE", limit)
        deduplicate([source], tmp_path / label, Bands(), QUIET)
    assert files(tmp_path / "plain") == files(tmp_path / "large")


def test_a_recipe_settles_a_large_cluster_as_the_command_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.corpus.dedup.clustering.LARGE", 50)
    source = write(tmp_path / "in.jsonl", pages(300, 40))
    values = {"sources": [{"kind": "files", "paths": [str(source)]}], "dedup": {}, "exact_dedup": False}
    off = {"min_stop_words": None, "max_mean_word_length": None, "min_alphabetic_words": None}
    prepare_corpus(Recipe.model_validate(values | {"filters": off}), tmp_path / "out", QUIET)
    deduplicate([str(source)], tmp_path / "alone", Bands(), QUIET)
    lines = [(tmp_path / name / "removed.jsonl").read_text().splitlines() for name in ("out", "alone")]
    assert lines[0] == lines[1]
    assert lines[0]


@pytest.mark.parametrize("own", [20, 30, 60])
def test_pages_of_one_template_are_not_compared_in_pairs(
    own: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At 0.78, 0.74 and 0.59 to each other, under a threshold of 0.8: a count of candidates, not of seconds."""
    candidates = 0
    likely = shingle_sets.ShingleSets.likely

    def counted(self: Any, document: int, others: Any) -> Any:
        nonlocal candidates
        candidates += len(others)
        return likely(self, document, others)

    monkeypatch.setattr(shingle_sets.ShingleSets, "likely", counted)
    count = 1500
    deduplicate([str(write(tmp_path / "in.jsonl", pages(count, own, 150)))], tmp_path / "out", Bands(), QUIET)
    assert candidates < 3 * count  # by the buckets alone: 40 % of all pairs and more


def test_large_clusters_are_settled_alone_and_none_is_cut() -> None:
    ends = np.cumsum([3, 2, 2000, 4, 1024, 5000, 1, 1])
    found = list(batches(ends, 6000))
    assert found == [
        (0, 5, False), (5, 2005, True), (2005, 2009, False), (2009, 3033, True), (3033, 8033, True), (8033, 8035, False)
    ]  # fmt: skip
    assert list(batches(np.cumsum([3, 3, 3]), 6)) == [(0, 6, False), (6, 9, False)]
    assert list(batches(np.empty(0, np.int64), 6)) == []


def test_real_documents_around_a_template_are_all_there(shared_data: Path, tmp_path: Path) -> None:
    texts = [d.text[:900] for d in read_documents([shared_data / "messy/web_docs_ewt_en.jsonl.zst"])][:300]
    notice = "This page is part of an archive and its contents are shown as they were at that time. " * 4
    source = write(tmp_path / "in.jsonl", [notice + text for text in texts] + [notice + text for text in texts[:40]])
    deduplicate([str(source)], tmp_path / "out", Bands(), QUIET)
    removed = [json.loads(line)["line"] for line in (tmp_path / "out/removed.jsonl").read_text().splitlines()]
    assert set(range(301, 341)) <= set(removed)
