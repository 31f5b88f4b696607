"""Peers of ``tools/dedup.py`` as their documentation uses them; ``benchmarks/dedup.py`` runs those that are installed.

``python dedup_peers.py PEER FOLDER WORK`` reads ``FOLDER/*.jsonl``, keeps the first of near-duplicates by word 5-grams, and
writes the numbers of the documents that go to ``WORK/removed.txt``; kept documents go to ``WORK`` as well.
"""

import gzip
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NGRAM, THRESHOLD = 5, 0.8
WORD = re.compile(r"\w+")


def datatrove(folder: Path, work: Path, english: bool) -> None:
    """Its four stages. ``english`` splits words by spaCy as it ships; else by ``str.split``, which is kinder than that."""
    from datatrove.executor import LocalPipelineExecutor
    from datatrove.pipeline.dedup import (
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.pipeline.dedup.minhash import MinhashConfig
    from datatrove.pipeline.readers import JsonlReader
    from datatrove.pipeline.writers.jsonl import JsonlWriter
    from datatrove.utils.word_tokenizers import WordTokenizer

    class Split(WordTokenizer):
        def word_tokenize(self, text: str) -> list[str]:
            return text.split()

        sent_tokenize = span_tokenize = None

    def run(pipeline: list[Any], tasks: int = 1) -> None:
        LocalPipelineExecutor(pipeline=pipeline, tasks=tasks, workers=1, logging_dir=None).run()

    config, language = MinhashConfig(), "eng" if english else Split()
    run([JsonlReader(str(folder)), MinhashDedupSignature(f"{work}/signatures", config=config, language=language)])
    run([MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)], config.num_buckets)
    run([MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)])
    removed = JsonlWriter(f"{work}/removed", compression=None)
    last = MinhashDedupFilter(f"{work}/remove", exclusion_writer=removed)
    run([JsonlReader(str(folder)), last, JsonlWriter(f"{work}/out")])
    ids = [json.loads(line)["id"] for path in Path(f"{work}/removed").glob("*") for line in path.open()]
    (work / "removed.txt").write_text("\n".join(ids))


def rensa(folder: Path, work: Path) -> None:
    """``RMinHashDeduplicator``: candidates by bands, checked by the estimated similarity."""
    from rensa import RMinHashDeduplicator

    rows, keep = list(_rows(folder)), []
    deduplicator = RMinHashDeduplicator(threshold=THRESHOLD, num_perm=112, use_lsh=True, num_bands=14)
    for start in range(0, len(rows), 1000):
        keep += deduplicator.add_pairs((row["id"], _shingles(row["text"])) for row in rows[start : start + 1000])
    _write(work, rows, keep)


def gaoya(folder: Path, work: Path) -> None:
    """``MinHashStringIndex`` with its own word n-grams in Rust: query, then insert."""
    from gaoya.minhash import MinHashStringIndex

    rows, keep = list(_rows(folder)), []
    index = MinHashStringIndex(32, THRESHOLD, 14, 8, None, "word", True, (NGRAM, NGRAM))
    for number, row in enumerate(rows):
        keep.append(not index.query(row["text"]))
        index.insert_document(number, row["text"])
    _write(work, rows, keep)


def _rows(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        with path.open() as file:
            yield from map(json.loads, file)


def _shingles(text: str) -> list[str]:
    words = WORD.findall(text.lower())
    return [" ".join(words[i : i + NGRAM]) for i in range(max(1, len(words) - NGRAM + 1))]


def _write(work: Path, rows: list[dict[str, Any]], keep: list[bool]) -> None:
    with gzip.open(work / "out.jsonl.gz", "wt", compresslevel=1) as file:
        for row, stays in zip(rows, keep, strict=True):
            if stays:
                file.write(json.dumps(row) + "\n")
    (work / "removed.txt").write_text("\n".join(r["id"] for r, stays in zip(rows, keep, strict=True) if not stays))


PEERS = {
    "datatrove, str.split": lambda folder, work: datatrove(folder, work, english=False),
    "datatrove, English": lambda folder, work: datatrove(folder, work, english=True),
    "rensa": rensa,
    "gaoya": gaoya,
}

if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True)
    PEERS[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
