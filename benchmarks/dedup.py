"""``tools/dedup.py`` against datatrove's MinHash, rensa and gaoya on the same documents, one core, interleaved.

``python benchmarks/dedup.py --input 'corpus/*.jsonl.zst' --peers_python VENV/bin/python``: the input is cut into documents
of about 1.5 KB, and edited copies are planted in it. The truth is the Jaccard similarity of all pairs, by an inverted list
of word 5-grams. Seconds are CPU time of the whole command less that of a command on one document. Peers are those that the
named interpreter has (``pip install 'datatrove[io,processing]' spacy rensa gaoya``), as ``benchmarks/dedup_peers.py`` uses
them: rensa and gaoya hold everything in memory and compare no pair exactly.
"""

import argparse
import functools
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from dedup_peers import PEERS

from megalite.corpus.dedup.audit import edited, shingle_set
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs

REPOSITORY = Path(__file__).parents[1]
WORDS = 265
NGRAM, THRESHOLD = 5, 0.8
METER = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, capture_output=True)
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(usage.ru_utime + usage.ru_stime, usage.ru_maxrss)
"""


def cut_documents(patterns: list[str], count: int, rng: random.Random) -> list[str]:
    """Different documents of about 1.5 KB of English."""
    texts = []
    for document in read_documents(expand_inputs(patterns)):
        words = document.text.split(" ")
        texts += [" ".join(words[i : i + WORDS]) for i in range(0, len(words) - WORDS, WORDS)]
    rng.shuffle(texts)
    return texts[:count]


def near_pairs(texts: list[str]) -> set[tuple[int, int]]:
    """All pairs at or above the threshold."""
    sets = [shingle_set(text, NGRAM) for text in texts]
    holders: dict[tuple[str, ...], list[int]] = {}
    for number, members in enumerate(sets):
        for shingle in members:
            holders.setdefault(shingle, []).append(number)
    shared: Counter[tuple[int, int]] = Counter()
    for holding in holders.values():
        shared.update((a, b) for i, a in enumerate(holding) for b in holding[i + 1 :])
    return {(a, b) for (a, b), n in shared.items() if n / (len(sets[a]) + len(sets[b]) - n) >= THRESHOLD}


def measured(command: list[str]) -> tuple[float, float]:
    """CPU seconds of a command and its peak resident memory in MB, seen by a small process in between."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    with tempfile.TemporaryDirectory() as folder:  # datatrove leaves its logs where it runs
        meter = [sys.executable, "-c", METER, *command]
        result = subprocess.run(meter, check=True, capture_output=True, env=environment, cwd=folder)
    seconds, kilobytes = result.stdout.split()
    return float(seconds), int(kilobytes) / 1024


def ours(source: Path, work: Path) -> tuple[list[str], Iterator[int]]:
    """The command, and the numbers of the documents that it removes."""
    command = [
        sys.executable,
        str(REPOSITORY / "tools/dedup.py"),
        "--input",
        f"{source}/*.jsonl",
        "--output",
        str(work),
    ]
    listing = work / "removed.jsonl"
    return command, (json.loads(line)["line"] - 1 for name in (listing,) for line in name.open())


def peer(name: str, python: str, source: Path, work: Path) -> tuple[list[str], Iterator[int]]:
    """The same for a peer."""
    command = [python, str(REPOSITORY / "benchmarks/dedup_peers.py"), name, str(source), str(work)]
    return command, (int(number) for path in (work / "removed.txt",) for number in path.read_text().split())


def has(python: str, package: str) -> bool:
    """Whether the interpreter can import it."""
    return subprocess.run([python, "-c", f"import {package}"], capture_output=True).returncode == 0


def main() -> None:
    """Time all, interleaved."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--documents", type=int, default=10_000)
    parser.add_argument("--planted", type=int, default=600)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peers_python", help="an interpreter that has the peers")
    parser.add_argument("--peers", nargs="+", default=list(PEERS), choices=PEERS)
    a = parser.parse_args()
    rng = random.Random(1)
    texts = cut_documents(a.input, a.documents, rng)
    pool = " ".join(texts[:200]).split()
    texts += [edited(rng.choice(texts), rng.uniform(0.7, 1.0), NGRAM, pool, rng) for _ in range(a.planted)]
    rng.shuffle(texts)
    near = near_pairs(texts)
    partners = {document for pair in near for document in pair}
    engines = {"megalite": ours}
    python = str(Path(a.peers_python).absolute()) if a.peers_python else None
    for name in a.peers if python else ():
        if has(python, name.partition(",")[0]):
            engines[name] = functools.partial(peer, name, python)
    speeds: dict[str, list[float]] = {name: [] for name in engines}
    quality: dict[str, tuple[float, float, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {"one": Path(name) / "one", "all": Path(name) / "all"}
        for label, content in (("one", texts[:1]), ("all", texts)):
            folders[label].mkdir()
            rows = [json.dumps({"id": str(i), "text": text}) + "\n" for i, text in enumerate(content)]
            (folders[label] / "in.jsonl").write_text("".join(rows))
        megabytes = sum(len(text.encode()) for text in texts) / 1e6
        print(f"{len(texts):,} documents, {megabytes:.1f} MB, {len(near)} pairs at {THRESHOLD} or above")
        for number in range(a.rounds):
            for engine, command_of in engines.items():
                start_up, _ = measured(command_of(folders["one"], Path(name) / f"one {engine} {number}")[0])
                command, removed = command_of(folders["all"], Path(name) / f"all {engine} {number}")
                seconds, peak = measured(command)
                speeds[engine].append(megabytes / (seconds - start_up))
                gone = set(removed)
                found = sum(x in gone or y in gone for x, y in near) / len(near)
                quality.setdefault(engine, (found, len(gone & partners) / max(1, len(gone)), peak))
    for engine in engines:
        recall, precision, peak = quality[engine]
        print(
            f"{engine:<24} median {statistics.median(speeds[engine]):6.2f} MB a CPU second, recall {recall:.4f}, "
            f"precision {precision:.4f}, peak {peak:.0f} MB"
        )
    for engine in list(engines)[1:]:
        ratio = statistics.median(x / y for x, y in zip(speeds["megalite"], speeds[engine], strict=True))
        print(f"megalite / {engine}: {ratio:.1f} (median of the rounds' ratios)")


if __name__ == "__main__":
    main()
