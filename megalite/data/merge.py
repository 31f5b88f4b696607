"""Concatenates indexed datasets of the same tokenizer by copying bytes."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.progress import track

from megalite.config.command_line import CommandParser
from megalite.config.errors import DataError, one_line_errors
from megalite.config.screen import screen
from megalite.data.dataset_output import check_dataset_output
from megalite.data.indexed import IndexedDataset
from megalite.data.inspect.trace import source_path
from megalite.data.manifest import (
    Manifest,
    SourcePiece,
    existing_output,
    manifest_path,
    refuse_other_dataset,
    verify_manifest,
)
from megalite.data.preprocess.join import Joined, concatenate, publish
from megalite.data.preprocess.shard import Stretch
from megalite.files.own_folder import is_ours
from megalite.files.place import beside
from megalite.jobs.work_folder import work_folder

MUST_AGREE = (
    "dtype",
    "vocab_size",
    "tokenizer_fingerprint",
    "eod_id",
    "text_key",
    "keys",
    "level",
    "parse_special_tokens",
)
COPIED_DOCUMENTS = 1 << 20


@one_line_errors
def main() -> None:
    """``tools/merge_datasets.py``."""
    parser = CommandParser(description="Concatenate .bin/.idx datasets that were made with the same tokenizer.")
    parser.add_argument(
        "--input", nargs="+", required=True, metavar="PREFIX", help="datasets to concatenate, without .bin and .idx"
    )
    parser.add_argument(
        "--output",
        "--output_prefix",
        type=Path,
        required=True,
        metavar="PREFIX",
        help="dataset to write, without suffix",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    merged = merge(arguments.input, arguments.output, arguments.overwrite)
    screen().print(
        f"{arguments.output}: {merged.documents:,} documents, {merged.tokens:,} tokens from "
        f"{len(arguments.input)} datasets",
        highlight=False,
    )


def merge(inputs: list[str], prefix: Path, overwrite: bool = False) -> Manifest:
    """Writes the documents of all inputs, in order, after verifying the checksums of the inputs.

    Raises: DataError if the inputs do not match or are damaged, or if the output exists.
    """
    folder = beside(prefix, ".merging")
    killed_while_renaming = is_ours(folder) and not manifest_path(prefix).exists()
    read = [path for name in inputs for path in existing_output(name)]
    check_dataset_output(prefix, folder, read, overwrite)
    if (existing := existing_output(prefix)) and not overwrite and not killed_while_renaming:
        raise DataError(f"{existing[-1]}: exists; choose another --output or give --overwrite")
    datasets = [IndexedDataset(name) for name in inputs]
    manifests = [verify_manifest(name) for name in track(inputs, "verifying", disable=not screen().is_terminal)]
    for manifest, dataset in zip(manifests, datasets, strict=True):
        refuse_other_dataset(manifest, dataset)
    first = manifests[0]
    for name, manifest in zip(inputs, manifests, strict=True):
        for key in MUST_AGREE:
            if (theirs := getattr(manifest, key)) != (ours := getattr(first, key)):
                raise DataError(
                    f"{name}: has {key}={theirs!r}, {inputs[0]} has {ours!r}; merge datasets of the same kind"
                )
    with work_folder(folder, "merge"):
        return _merged(inputs, datasets, manifests, folder, prefix)


def _merged(
    inputs: list[str],
    datasets: Sequence[IndexedDataset],
    manifests: Sequence[Manifest],
    folder: Path,
    prefix: Path,
) -> Manifest:
    first = manifests[0]
    joined = Joined(folder / "joined.bin", folder / "joined.lengths", folder / "joined.sequences")
    tokens = [Path(f"{name}.bin") for name in inputs]
    concatenate([Stretch(path, 0, path.stat().st_size) for path in tokens], joined.ids)
    with joined.lengths.open("wb") as lengths, joined.sequences.open("wb") as sequences:
        for index in (dataset.index for dataset in datasets):
            lengths.write(index.lengths.data)
            for start in range(0, len(index.boundaries) - 1, COPIED_DOCUMENTS):
                boundaries = index.boundaries[start : start + COPIED_DOCUMENTS + 1]
                sequences.write(np.diff(boundaries).astype("<i4").data)
    facts = {key: getattr(first, key) for key in MUST_AGREE} | {
        key: sum(getattr(manifest, key) for manifest in manifests)
        for key in ("documents", "sequences", "tokens", "text_bytes", "malformed", "empty")
    }
    spellings = [manifest.special_spellings for manifest in manifests]
    counted = [number for number in spellings if number is not None]
    facts["special_spellings"] = sum(counted) if len(counted) == len(spellings) else None
    facts["tokenizer_check"] = first.tokenizer_check
    facts["sources"] = tuple(
        replace(source, path=str(source_path(name, manifest, source)))
        for name, manifest in zip(inputs, manifests, strict=True)
        for source in manifest.sources
    )
    facts["pieces"] = tuple(_pieces(manifests))
    facts["plan"] = hashlib.sha256("".join(manifest.plan for manifest in manifests).encode()).hexdigest()
    return publish(prefix, joined, np.dtype(first.dtype), facts)


def _pieces(manifests: Sequence[Manifest]) -> Iterator[SourcePiece]:
    """Yields the pieces of all inputs, with file numbers of the merged list."""
    files = 0
    for manifest in manifests:
        for piece in manifest.pieces:
            yield piece if piece.source is None else replace(piece, source=files + piece.source)
        files += len(manifest.sources)
