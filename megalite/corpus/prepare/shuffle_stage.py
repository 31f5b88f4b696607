"""The last stage over documents: distributes them over buckets of the shuffled order and sorts each bucket by itself.

The order is that of a keyed hash of the text (see :mod:`megalite.corpus.prepare.shuffle`); the buckets are equal ranges
of it; concatenated they are the shuffled corpus.
"""

import hashlib
import json
from pathlib import Path
from typing import IO, Any

import numpy as np
import zstandard

from megalite.config.errors import DataError
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.prepare.plan import CorpusPlan
from megalite.corpus.prepare.shuffle import ShuffledShards, keyed
from megalite.corpus.units.kept_shards import LEVEL, json_line
from megalite.corpus.units.kept_units import is_closed, kept_units, read_ledger, remove, write_ledger
from megalite.files.readers.malformed import ReadReport
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import whole_folder
from megalite.jobs.job import Job, Stage, Step, has_file
from megalite.jobs.notes import read_array, read_note, write_array

NAME = "shuffle"
SIDES = ("train", "valid")
HELD_BYTES = 64 << 20
"""Text of a unit held in memory before it is written to the buckets."""
FILES = "books.json"
"""In the folder of a bucket: its documents and the sizes of its shards."""


def shuffle_stage(plan: CorpusPlan, before: str) -> Stage:
    """Distribute by unit, then sort by side and bucket."""
    deal = Step(
        f"{NAME}-deal", len(plan.units), lambda job, task: _deal(job, before, task), has_file(NAME, "dealt-{:05d}.npy")
    )
    sort = Step(f"{NAME}-sort", len(SIDES) * plan.buckets, _sort, has_file(NAME, "sorted-{:03d}/" + FILES))
    close = Step(f"{NAME}-close", 1, lambda job, _: _close(job, before), is_closed(NAME))
    return Stage(NAME, (deal, sort, close))


def sorted_shards(job: Job[CorpusPlan], side: str) -> list[Path]:
    """The finished shards of a side, in order. Raises: DataError if one is missing or damaged."""
    found = []
    for task in _tasks(job.plan, side):
        folder = job.folder / NAME / f"sorted-{task:03d}"
        for name, size in read_note(folder / FILES, lambda values: dict(values["files"])).items():
            path = folder / name
            if not path.is_file() or path.stat().st_size != size:
                raise DataError(f"{path}: is missing or damaged; remove {job.folder} and run the command again")
            found.append(path)
    return found


def _tasks(plan: CorpusPlan, side: str) -> range:
    first = SIDES.index(side) * plan.buckets
    return range(first, first + plan.buckets)


def _is_held_out(content: bytes, fraction: float) -> bool:
    """Whether a text is in the validation split; a function of the text, so that the same text is never in both."""
    digest = hashlib.blake2b(content, digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "little") / 2**64 < fraction


def _deal(job: Job[CorpusPlan], before: str, number: int) -> None:
    """Write ``dealt-UNIT.lines``, frames of lines with keys, and ``dealt-UNIT.npy``, the end of each bucket's frame."""
    plan, folder = job.plan, job.folder / NAME
    seed = str(plan.recipe.shuffle_seed).encode()
    with whole_file(folder / f"dealt-{number:05d}.lines") as file:
        hands = _Hands(file, len(SIDES) * plan.buckets)
        for _, document in kept_units(job.folder / before, len(plan.units)).documents(number, ReadReport()):
            content = document.text.encode("utf-8", "replace")
            key = hashlib.blake2b(content, digest_size=16, key=seed).digest()
            bucket = int.from_bytes(key[:8]) * plan.buckets >> 64
            side = SIDES[_is_held_out(content, plan.recipe.valid_fraction)]
            line = json_line({"text": document.text, "meta": document.meta})
            hands.add(_tasks(plan, side)[bucket], keyed(key, line))
        hands.flush()
    write_array(folder / f"dealt-{number:05d}.npy", np.array(hands.ends, np.int64).reshape(-1, hands.count))


class _Hands:
    """Lines for every bucket, written when enough of them are held."""

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


def _sort(job: Job[CorpusPlan], task: int) -> None:
    """Write the folder ``sorted-TASK``: shards, and a list of them."""
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
        (partial / FILES).write_text(json.dumps({"documents": documents, "files": files}))


def _dealt(folder: Path, number: int, task: int) -> Any:
    """The lines of a unit for a bucket, a frame at a time."""
    ends = read_array(folder / f"dealt-{number:05d}.npy")
    begins = ends[:, task - 1] if task else np.concatenate(([0], ends[:-1, -1]))
    with (folder / f"dealt-{number:05d}.lines").open("rb") as file:
        for begin, end in zip(begins.tolist(), ends[:, task].tolist(), strict=True):
            if end > begin:
                file.seek(begin)
                yield zstandard.ZstdDecompressor().decompress(file.read(end - begin))


def _close(job: Job[CorpusPlan], before: str) -> None:
    """Check that no document is missing."""
    kept, counts = read_ledger(job, before), []
    for side in SIDES:
        folders = [job.folder / NAME / f"sorted-{task:03d}" for task in _tasks(job.plan, side)]
        counts.append(sum(read_note(folder / FILES, lambda values: int(values["documents"])) for folder in folders))
    ledger = Ledger(NAME, sum(counts), sum(counts), kept_bytes=kept.kept_bytes, kept_by_source=kept.kept_by_source)
    ledger.kept_by_language = kept.kept_by_language
    kept.then(ledger)
    write_ledger(job, NAME, ledger)
    remove(job.folder / before, "kept-*")
    remove(job.folder / NAME, "dealt-*")
