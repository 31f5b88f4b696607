"""Checks a ``.bin`` / ``.idx`` dataset from Megatron or another program, and writes the manifest that megalite needs."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from megalite.config.command_line import CommandParser, whole_number
from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.data.index_file import read_index
from megalite.data.indexed import IndexedDataset
from megalite.data.manifest import Manifest, SourcePiece, file_facts, manifest_path
from megalite.data.samples.permutation import KeyedPermutation
from megalite.files.whole_file import whole_file
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer

DOCUMENTS_AT_ONCE = 1 << 18
TOKENS_AT_ONCE = 1 << 22
DECODED_TOKENS = 50_000_000
DECODED_AT_ONCE = 1 << 16
ENCODED_AGAIN = 200
"""Number of sequences to decode and encode again, to check that the tokenizer created them."""


@one_line_errors
def main() -> None:
    """``megalite adopt``."""
    parser = CommandParser(
        description="Check PREFIX.bin / .idx that Megatron-LM or another program has made, and write the manifest with "
        "which they can be trained on and merged. Neither file is changed."
    )
    parser.add_argument("prefix", help="dataset to check, without .bin and .idx")
    parser.add_argument("--tokenizer", type=Path, required=True, metavar="DIR", help="tokenizer that made the tokens")
    parser.add_argument("--no_eod", action="store_true", help="documents do not end with an end-of-document token")
    parser.add_argument("--eod_token", help="end-of-document token; default: the tokenizer's eos_token")
    parser.add_argument(
        "--parse_special_tokens",
        action="store_true",
        help="special tokens in the text were parsed, as Megatron-LM mostly does",
    )
    parser.add_argument(
        "--decoded_tokens",
        type=whole_number(),
        default=DECODED_TOKENS,
        metavar="N",
        help="tokens to decode for the bytes of text",
    )
    arguments = parser.parse_args()
    if arguments.decoded_tokens < 1:
        raise DataError(f"--decoded_tokens {arguments.decoded_tokens}: give at least 1")
    console = screen()
    tokenizer = load_tokenizer(arguments.tokenizer, arguments.eod_token, arguments.parse_special_tokens)
    if not arguments.no_eod and tokenizer.eos_id is None:
        raise DataError(
            f"{arguments.tokenizer}: does not say which token ends a document; give --eod_token or --no_eod"
        )
    eod_id = None if arguments.no_eod else tokenizer.eos_id
    adopt(arguments.prefix, tokenizer, eod_id, console, arguments.decoded_tokens, arguments.parse_special_tokens)


def adopt(
    prefix: str,
    tokenizer: LoadedTokenizer,
    eod_id: int | None,
    console: Console,
    decoded_tokens: int = DECODED_TOKENS,
    parse_special_tokens: bool = False,
) -> Manifest:
    """Checks both files and writes ``PREFIX.manifest.json``.

    Args:
        eod_id: the token at the end of every document; None if there is none.
        parse_special_tokens: whether text that spells a special token became that token.
        decoded_tokens: about how many tokens, from random documents, to decode to measure the bytes of text.

    Raises: FileNotFoundError; DataError with the place at which a file is damaged or is not from this tokenizer.
    """
    if manifest_path(prefix).exists():
        raise DataError(f"{manifest_path(prefix)}: exists; the dataset needs no adoption")
    dataset = IndexedDataset(prefix)
    read_index(Path(f"{prefix}.idx"), whole=True)
    if dataset.num_tokens == 0:
        raise DataError(f"{prefix}: contains no tokens; there is nothing to adopt")
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("checking", total=dataset.num_tokens)
        _check_tokens(dataset, tokenizer, eod_id, lambda tokens: progress.advance(task, tokens))
        decoded = _decode(dataset, tokenizer, eod_id, decoded_tokens)
    files = {suffix: file_facts(Path(f"{prefix}{suffix}")) for suffix in (".bin", ".idx")}
    manifest = Manifest(
        documents=dataset.num_documents,
        sequences=len(dataset),
        tokens=dataset.num_tokens,
        text_bytes=max(1, round(decoded.bytes * dataset.num_tokens / decoded.tokens)),
        dtype=dataset.dtype.name,
        vocab_size=tokenizer.vocab_size,
        tokenizer_fingerprint=tokenizer.fingerprint,
        eod_id=eod_id,
        text_key="text",
        keys=("text",),
        level="document" if len(dataset) <= dataset.num_documents else "sentence",
        malformed=0,
        empty=0,
        plan=hashlib.sha256(f"adopted {files} {tokenizer.fingerprint} {eod_id}".encode()).hexdigest(),
        sources=(),
        pieces=(SourcePiece(None, 0, None, 0, 0, dataset.num_documents),),
        bin=files[".bin"],
        idx=files[".idx"],
        folder=str(manifest_path(prefix).parent.resolve()),
        parse_special_tokens=parse_special_tokens,
    )
    with whole_file(manifest_path(prefix)) as file:
        file.write(manifest.to_json().encode())
    _tell(prefix, manifest, decoded, console)
    return manifest


@dataclass
class Decoded:
    """Results of decoding a part of the dataset."""

    tokens: int = 0
    """Including end-of-document tokens."""
    bytes: int = 0
    """Bytes of text."""
    sequences: int = 0
    """Sequences that were encoded again."""
    same: int = 0
    """Those that gave the ids in the dataset."""


def _tell(prefix: str, manifest: Manifest, decoded: Decoded, console: Console) -> None:
    how = "counted" if decoded.tokens == manifest.tokens else f"measured on {decoded.tokens:,} of its tokens"
    console.print(
        f"{prefix}: adopted {manifest.documents:,} documents, {manifest.tokens:,} tokens ({manifest.dtype}), "
        f"{manifest.text_bytes / manifest.tokens:.3f} bytes of text each, {how}; the sources of the documents are unknown",
        highlight=False,
    )
    if decoded.same < 0.9 * decoded.sequences:
        console.print(
            f"{prefix}: warning: only {decoded.same} of {decoded.sequences} sequences that were decoded and encoded again "
            f"gave the same ids; was the dataset created with this tokenizer?",
            highlight=False,
        )


def _document_ends(dataset: IndexedDataset, first: int, after: int) -> np.ndarray:
    """Returns the end of each of the documents ``first .. after - 1``, in tokens of the flat stream."""
    sequences = np.asarray(dataset.index.boundaries[first + 1 : after + 1], dtype=np.int64)
    ends = np.full(len(sequences), dataset.num_tokens, dtype=np.int64)
    inside = sequences < len(dataset)
    ends[inside] = dataset.index.offsets[sequences[inside]] // dataset.dtype.itemsize
    return ends


def _check_tokens(
    dataset: IndexedDataset, tokenizer: LoadedTokenizer, eod_id: int | None, advance: Callable[[int], object]
) -> None:
    """Raises: DataError unless every id is in the vocabulary and every nonempty document ends with ``eod_id``."""
    start = 0
    for first in range(0, dataset.num_documents, DOCUMENTS_AT_ONCE):
        ends = _document_ends(dataset, first, min(first + DOCUMENTS_AT_ONCE, dataset.num_documents))
        begins = np.concatenate([[start], ends[:-1]])
        full = np.flatnonzero(ends > begins)
        lasts = ends[full] - 1
        while start < int(ends[-1]):
            tokens = dataset.read(start, min(TOKENS_AT_ONCE, int(ends[-1]) - start))
            wrong = np.flatnonzero((tokens < 0) | (tokens >= tokenizer.vocab_size))
            if len(wrong):
                raise DataError(
                    f"{dataset.prefix}: token {start + int(wrong[0]):,}, in document "
                    f"{dataset.document_at(start + int(wrong[0])):,}, is {tokens[wrong[0]]}, but the tokenizer has "
                    f"{tokenizer.vocab_size:,} ids; give the tokenizer that created the data"
                )
            if eod_id is not None:
                low, high = np.searchsorted(lasts, [start, start + len(tokens)])
                other = np.flatnonzero(tokens[lasts[low:high] - start] != eod_id)
                if len(other):
                    place = low + other[0]
                    raise DataError(
                        f"{dataset.prefix}: document {first + int(full[place]):,} ends with id "
                        f"{tokens[lasts[place] - start]}, not with the end-of-document token {eod_id}; give --eod_token, "
                        f"or --no_eod if the data has none"
                    )
            start += len(tokens)
            advance(len(tokens))


def _decode(dataset: IndexedDataset, tokenizer: LoadedTokenizer, eod_id: int | None, wanted: int) -> Decoded:
    """Decodes the sequences of documents in random order, until ``wanted`` tokens or all are decoded."""
    found = Decoded()
    encoder = tokenizer.tokenizer
    order = KeyedPermutation(dataset.num_documents, 0)
    for number in range(dataset.num_documents):
        for ids, closes in _sequences(dataset, order[number]):
            if found.tokens >= wanted:
                return found
            found.tokens += len(ids)
            text_ids = ids[:-1] if closes and eod_id is not None else ids
            text = encoder.decode(text_ids, skip_special_tokens=False)
            found.bytes += len(text.encode("utf-8", "replace"))
            if found.sequences < ENCODED_AGAIN and text_ids:
                found.sequences += 1
                found.same += encoder.encode(text, add_special_tokens=False).ids == text_ids
    return found


def _sequences(dataset: IndexedDataset, number: int) -> Iterator[tuple[list[int], bool]]:
    """Yields the sequences of a document in parts of bounded length, each with whether it ends the document."""
    begin, end = dataset.document_range(number)
    first, after = int(dataset.index.boundaries[number]), int(dataset.index.boundaries[number + 1])
    for sequence in range(first, after):
        left = int(dataset.index.lengths[sequence])
        while left:
            count = min(left, DECODED_AT_ONCE)
            yield dataset.read(begin, count).tolist(), begin + count == end
            begin, left = begin + count, left - count
