"""The stages of a recipe against a plain program over all documents: same bytes, nothing lost or half done."""

import errno
import hashlib
import json
import multiprocessing
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from kills import killed_after
from rich.console import Console

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.prepare import plan
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe
from megalite.files.readers.documents import read_documents

QUIET = Console(quiet=True)
WORDS = [f"{a}{b}" for a in "wamo seli turo pike ganu lefo".split() for b in map(str, range(400))]
ITEM = "the seven grey engineers of the northern mill counted every one of their silver coins twice before supper"


def sample(number: int, words: int = 60) -> str:
    return " ".join(WORDS[(number * 7919 + i * (number + 3) * 31) % len(WORDS)] for i in range(words))


def edited(text: str, every: int) -> str:
    return " ".join("other" if i % every == 0 else word for i, word in enumerate(text.split(" "), start=1))


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Three files with good and short texts, copies within and across them, near-copies, evaluation items, broken lines."""
    texts = [sample(n) for n in range(90)]
    texts += [sample(n).upper() for n in range(0, 40, 4)] + [edited(sample(n), 60) for n in range(1, 60, 5)]
    texts += ["short", "too short"] * 3 + [f"{sample(n, 30)} {ITEM} {sample(n + 1, 30)}" for n in range(200, 204)]
    texts += [f"{sample(90)} \u00e9\u4f60\U0001f600 {n}" for n in range(3)]
    for number in range(3):
        lines = [
            json.dumps({"text": text, "meta": {"source": f"s{i % 2}", "place": "a town"}})
            for i, text in enumerate(texts[number::3])
        ]
        (tmp_path / f"{number}.jsonl").write_text("\n".join([*lines[:9], "{broken", *lines[9:], ""]))
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": ITEM}) + "\n")
    return tmp_path


@pytest.fixture
def fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units, buckets and parts so small that there are some of each."""
    for name, size in (("SMALLEST_UNIT", 16_000), ("BUCKET_BYTES", 25_000), ("PARTITION_BYTES", 25_000)):
        monkeypatch.setattr(plan, name, size)


def recipe(corpus: Path, **keys: Any) -> Recipe:
    values = {
        "sources": [{"kind": "files", "paths": [f"{corpus}/[012].jsonl"]}],
        "filters": {"min_words": 20, "min_stop_words": None, "min_alphabetic_words": None},
        "dedup": {},
        "decontaminate": {"against": [f"{corpus}/eval.jsonl"]},
        "valid_fraction": 0.2,
    }
    return Recipe.model_validate(values | keys)


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def texts(folder: Path, side: str) -> list[str]:
    return [document.text for document in read_documents(sorted(folder.glob(f"{side}-*")))]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def plainly(corpus: Path, threshold: float = 0.8) -> tuple[list[str], dict[str, list[str]]]:
    """What is left, in the order of the sources, and the places of what is not, by reason; everything in plain loops."""
    left: list[str] = []
    gone: dict[str, list[str]] = {"few_words": [], "exact_duplicate": [], "near_duplicate": [], "contaminated": []}
    seen: set[str] = set()
    sets: list[set[str]] = []
    for file in sorted(corpus.glob("[012].jsonl")):
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            if line.startswith("{broken"):
                continue
            text, place = json.loads(line)["text"], f"{file}:{number}"
            words = re.findall(r"\w+", text.lower())
            grams = {" ".join(words[i : i + 5]) for i in range(max(1, len(words) - 4))}
            if len(words) < 20:
                gone["few_words"].append(place)
            elif " ".join(words) in seen:
                gone["exact_duplicate"].append(place)
            else:
                seen.add(" ".join(words))
                if any(len(grams & other) / len(grams | other) >= threshold for other in sets):
                    gone["near_duplicate"].append(place)
                else:
                    sets.append(grams)
                    if any(" ".join(ITEM.split()[i : i + 13]) in text for i in range(len(ITEM.split()) - 12)):
                        gone["contaminated"].append(place)
                    else:
                        left.append(text)
    return left, gone


