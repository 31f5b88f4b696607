"""Deduplication against a brute force over all pairs, and its promises: same bytes, nothing lost, nothing half done."""

import errno
import io
import json
import re
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import zstandard
from kills import killed_after
from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.dedup.deduplicate import DedupOptions, deduplicate
from megalite.corpus.dedup.minhash import Bands
from megalite.files.readers.documents import read_documents
from megalite.files.readers.options import ReadOptions

QUIET = Console(quiet=True)
WORDS = [f"word{number}" for number in range(5000)]


def shingles(text: str, n: int = 5) -> set[tuple[str, ...]]:
    words = re.findall(r"[\w\u0300-\u036f]+", text.lower())
    return {tuple(words[i : i + n]) for i in range(max(1, len(words) - n + 1))}


def all_pairs(texts: list[str]) -> dict[tuple[int, int], float]:
    """The Jaccard similarity of every pair that shares anything, by an inverted list: nothing is sampled or hashed."""
    sets = [shingles(text) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, members in enumerate(sets):
        for shingle in members:
            holders.setdefault(shingle, []).append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for holding in holders.values():
        shared.update((a, b) for i, a in enumerate(holding) for b in holding[i + 1 :])
    return {(a, b): n / (len(sets[a]) + len(sets[b]) - n) for (a, b), n in shared.items()}


def keep_first(pairs: dict[tuple[int, int], float], documents: int, threshold: float) -> set[int]:
    """What goes when the documents come in order and one goes if it is near to one that stays."""
    near: dict[int, list[int]] = {}
    for (a, b), jaccard in pairs.items():
        if jaccard >= threshold:
            near.setdefault(b, []).append(a)
    gone: set[int] = set()
    for number in range(documents):
        if any(other not in gone for other in near.get(number, ())):
            gone.add(number)
    return gone


def write(path: Path, texts: list[str], **meta: list[Any]) -> Path:
    rows = [{"text": text, "meta": {key: values[i] for key, values in meta.items()}} for i, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(inputs: Path | list[Path], output: Path, **options: Any) -> list[dict[str, Any]]:
    paths = inputs if isinstance(inputs, list) else [inputs]
    own = {name: options.pop(name) for name in ("workers", "memory_mb", "overwrite") if name in options}
    read = ReadOptions(
        **{name: options.pop(name) for name in ("text_key", "on_error", "max_malformed") if name in options}
    )
    bands, against = options.pop("bands", Bands()), tuple(options.pop("against", ()))
    asked = DedupOptions(**options, against=against, read=read)
    deduplicate([str(path) for path in paths], output, bands, QUIET, asked, **own)
    return [json.loads(line) for line in (output / "removed.jsonl").read_text().splitlines()]


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kept(folder: Path) -> list[str]:
    return [document.text for document in read_documents(sorted(folder.glob("kept-*")))]


def edited(text: str, every: int) -> str:
    return " ".join("other" if i % every == 0 else word for i, word in enumerate(text.split(" "), start=1))


def sample(number: int, words: int = 200) -> str:
    return " ".join(WORDS[(number * 7919 + i * (number + 3) * 31) % len(WORDS)] for i in range(words))


@pytest.mark.parametrize(("name", "documents"), [("neardup_articles_2500", 2500), ("neardup_pep_revisions", 150)])
def test_recall_and_precision_against_all_pairs(name: str, documents: int, shared_data: Path, tmp_path: Path) -> None:
    texts = [d.text for d in islice(read_documents([shared_data / f"messy/{name}.jsonl.zst"]), documents)]
    removed = run(write(tmp_path / "in.jsonl", texts), tmp_path / "out")
    pairs = all_pairs(texts)
    gone = {entry["line"] - 1 for entry in removed}
    assert removed
    for entry in removed:
        pair = (min(entry["line"], entry["kept_line"]) - 1, max(entry["line"], entry["kept_line"]) - 1)
        assert entry["jaccard"] == pairs[pair] >= 0.8
        assert entry["kept_line"] - 1 not in gone
    true = [pair for pair, jaccard in pairs.items() if jaccard >= 0.8]
    missed = [(a, b) for a, b in true if a not in gone and b not in gone]
    assert len(missed) <= 0.01 * len(true)
    expected = keep_first(pairs, len(texts), 0.8)
    assert len(gone ^ expected) <= 0.01 * len(expected)
    assert kept(tmp_path / "out") == [text for i, text in enumerate(texts) if i not in gone]


def mixed_corpus(folder: Path) -> list[Path]:
    """Four files with exact, near and far copies within and across them, empty and wordless documents."""
    texts = [sample(number) for number in range(60)]
    texts += [edited(texts[n], every=60) for n in range(0, 40, 2)] + [
        edited(texts[n], every=9) for n in range(0, 30, 3)
    ]
    texts += [*texts[5:10], "", " \n", "!!!", "???", "!!!", "two words", "Two  words"]
    return [
        write(folder / f"{n}.jsonl", texts[n::4], quality=[i % 7 for i in range(len(texts[n::4]))]) for n in range(4)
    ]


def test_bytes_do_not_depend_on_workers_or_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.files.readers.input_units.UNIT_BYTES", 30_000)
    inputs = mixed_corpus(tmp_path)
    assert run(inputs, tmp_path / "one", write_index=True)
    for name, workers, memory in (("two", 2, 700), ("small", 1, 144)):
        run(inputs, tmp_path / name, write_index=True, workers=workers, memory_mb=memory)
        assert files(tmp_path / name) == files(tmp_path / "one")


def test_every_document_is_kept_or_listed_once(tmp_path: Path) -> None:
    inputs = mixed_corpus(tmp_path)
    removed = run(inputs, tmp_path / "out")
    read = Counter((document.path, document.line) for document in read_documents(inputs))
    placed = Counter((entry["path"], entry["line"]) for entry in removed)
    for document in read_documents(sorted((tmp_path / "out").glob("kept-*"))):
        path, line = document.meta["place"].rsplit(":", 1)
        placed[path, int(line)] += 1
    assert placed == read
    ledger = json.loads((tmp_path / "out/ledger.json").read_text())
    assert ledger["read"] == ledger["kept"] + sum(ledger["dropped"].values()) == len(read)
    assert ledger["dropped"]["empty"] == 2
    assert {rule: len(sample) for rule, sample in ledger["dropped_examples"].items()} == {
        rule: min(10, count) for rule, count in ledger["dropped"].items()
    }
    assert set(ledger["dropped_bytes"]) == set(ledger["dropped"])
    assert ledger["dropped"]["exact_duplicate"] == 6
    assert {entry["jaccard"] for entry in removed if entry["rule"] == "exact_duplicate"} == {1.0}


def test_a_new_dump_against_an_index_equals_all_at_once(tmp_path: Path) -> None:
    inputs = mixed_corpus(tmp_path)
    at_once = run(inputs, tmp_path / "all")
    first = run(inputs[:2], tmp_path / "first", write_index=True)
    second = run(inputs[2:3], tmp_path / "second", write_index=True, against=[tmp_path / "first"])
    third = run(inputs[3:], tmp_path / "third", against=[tmp_path / "first", tmp_path / "second"])
    assert first + second + third == at_once
    assert all(any(entry["path"] == str(inputs[n]) for entry in at_once) for n in range(4))
    with pytest.raises(DataError, match=r"made with --threshold 0\.8"):
        run(inputs[3:], tmp_path / "other", against=[tmp_path / "first"], bands=Bands(bands=10))
    (tmp_path / "first/index-00000.bands").write_bytes(b"")
    with pytest.raises(DataError, match=r"bytes that index\.json says"):
        run(inputs[3:], tmp_path / "other", against=[tmp_path / "first"])


def test_the_rule_says_which_copy_stays(tmp_path: Path) -> None:
    short, text = edited(sample(1), every=150), sample(1)
    texts = [short, text + " one more word", edited(text, every=101)[:-20]]
    source = write(tmp_path / "in.jsonl", texts, score=[1, 2, 3])
    for number, (keep, key, line) in enumerate((("first", None, 1), ("longest", None, 2), ("best", "score", 3))):
        removed = run(source, tmp_path / str(number), keep=keep, quality_key=key)
        assert [entry["kept_line"] for entry in removed] == [line, line]
        assert kept(tmp_path / str(number)) == [texts[line - 1]]


def test_what_an_earlier_dump_keeps_stays_whatever_the_rule(tmp_path: Path) -> None:
    old, new = write(tmp_path / "old.jsonl", [sample(1)]), write(tmp_path / "new.jsonl", [sample(1) + " and more"])
    assert not run(old, tmp_path / "first", write_index=True, keep="longest")
    removed = run(new, tmp_path / "second", against=[tmp_path / "first"], keep="longest")
    assert [(entry["path"], entry["kept_path"]) for entry in removed] == [(str(new), str(old))]


def test_a_removed_document_always_has_a_kept_near_copy(tmp_path: Path) -> None:
    texts = [sample(1)]
    for step in range(1, 12):
        words = texts[-1].split(" ")
        words[step * 15 : step * 15 + 4] = [f"new{step}{i}" for i in range(4)]
        texts.append(" ".join(words))
    removed = run(write(tmp_path / "in.jsonl", texts), tmp_path / "out")
    stay = set(range(12)) - {entry["line"] - 1 for entry in removed}
    assert len(stay) > 1
    for entry in removed:
        assert entry["kept_line"] - 1 in stay
        assert entry["jaccard"] >= 0.8


def test_a_killed_run_goes_on_and_ends_with_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megalite.files.readers.input_units.UNIT_BYTES", 50_000)
    inputs = mixed_corpus(tmp_path)
    run(inputs, tmp_path / "whole", write_index=True)
    out, scans = tmp_path / "out", 0
    finished = False
    while not finished:  # stop at every file that is about to get its name, one further each time
        allowed, scans = scans, scans + 1
        finished = killed_after(allowed, lambda: run(inputs, out, write_index=True), monkeypatch)
        assert finished or not out.exists()
    assert scans > 12
    assert files(out) == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["out", "whole"]


def test_damaged_input_is_counted_and_located(tmp_path: Path) -> None:
    lines = [json.dumps({"text": sample(n)}).encode() for n in range(30)]
    lines[3] = b"{broken"
    lines[4] = json.dumps({"text": "with a\0NUL " + sample(4)}).encode()
    lines[5] = json.dumps({"text": "lone \ud800 surrogate " + sample(5)}).encode()
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    frame = zstandard.compress(b"\n".join(lines))
    (tmp_path / "b.jsonl.zst").write_bytes(frame[:-40])
    run([tmp_path / "a.jsonl", tmp_path / "b.jsonl.zst"], tmp_path / "out")
    ledger = json.loads((tmp_path / "out/ledger.json").read_text())
    assert ledger["malformed"] >= 2
    assert any("a.jsonl:4" in example for example in ledger["malformed_examples"])
    assert any("b.jsonl.zst" in example and "damaged" in example for example in ledger["malformed_examples"])
    assert any("\0" in text for text in kept(tmp_path / "out"))


def test_a_full_disk_is_one_line_and_leaves_no_output(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = mixed_corpus(tmp_path)

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("megalite.corpus.units.kept_shards.KeptShards.write", full)
        with pytest.raises(DataError, match=r"out\.work: no space left on the disk"):
            run(inputs, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run(inputs, tmp_path / "out")
    run(inputs, tmp_path / "fresh")
    assert files(tmp_path / "out") == files(tmp_path / "fresh")


def test_bands_too_coarse_for_the_threshold_are_told(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ["a text"])
    for threshold, told in ((0.8, ""), (0.6, "--bands 20 --rows 6 find a pair at 0.6 with a chance of 61.5%")):
        console = Console(record=True, width=200, file=io.StringIO())
        deduplicate([str(source)], tmp_path / str(threshold), Bands(threshold=threshold), console)
        assert told in (text := console.export_text())
        assert ("chance" in text) == bool(told)


def test_what_cannot_be_is_refused_before_the_work(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", ["a text"])
    with pytest.raises(DataError, match="--memory_mb 100: too little for 1 worker"):
        run(source, tmp_path / "out", memory_mb=100)
    with pytest.raises(DataError, match="--quality_key goes with --keep best"):
        run(source, tmp_path / "out", keep="best")
    with pytest.raises(FileNotFoundError, match="--write_index"):
        run(source, tmp_path / "out", against=[tmp_path])
    with pytest.raises(DataError, match=r"no document in 1 file\(s\); .*in\.jsonl:1: no key 'body'"):
        run(source, tmp_path / "out", text_key="body")
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    run(source, tmp_path / "out")
    with pytest.raises(DataError, match="exists"):
        run(source, tmp_path / "out", keep="longest")
    (tmp_path / "out/mine.txt").write_text("mine")
    with pytest.raises(DataError, match=r"mine\.txt"):
        run(source, tmp_path / "out", keep="longest", overwrite=True)


def test_a_long_document_is_compared_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = " ".join(sample(number) for number in range(20))
    source = write(tmp_path / "in.jsonl", [long, sample(1), edited(long, every=100), long.upper()])
    whole = run(source, tmp_path / "whole", write_index=True)
    monkeypatch.setattr("megalite.corpus.dedup.scan.LONG_TEXT", 3000)
    monkeypatch.setattr("megalite.corpus.dedup.scan.BLOCK", 3000)
    assert run(source, tmp_path / "pieces", write_index=True) == whole
    assert [entry["line"] for entry in whole] == [3, 4]
    assert files(tmp_path / "pieces") == files(tmp_path / "whole")


def test_pages_of_one_template_equal_a_brute_force(tmp_path: Path) -> None:
    template = sample(0, 150)
    pages = [f"{template} {sample(number, 40)}" for number in range(1, 60)]
    pages += [edited(page, every=80) for page in pages[::3]]
    removed = run(write(tmp_path / "in.jsonl", pages), tmp_path / "out")
    pairs = all_pairs(pages)
    assert sum(0.5 < jaccard < 0.8 for jaccard in pairs.values()) > 2000
    assert {entry["line"] - 1 for entry in removed} == keep_first(pairs, len(pages), 0.8)
    facts = json.loads((tmp_path / "out/ledger.json").read_text())["dedup"]
    assert len(removed) <= facts["compared"] < 0.25 * len(pairs)
