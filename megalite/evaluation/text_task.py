"""Bits per byte on any text as a row beside the benchmarks, document by document."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.evaluation.bits_per_byte import document_nats, total, whole_documents, window_and_stride
from megalite.evaluation.journal import Journal
from megalite.evaluation.json_output import content_hash, sha256_of_file
from megalite.evaluation.paired import BITS, influence, standard_error
from megalite.evaluation.ranks import Ranks
from megalite.files.readers.documents import Document, expand_inputs
from megalite.huggingface.load import start_of_text
from megalite.tokenizer.chat_text import text_ids

SECONDS_BETWEEN_WRITES = 5.0
METRIC = "bits_per_byte"


@dataclass(frozen=True)
class TextTask:
    """One ``--text``: the documents that a glob names."""

    name: str
    """What the row is called."""
    pattern: str
    text_key: str
    limit: int | None

    def facts(self) -> dict[str, Any]:
        """Files and what is read of them. Raises: FileNotFoundError, DataError."""
        files = {str(path): sha256_of_file(path) for path in expand_inputs([self.pattern])}
        if not sum(1 for _ in self.documents()):
            raise DataError(f"{self.pattern}: holds no document; there is nothing to measure")
        fingerprint = content_hash([sorted(files.values()), self.text_key, self.limit])
        return {"fingerprint": fingerprint, "source": self.pattern, "files": files, "notes": []}

    def documents(self) -> Iterator[Document]:
        """In order; a malformed place is an error. Raises: DataError."""
        return islice(whole_documents(expand_inputs([self.pattern]), self.text_key), self.limit)


def text_tasks(patterns: Sequence[str], text_key: str, limit: int | None) -> list[TextTask]:
    """A task a glob, called by its last part where that tells it from the others."""
    patterns = list(dict.fromkeys(patterns))
    last = [Path(pattern).name for pattern in patterns]
    names = last if len(set(last)) == len(last) else patterns
    return [TextTask(f"text {name}", pattern, text_key, limit) for name, pattern in zip(names, patterns, strict=True)]


def measure_text(
    model: Any,
    tokenizer: Any,
    task: TextTask,
    journal: Journal,
    ranks: Ranks,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The figures of a text and an item a document, on every rank.

    The standard error is that of a ratio of two sums over documents (the delta method).
    """
    window, stride = window_and_stride(model)
    start, scores, waiting, last = start_of_text(tokenizer), {}, {}, time.monotonic()
    ranks.wait()
    for number, document in enumerate(task.documents()):
        if number % ranks.world_size != ranks.rank:
            continue
        key = hashlib.sha256(document.text.encode("utf-8", "surrogatepass")).hexdigest()
        if key not in journal.answers and key not in waiting:
            ids = [start, *text_ids(tokenizer, document.text)]
            waiting[key] = [document_nats(model, ids, window, stride), len(ids) - 1, len(document.text.encode("utf-8"))]
        scores[number] = waiting[key] if key in waiting else journal.answers[key]
        if time.monotonic() - last > SECONDS_BETWEEN_WRITES:
            journal.add(waiting.items())
            waiting, last = {}, time.monotonic()
        on_progress(len(scores), 0)
    journal.add(waiting.items())
    everyone = {number: score for part in ranks.gathered(scores) for number, score in part.items()}
    rows = [everyone[number] for number in sorted(everyone)]
    if not rows:
        raise DataError(f"{task.pattern}: holds no document")
    whole = total(rows)
    error = ratio_error([nats for nats, _, _ in rows], [size for _, _, size in rows])
    metrics: dict[str, Any] = {f"{METRIC},none": whole.bits_per_byte, f"{METRIC}_stderr,none": error}
    metrics |= {"sample_len": whole.documents, "nats_per_token": whole.nats_per_token}
    metrics |= {"tokens": whole.tokens, "bytes": whole.bytes}
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


def ratio_error(nats: list[float], sizes: list[int]) -> float | str:
    """Standard error of ``sum(nats) / sum(sizes) / ln 2``; "N/A" for one document."""
    values = [[-value, size] for value, size in zip(nats, sizes, strict=True)]
    error = standard_error(influence(values, BITS))
    return "N/A" if error is None else error
