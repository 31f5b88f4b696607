"""Our filters against datatrove's, the same rules on the same documents, one core, interleaved; verdicts compared.

``python benchmarks/filters.py --input 'corpus/*.jsonl.zst'`` in an environment that has ``datatrove[processing]`` and
``spacy``. Both run Gopher quality, Gopher repetition, C4 and FineWeb in this order and stop at the first reason. Seconds are
CPU time, start-up of both left out. Prints documents and megabytes a second of either, the ratio and any difference.
"""

import argparse
import statistics
import time
from itertools import islice

from datatrove.data import Document
from datatrove.pipeline.filters import (
    C4QualityFilter,
    FineWebQualityFilter,
    GopherQualityFilter,
    GopherRepetitionFilter,
)

from megalite.corpus.filters.c4 import C4Quality
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.filters.fineweb import FineWebQuality
from megalite.corpus.filters.gopher import GopherQuality, GopherRepetition
from megalite.files.readers.documents import read_documents
from megalite.files.readers.input_files import expand_inputs

THEIRS = (GopherQualityFilter(), GopherRepetitionFilter(), C4QualityFilter(), FineWebQualityFilter())
OURS = (
    GopherQuality(kind="gopher_quality"),
    GopherRepetition(kind="gopher_repetition"),
    C4Quality(kind="c4_quality"),
    FineWebQuality(kind="fineweb_quality"),
)


def datatrove_keeps(text: str) -> bool:
    """Whether all of datatrove's filters keep the text."""
    document = Document(text=text, id="")
    return all(item.filter(document) is True for item in THEIRS)


def main() -> None:
    """Time both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--input", nargs="+", required=True)
    parser.add_argument("--documents", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=3)
    a = parser.parse_args()
    texts = [document.text for document in islice(read_documents(expand_inputs(a.input)), a.documents)]
    megabytes = sum(len(text.encode("utf-8", "replace")) for text in texts) / 1e6
    datatrove_keeps("Some words to load what is loaded at first. " * 20)
    seconds: dict[str, list[float]] = {"datatrove": [], "megalite": [], "megalite, every rule": []}
    for _ in range(a.rounds):
        start = time.process_time()
        theirs = [datatrove_keeps(text) for text in texts]
        seconds["datatrove"].append(time.process_time() - start)
        for name, ask_all in (("megalite", False), ("megalite, every rule", True)):
            chain = FilterChain(OURS)  # with an empty table of words, as a run begins
            start = time.process_time()
            ours = [not chain.judge(text, ask_all).reasons for text in texts]
            seconds[name].append(time.process_time() - start)
    print(f"{len(texts)} documents, {megabytes:.2f} MB, {sum(theirs)} kept by datatrove, {sum(ours)} by megalite")
    print(f"different verdicts: {sum(one != other for one, other in zip(theirs, ours, strict=True))}")
    for name, values in seconds.items():
        ratio = statistics.median(b / o for b, o in zip(seconds["datatrove"], values, strict=True))
        speed = megabytes / statistics.median(values)
        print(f"{name:<22} {speed:7.3f} MB a CPU second   {ratio:6.1f} x datatrove (median of the rounds' ratios)")


if __name__ == "__main__":
    main()
