"""First pass of a deduplication: hashes the documents of a unit into a part of the index."""

import hashlib
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from megalite.config.section import Section
from megalite.corpus.dedup.lsh_index import RECORD, PartWriter
from megalite.corpus.dedup.minhash import Bands, band_keys, signatures
from megalite.corpus.words.word_hashes import (
    BASE,
    BLOCK,
    LONG_TEXT,
    Hashes,
    hash_words,
    mix,
    ngrams,
    ngrams_of_long_text,
)
from megalite.files.readers.documents import Document
from megalite.files.readers.input_units import InputFile, Inputs
from megalite.files.readers.malformed import ReadReport
from megalite.jobs.notes import read_note, write_note

Keep = Literal["first", "longest", "best"]


class DedupPlan(Section):
    """Everything that decides the bytes of the output."""

    inputs: Inputs
    bands: Bands
    keep: Keep = "first"
    quality_key: str | None = None
    against: tuple[InputFile, ...] = ()
    write_index: bool = False

    @property
    def columns(self) -> int:
        """Keys of a document: that of its whole text, then one a band."""
        return self.bands.bands + 1


class Scanned(NamedTuple):
    """What a unit holds."""

    documents: int
    malformed: int
    examples: list[str]
    unscored: int
    """Documents without the quality that decides which copy stays."""


def scan_unit(plan: DedupPlan, folder: Path, number: int) -> None:
    """Write ``scan-NUMBER.*`` to ``folder``."""
    prefix = folder / f"scan-{number:05d}"
    report = ReadReport()
    with ExitStack() as files:
        writer = PartWriter(prefix, files)
        block = _Block(plan, writer)
        for file, document in plan.inputs.documents(number, report):
            block.add(file, document)
        block.flush()
        writer.finish()
    scanned = Scanned(writer.documents, report.malformed, report.examples, block.unscored)
    write_note(prefix.with_suffix(".json"), scanned._asdict())


def scanned_unit(folder: Path, number: int) -> Scanned:
    """What :func:`scan_unit` found."""
    return read_note(folder / f"scan-{number:05d}.json", lambda values: Scanned(**values))


class _Block:
    """Documents hashed together."""

    def __init__(self, plan: DedupPlan, writer: PartWriter) -> None:
        self._plan, self._writer = plan, writer
        self._texts: list[str] = []
        self._records: list[tuple[tuple[int, int], int, int, int, float, int, bool]] = []
        self._letters = 0
        self.unscored = 0

    def add(self, file: int, document: Document) -> None:
        """Add a document; hash the block when it is large enough."""
        text = document.text
        if self._letters + len(text) > BLOCK:
            self.flush()
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        halves = (int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little"))
        empty = not text or text.isspace()
        self._records.append((halves, 0, 0, document.line, self._score(document), file, empty))
        self._texts.append(text)
        self._letters += len(text)

    def flush(self) -> None:
        """Hash the documents of the block and write them."""
        if not self._texts:
            return
        bands, permutations = self._plan.bands, self._plan.bands.bands * self._plan.bands.rows
        records = np.array(self._records, RECORD)
        if len(self._texts) == 1 and self._letters > LONG_TEXT:
            minima = np.full((1, permutations), 0xFFFFFFFF, np.uint32)
            for piece in ngrams_of_long_text(self._texts[0], bands.ngram, LONG_TEXT):
                np.minimum(minima, signatures(piece, permutations), out=minima)
                records["shingles"] += len(piece.hashes)
                self._writer.add_shingles(piece.hashes)
        else:
            grams = ngrams(hash_words(self._texts), bands.ngram)
            minima = signatures(grams, permutations)
            records["shingles"] = np.diff(grams.bounds)
            self._writer.add_shingles(grams.hashes)
        self._writer.add(records, _keys(records, band_keys(minima, bands.bands)))
        self._texts, self._records, self._letters = [], [], 0

    def _score(self, document: Document) -> float:
        if self._plan.keep == "longest":
            return float(len(document.text))
        if self._plan.keep == "first":
            return 0.0
        quality = document.meta.get(self._plan.quality_key or "")
        if isinstance(quality, int | float) and np.isfinite(quality):
            return float(quality)
        self.unscored += 1
        return -np.inf


def _keys(records: npt.NDArray[np.void], bands: Hashes) -> Hashes:
    """The whole text's key before those of the bands; a document without words shares a bucket with its equals only."""
    text = records["digest"][:, :1]
    wordless = records["shingles"] == 0
    if wordless.any():
        bands[wordless] = mix(text[wordless] + np.arange(bands.shape[1], dtype=np.uint64) * np.uint64(BASE))
    return np.concatenate((text, bands), axis=1)