def test_the_stages_equal_a_plain_program_over_all_documents(
    corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("megalite.corpus.dedup.stage.BYTES_A_CANDIDATE", 150 << 20)  # few clusters in a batch
    prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    left, gone = plainly(corpus)
    assert all(gone.values())
    train, valid = texts(corpus / "out", "train"), texts(corpus / "out", "valid")
    assert sorted(train + valid) == sorted(left)

    def held_out(text: str) -> bool:
        digest = hashlib.blake2b(text.encode(), digest_size=8, person=b"split").digest()
        return int.from_bytes(digest, "little") / 2**64 < 0.2

    def order(text: str) -> bytes:
        return hashlib.blake2b(text.encode(), digest_size=16, key=b"1234").digest()

    assert valid == sorted(filter(held_out, left), key=order)
    assert train == sorted((text for text in left if not held_out(text)), key=order)
    assert len(list((corpus / "out").glob("train-*"))) > 1
    removed = lines(corpus / "out/removed.jsonl")
    for rule in ("exact_duplicate", "near_duplicate"):
        assert sorted(f"{e['path']}:{e['line']}" for e in removed if e["rule"] == rule) == sorted(gone[rule])
    flagged = lines(corpus / "out/contaminated.jsonl")
    assert sorted(f"{entry['path']}:{entry['line']}" for entry in flagged) == sorted(gone["contaminated"])
    assert {entry["items"][0]["path"] for entry in flagged} == {f"{corpus}/eval.jsonl"}


def test_every_twin_stands_where_the_list_says_and_stays(corpus: Path, fine: None) -> None:
    prepare_corpus(recipe(corpus, decontaminate=None), corpus / "out", QUIET)
    kept = set(texts(corpus / "out", "train") + texts(corpus / "out", "valid"))

    def text_at(path: str, line: int) -> str:
        text: str = json.loads(Path(path).read_text().splitlines()[line - 1])["text"]
        return text

    for entry in lines(corpus / "out/removed.jsonl"):
        copy, twin = text_at(entry["path"], entry["line"]), text_at(entry["kept_path"], entry["kept_line"])
        assert copy not in kept
        assert (copy.lower() == twin.lower()) == (entry["rule"] == "exact_duplicate")
        if entry["rule"] == "near_duplicate":
            assert twin in kept


def test_bytes_do_not_depend_on_workers_or_memory(corpus: Path, fine: None) -> None:
    whole = recipe(corpus, dedup={"write_index": True})
    prepare_corpus(whole, corpus / "out", QUIET)
    one = files(corpus / "out")
    for workers, memory in ((2, 2048), (1, 144)):
        prepare_corpus(whole, corpus / "out", QUIET, overwrite=True, workers=workers, memory_mb=memory)
        assert files(corpus / "out") == one


def test_the_funnel_has_every_stage_and_loses_nobody(corpus: Path, fine: None) -> None:
    prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    total = json.loads((corpus / "out/ledger.json").read_text())
    stages = total["stages"]
    _, gone = plainly(corpus)
    assert [stage["stage"] for stage in stages] == ["filter", "exact", "dedup", "decontaminate"]
    for stage, after in zip(stages, [*stages[1:], None], strict=True):
        assert stage["read"] == stage["kept"] + sum(stage["dropped"].values())
        assert after is None or after["read"] == stage["kept"]
    names = {"contaminated": "contaminated by eval.jsonl"}
    assert total["dropped"] == {names.get(rule, rule): len(places) for rule, places in gone.items()}
    assert (total["read"], total["kept"], total["malformed"]) == (stages[0]["read"], stages[-1]["kept"], 3)
    assert total["read"] == total["kept"] + sum(total["dropped"].values())
    documents = list(read_documents(sorted((corpus / "out").glob("*-*.zst"))))
    assert total["kept"] == len(documents)
    assert total["kept_by_source"] == Counter(document.meta["source"] for document in documents)
    assert {rule: len(sample) for rule, sample in total["dropped_examples"].items()} == {
        rule: min(10, count) for rule, count in total["dropped"].items()
    }
    page = (corpus / "out/ledger.html").read_text()
    for stage in stages:
        assert f"<b>{stage['stage']}</b>" in page
    places = {document.meta["place"] for document in documents}
    assert len(places) == len(documents)
    assert all(re.fullmatch(rf"{corpus}/[012]\.jsonl:\d+", place) for place in places)


def test_a_run_stopped_at_any_file_resumes_to_equal_bytes(
    corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, out = recipe(corpus, dedup={"write_index": True}), corpus / "out"
    prepare_corpus(asked, out, QUIET)
    expected = files(out)
    for path in out.iterdir():
        path.unlink()
    out.rmdir()
    stops = 0
    while not killed_after(5 + stops % 3, lambda: prepare_corpus(asked, out, QUIET), monkeypatch):
        assert not out.exists() or files(out) == expected
        stops += 1
    assert stops > 15
    assert files(out) == expected
    assert not (corpus / "out.work").exists()


def test_a_unit_damaged_between_runs_is_remade(corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, work = recipe(corpus), corpus / "out.work"
    prepare_corpus(asked, corpus / "out", QUIET)
    expected = files(corpus / "out")
    renames = 0
    while len(list((work / "exact").glob("written-*"))) < 2:
        renames += 1
        assert not killed_after(renames, lambda: prepare_corpus(asked, corpus / "out", QUIET, True), monkeypatch)
    _, cut = sorted((work / "exact").glob("kept-*.zst"))[:2]
    cut.write_bytes(cut.read_bytes()[:-9])
    prepare_corpus(asked, corpus / "out", QUIET, True)
    assert files(corpus / "out") == expected


def test_a_task_done_twice_changes_nothing(corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch) -> None:
    from megalite.jobs.job import open_job

    prepare_corpus(recipe(corpus), corpus / "once", QUIET)
    once = files(corpus / "once")

    class Twice:
        workers = 1

        def map(self, function: Callable[[int], Any], items: Any) -> Any:
            for item in items:
                function(item)
                step = function.args[1]  # type: ignore[attr-defined]
                folder = function.args[0]  # type: ignore[attr-defined]
                again(folder, step, item)
                yield None

    def again(folder: Path, name: str, task: int) -> None:
        job = open_job(folder, 1 << 30)
        if not name.endswith(("-close", "publish")):
            job.step(name)[1].run(job, task)

    prepare_corpus(recipe(corpus), corpus / "once", QUIET, overwrite=True, pool=Twice())
    assert files(corpus / "once") == once


@pytest.mark.parametrize(
    "where",
    [
        "megalite.corpus.units.kept_shards.KeptShards.write",
        "megalite.corpus.prepare.digests.UnitDigests.write",
        "megalite.corpus.dedup.lsh_index.PartWriter.add",
        "megalite.corpus.prepare.shuffle.ShuffledShards.finish",
        "megalite.corpus.prepare.publish.write_page",
    ],
)
def test_a_full_disk_is_one_line_and_the_run_resumes(corpus: Path, where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        with pytest.raises(DataError, match=r"out\.work: no space left on the disk; finished work is kept"):
            prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    assert not (corpus / "out").exists()
    prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    assert sum(len(texts(corpus / "out", side)) for side in ("train", "valid")) == len(plainly(corpus)[0])


def test_sources_that_change_during_a_run_are_refused(
    corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import megalite.jobs.run as module

    run = module.run_task

    def changes(victim: Path, step: str) -> Callable[..., None]:
        def task(folder: Path, name: str, *rest: int) -> None:
            if name == step:
                with victim.open("a") as file:
                    file.write(json.dumps({"text": "more"}) + "\n")
            run(folder, name, *rest)

        return task

    for victim, step in (("2.jsonl", "filter"), ("eval.jsonl", "decontaminate-write")):
        with monkeypatch.context() as patch:
            patch.setattr("megalite.jobs.run.run_task", changes(corpus / victim, step))
            with pytest.raises(DataError, match=rf"{victim}: has changed since the run began"):
                prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    assert not (corpus / "out").exists()


def test_a_shard_that_is_damaged_between_two_stages_is_told(
    corpus: Path, fine: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    import megalite.jobs.run as module

    run = module.run_task

    def damages(folder: Path, name: str, *rest: int) -> None:
        if name == "decontaminate-write":
            shard = sorted((folder / "dedup").glob("kept-*"))[1]
            content = shard.read_bytes()
            shard.write_bytes(zstandard.compress(b'{"broken\n').ljust(len(content), b"\0")[: len(content)])
        run(folder, name, *rest)

    monkeypatch.setattr("megalite.jobs.run.run_task", damages)
    with pytest.raises(DataError, match=r"dedup: the shards of unit 1 are missing or damaged; remove .*out\.work"):
        prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    assert not (corpus / "out").exists()


def _held(folder: str, ready: Any, over: Any) -> None:
    from megalite.jobs.work_folder import work_folder

    with work_folder(Path(folder), "{}"):
        ready.set()
        over.wait(30)


def test_a_second_run_on_the_same_output_is_refused(corpus: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, over = context.Event(), context.Event()
    rival = context.Process(target=_held, args=(str(corpus / "out.work"), ready, over))
    rival.start()
    try:
        assert ready.wait(30)
        with pytest.raises(DataError, match=r"out\.work: is in use by another run"):
            prepare_corpus(recipe(corpus), corpus / "out", QUIET)
    finally:
        over.set()
        rival.join(30)
    assert not rival.is_alive()


def test_a_later_dump_is_compared_with_an_earlier_index(corpus: Path, fine: None) -> None:
    sources = [[{"kind": "files", "paths": [f"{corpus}/{n}.jsonl"]}] for n in ("[01]", "2")]
    alone = {"exact_dedup": False, "decontaminate": None}
    prepare_corpus(recipe(corpus, **alone), corpus / "all", QUIET)
    prepare_corpus(recipe(corpus, sources=sources[0], dedup={"write_index": True}, **alone), corpus / "first", QUIET)
    later = {"against": [str(corpus / "first")]}
    prepare_corpus(recipe(corpus, sources=sources[1], dedup=later, **alone), corpus / "later", QUIET)
    at_once = lines(corpus / "all/removed.jsonl")
    assert lines(corpus / "first/removed.jsonl") + lines(corpus / "later/removed.jsonl") == at_once
    assert any(entry["path"] != entry["kept_path"] for entry in lines(corpus / "later/removed.jsonl"))


def test_what_cannot_be_is_refused_before_the_work(corpus: Path) -> None:
    for keys, told in (
        ({"decontaminate": {"against": [f"{corpus}/none.jsonl"]}}, "no file matches"),
        ({"dedup": {"against": [f"{corpus}/none"]}}, "no such file"),
        ({"filters": [{"kind": "classifier", "name": "x", "model": f"{corpus}/none"}]}, "none"),
        ({"decontaminate": {"against": [f"{corpus}/eval.jsonl"], "min_words": 500, "ngram": 500}}, "no text has 500"),
    ):
        with pytest.raises((DataError, FileNotFoundError, ConfigError), match=told):
            prepare_corpus(recipe(corpus, **keys), corpus / "out", QUIET)
    with pytest.raises(DataError, match="--workers 0: give at least 1"):
        prepare_corpus(recipe(corpus), corpus / "out", QUIET, workers=0)
    with pytest.raises(ValueError, match="quality_key goes with keep: best"):
        recipe(corpus, dedup={"keep": "best"})
    assert not list(corpus.glob("out*"))
