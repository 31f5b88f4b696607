"""Megatron-LM's ``tools/preprocess_data.py``, made from megatron-core's own classes: the peer of benchmarks/preprocess.py.

The tool itself is not in the megatron-core wheel, and it imports ``megatron.training`` as well, so its start-up is longer
than this one's. The rest is its way: a pool of processes takes the lines of one jsonl file in order, 32 at a time; each is
parsed by ``json``, tokenized by megatron-core's ``HuggingFaceTokenizer`` and given an end-of-document token; the parent adds
the documents to an ``IndexedDatasetBuilder``.

``python benchmarks/preprocess_megatron.py INPUT.jsonl TOKENIZER PREFIX WORKERS``
"""

import json
import multiprocessing
import sys

from megatron.core.datasets.indexed_dataset import DType, IndexedDatasetBuilder
from megatron.core.tokenizers.text.libraries.huggingface_tokenizer import HuggingFaceTokenizer

LINES_AT_ONCE = 32
tokenizer: HuggingFaceTokenizer


def start(path: str) -> None:
    """Every worker loads the tokenizer."""
    global tokenizer
    tokenizer = HuggingFaceTokenizer(path, use_fast=True)


def encode(line: str) -> tuple[list[int], list[int]]:
    """Ids of a document, and the lengths of its sequences."""
    ids = tokenizer.text_to_ids(json.loads(line)["text"])
    if ids:
        ids.append(tokenizer.eod)
    return ids, [len(ids)] if ids else []


def main() -> None:
    """Tokenize one file."""
    source, path, prefix, workers = sys.argv[1:]
    start(path)
    builder = IndexedDatasetBuilder(f"{prefix}.bin", dtype=DType.optimal_dtype(tokenizer.vocab_size))
    with multiprocessing.Pool(int(workers), start, (path,)) as pool, open(source, encoding="utf-8") as lines:  # noqa: PTH123
        for ids, lengths in pool.imap(encode, lines, LINES_AT_ONCE):
            builder.add_document(ids, lengths)
    builder.finalize(f"{prefix}.idx")


if __name__ == "__main__":
    main()
