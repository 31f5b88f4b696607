"""Bits per byte of a text, measured document by document and reported beside the benchmarks."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.evaluation.bits_per_byte import document_nats, total, whole_documents, window_and_stride
from megalite.evaluation.compare.paired import BITS, influence, standard_error
from megalite.evaluation.fingerprint import content_hash, sha256_of_file
from megalite.evaluation.measure.journal import Journal
from megalite.files.readers.documents import Document
from megalite.files.readers.input_files import expand_inputs
from megalite.huggingface.load import start_of_text
from megalite.tokenizer.chat_text import text_ids

SECONDS_BETWEEN_WRITES = 5.0
METRIC = "bits_per_byte"


@dataclass(frozen=True)
class TextTask:
    """One ``--text``: the documents of a glob."""

    name: str
    pattern: str
    text_key: str
    limit: int | None

    def facts(self) -> dict[str, Any]:
        """Fingerprint, source and files. Raises: FileNotFoundError, DataError."""
        files = {str(path): sha256_of_file(path) for path in expand_inputs([self.pattern])}
        if not sum(1 for _ in self.documents()):
            raise DataError(f"{self.pattern}: contains no document; there is nothing to measure")
        fingerprint = content_hash([sorted(files.values()), self.text_key, self.limit])
        return {"fingerprint": fingerprint, "source": self.pattern, "files": files, "notes": []}

    def documents(self) -> Iterator[Document]:
        """In order. Raises: DataError for a malformed record."""
        return islice(whole_documents(expand_inputs([self.pattern]), self.text_key), self.limit)


def text_tasks(patterns: Sequence[str], text_key: str, limit: int | None) -> list[TextTask]:
    """One task per glob, named after the last part of the path if these are unique."""
    patterns = list(dict.fromkeys(patterns))
    last = [Path(pattern).name for pattern in patterns]
    names = last if len(set(last)) == len(last) else patterns
    return [TextTask(f"text {name}", pattern, text_key, limit) for name, pattern in zip(names, patterns, strict=True)]


def measure_text(lm: Any, task: TextTask, journal: Journal) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of a text and one item per document, on every rank.

    The standard error is that of a ratio of two sums over documents (delta method).
    """
    rows = _score_documents(lm, task, journal)
    if not rows:
        raise DataError(f"{task.pattern}: contains no document")
    score = total(rows)
    error = _ratio_error([nats for nats, _, _ in rows], [size for _, _, size in rows])
    metrics: dict[str, Any] = {f"{METRIC},none": score.bits_per_byte, f"{METRIC}_stderr,none": error}
    metrics |= {"sample_len": score.documents, "nats_per_token": score.nats_per_token}
    metrics |= {"tokens": score.tokens, "bytes": score.bytes}
    result = {
        "results": {task.name: metrics},
        "higher_is_better": {task.name: {METRIC: False}},
        "n-shot": {task.name: 0},
        "chance": {},
        "group_subtasks": {},
        "notes": [],
    }
    items = [
        {"task": task.name, "filter": "none", "doc_id": number, "tokens": tokens, METRIC: [-nats, size]}
        for number, (nats, tokens, size) in enumerate(rows)
    ]
    return result, items


def _score_documents(lm: Any, task: TextTask, journal: Journal) -> list[Sequence[float]]:
    """``(nats, tokens, bytes)`` of each document, those of the other ranks included."""
    window, stride = window_and_stride(lm.model)
    start, scores, waiting, last = start_of_text(lm.tokenizer), {}, {}, time.monotonic()
    lm.group.barrier()  # until every rank has read the journal, none may add to it
    for number, document in enumerate(task.documents()):
        if number % lm.group.world_size != lm.group.rank:
            continue
        key = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in journal.answers and key not in waiting:
            ids = [start, *text_ids(lm.tokenizer, document.text)]
            nats = document_nats(lm.model, ids, window, stride)
            waiting[key] = [nats, len(ids) - 1, len(document.text.encode("utf-8"))]
        scores[number] = waiting[key] if key in waiting else journal.answers[key]
        if time.monotonic() - last > SECONDS_BETWEEN_WRITES:
            journal.add(waiting.items())
            waiting, last = {}, time.monotonic()
        lm.on_progress(len(scores), 0)
    journal.add(waiting.items())
    gathered = {number: score for part in lm.group.all_gather(scores) for number, score in part.items()}
    return [gathered[number] for number in sorted(gathered)]


def _ratio_error(nats: list[float], sizes: list[float]) -> float | str:
    """Standard error of ``sum(nats) / sum(sizes) / ln 2``; "N/A" for one document."""
    values = [[-value, size] for value, size in zip(nats, sizes, strict=True)]
    error = standard_error(influence(values, BITS))
    return "N/A" if error is None else error
