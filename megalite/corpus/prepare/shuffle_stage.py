"""The last stage over documents: each is dealt to a bucket of the shuffled order, and every bucket is sorted by itself.

The order is that of a keyed hash of the text (see :mod:`megalite.corpus.prepare.shuffle`); the buckets are equal ranges
of it, and one after the other they are the whole.
"""

import hashlib
import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import zstandard

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.prepare.shuffle import ShuffledShards, keyed
from megalite.corpus.prepare.steps import Job, Stage, Step, books_path, has_file, read_books, write_books
from megalite.corpus.units.kept_shards import LEVEL, json_line
from megalite.corpus.units.kept_units import kept_units, remove
from megalite.files.readers.malformed import ReadReport
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import whole_folder
from megalite.jobs.notes import read_array, read_note

NAME = "shuffle"
SIDES = ("train", "valid")
HELD_BYTES = 64 << 20
"""Text of a unit held in memory before it is dealt out."""
BOOKS = "books.json"


def shuffle_stage(plan: PlantPlan, before: str) -> Stage:
    """Deal by unit, then sort by side and bucket."""
    deal = Step(
        f"{NAME}-deal", len(plan.units), lambda job, task: _deal(job, before, task), has_file(NAME, "dealt-{:05d}.npy")
    )
    sort = Step(f"{NAME}-sort", len(SIDES) * plan.buckets, _sort, has_file(NAME, "sorted-{:03d}/" + BOOKS))
    close = Step(f"{NAME}-close", 1, lambda job, _: _close(job, before), lambda job, _: books_path(job, NAME).is_file())
    return Stage(NAME, (deal, sort, close))


def sorted_shards(job: Job, side: str) -> list[Path]:
    """The finished shards of a side, in order. Raises: DataError where one is missing or damaged."""
    found = []
    for task in _tasks(job.plan, side):
        folder = job.folder / NAME / f"sorted-{task:03d}"
        for name, size in read_note(folder / BOOKS, lambda values: dict(values["files"])).items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size:
                raise DataError(f"{path}: is missing or damaged; remove {job.folder} and run the command again")
            found.append(path)
    return found


def _tasks(plan: PlantPlan, side: str) -> range:
    first = SIDES.index(side) * plan.buckets
    return range(first, first + plan.buckets)


def _is_held_out(content: bytes, fraction: float) -> bool:
    """The side of the split is a function of the text: the same text is never on both."""
    digest = hashlib.blake2b(content, digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "little") / 2**64 < fraction


def _deal(job: Job, before: str, number: int) -> None:
    """Write ``dealt-UNIT.lines``, frames of lines with keys, and ``dealt-UNIT.npy``, where the frame of each bucket ends."""
    plan, folder = job.plan, job.folder / NAME
    seed = str(plan.recipe.shuffle_seed).encode()
    with whole_file(folder / f"dealt-{number:05d}.lines") as file:
        hands = _Hands(file, len(SIDES) * plan.buckets)
        for _, document in kept_units(job, before).documents(number, ReadReport()):
            content = document.text.encode("utf-8", "replace")
            key = hashlib.blake2b(content, digest_size=16, key=seed).digest()
            bucket = int.from_bytes(key[:8]) * plan.buckets >> 64
            side = SIDES[_is_held_out(content, plan.recipe.valid_fraction)]
            line = json_line({"text": document.text, "meta": document.meta})
            hands.add(_tasks(plan, side)[bucket], keyed(key, line))
        hands.flush()
    with whole_file(folder / f"dealt-{number:05d}.npy") as file:
        np.save(file, np.array(hands.ends, np.int64).reshape(-1, hands.count))


class _Hands:
    """Lines for every bucket, written together now and then."""

    def __init__(self, file: IO[bytes], count: int) -> None:
        self.count = count
        self.ends: list[int] = []
        self._file, self._compressor = file, zstandard.ZstdCompressor(level=LEVEL)
        self._lines: list[list[bytes]] = [[] for _ in range(count)]
        self._held = 0

    def add(self, bucket: int, line: bytes) -> None:
        self._lines[bucket].append(line)
        self._held += len(line)
        if self._held >= HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        for lines in self._lines:
            if lines:
                self._file.write(self._compressor.compress(b"".join(lines)))
                lines.clear()
            self.ends.append(self._file.tell())
        self._held = 0


def _sort(job: Job, task: int) -> None:
    """Write the folder ``sorted-TASK``: shards, and their books."""
    side, documents = SIDES[task // job.plan.buckets], 0
    with whole_folder(job.folder / NAME / f"sorted-{task:03d}") as partial:
        shards = ShuffledShards(partial, side)
        for number in range(len(job.plan.units)):
            for lines in _dealt(job.folder / NAME, number, task):
                for line in lines.splitlines(keepends=True):
                    shards.add_keyed(line)
                    documents += 1
        if documents:
            shards.finish()
        files = {path.name: path.stat().st_size for path in sorted(partial.iterdir())}
        (partial / BOOKS).write_text(json.dumps({"documents": documents, "files": files}))


def _dealt(folder: Path, number: int, task: int) -> Any:
    """The lines that a unit has for a bucket, a frame at a time."""
    ends = read_array(folder / f"dealt-{number:05d}.npy")
    begins = ends[:, task - 1] if task else np.concatenate(([0], ends[:-1, -1]))
    with (folder / f"dealt-{number:05d}.lines").open("rb") as file:
        for begin, end in zip(begins.tolist(), ends[:, task].tolist(), strict=True):
            if end > begin:
                file.seek(begin)
                yield zstandard.ZstdDecompressor().decompress(file.read(end - begin))


def _close(job: Job, before: str) -> None:
    """Check that all documents are there."""
    kept, counts = read_books(job, before), []
    for side in SIDES:
        folders = [job.folder / NAME / f"sorted-{task:03d}" for task in _tasks(job.plan, side)]
        counts.append(sum(read_note(folder / BOOKS, lambda values: int(values["documents"])) for folder in folders))
    ledger = Ledger(NAME, sum(counts), sum(counts), kept_bytes=kept.kept_bytes, kept_by_source=kept.kept_by_source)
    ledger.kept_by_language = kept.kept_by_language
    kept.then(ledger)
    write_books(job, NAME, ledger)
    remove(job.folder / before, "kept-*")
    remove(job.folder / NAME, "dealt-*")
