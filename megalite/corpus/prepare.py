"""Sources become clean, deduplicated, shuffled shards for training and validation."""

import argparse
import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import zstandard
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from megalite.config.errors import DataError, one_line_errors
from megalite.config.load import read_yaml, validate
from megalite.corpus.clean_text import clean_text
from megalite.corpus.filters import WORD, reason_to_drop
from megalite.corpus.installed_docs import installed_documents
from megalite.corpus.ledger import Ledger
from megalite.corpus.readers import Document, ReadReport, expand_inputs, read_documents
from megalite.corpus.recipe import Files, HubDataset, InstalledDocs, Recipe

BUCKET_BYTES = 64 << 20
"""Clean text in one training shard, about; a shard is shuffled in memory."""


@one_line_errors
def main() -> None:
    """``tools/prepare_corpus.py``."""
    parser = argparse.ArgumentParser(description="Make clean shards of text by a recipe.")
    parser.add_argument("--recipe", type=Path, required=True, metavar="YAML")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--dataset", metavar="NAME", help="take this Hugging Face dataset instead of the recipe's sources"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    values = read_yaml(arguments.recipe)
    if arguments.dataset:
        values["sources"] = [{"kind": "dataset", "name": arguments.dataset}]
    recipe = validate(Recipe, values, str(arguments.recipe))
    prepare_corpus(recipe, arguments.output, Console(soft_wrap=True), arguments.overwrite)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises: ConfigError, FileNotFoundError."""
    return validate(Recipe, read_yaml(path), str(path))


def prepare_corpus(recipe: Recipe, output: Path, console: Console, overwrite: bool = False) -> None:
    """Write ``train-*.jsonl.zst``, ``valid-00000.jsonl.zst``, ``ledger.json`` and ``recipe.json`` to ``output``.

    Everything is made in ``output.partial`` and renamed as a whole. A finished output of the same recipe is left alone.

    Raises: DataError where the output is another recipe's, or where no document is left.
    """
    content = recipe.model_dump_json(indent=1)
    if output.exists() and any(output.iterdir()):
        same = (output / "recipe.json").is_file() and (output / "recipe.json").read_text() == content
        if same and not overwrite:
            console.print(f"{output}: is finished already, nothing to do", highlight=False)
            return
        if not overwrite:
            raise DataError(f"{output}: exists and is not of this recipe; choose another --output, or give --overwrite")
    for source in recipe.sources:
        if isinstance(source, Files):
            expand_inputs(source.paths)
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    ledger = _write_shards(recipe, partial, console)
    if ledger.kept == 0:
        shutil.rmtree(partial)
        raise DataError(f"no document of {ledger.read} read is left; loosen the filters: {dict(ledger.dropped)}")
    ledger.write(partial / "ledger.json")
    (partial / "recipe.json").write_text(content)
    if output.exists():
        shutil.rmtree(output)
    partial.rename(output)
    ledger.print(console, str(output))


def _write_shards(recipe: Recipe, folder: Path, console: Console) -> Ledger:
    """One pass over the sources into unordered buckets, then each bucket is put in the order of its keys.

    A document's key is a hash of seed and content: sorting by it is a shuffle that does not depend on the order of input.
    """
    ledger, report = Ledger(), ReadReport()
    buckets = _Buckets(folder, _bucket_count(recipe))
    seen: set[bytes] = set()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TextColumn("{task.fields[kept]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, kept="")
        for document in _documents(recipe, report):
            ledger.read += 1
            source = str(document.meta.get("source", Path(document.path).name))
            text = clean_text(document.text)
            reason = reason_to_drop(text, recipe.filters)
            if reason is None and recipe.exact_dedup:
                digest = hashlib.blake2b(" ".join(WORD.findall(text.lower())).encode(), digest_size=16).digest()
                reason = "exact_duplicate" if digest in seen else None
                seen.add(digest)
            if reason is not None:
                ledger.drop(reason, source, f"{document.path}:{document.line}", text)
            else:
                ledger.keep(source, text)
                buckets.add(document, text, recipe)
            progress.update(task, completed=ledger.read, kept=f"{ledger.kept_bytes / 1e6:.0f} MB kept")
    ledger.malformed = report.malformed
    buckets.finish()
    return ledger


def _documents(recipe: Recipe, report: ReadReport) -> Iterator[Document]:
    for source in recipe.sources:
        if isinstance(source, InstalledDocs):
            yield from installed_documents(source.max_bytes)
        elif isinstance(source, Files):
            yield from read_documents(expand_inputs(source.paths), source.text_key, recipe.on_error, report)
        else:
            yield from _hub_documents(source, report)


def _hub_documents(source: HubDataset, report: ReadReport) -> Iterator[Document]:
    import datasets

    try:
        stream = datasets.load_dataset(source.name, source.subset, split=source.split, streaming=True)
    except Exception as error:  # the hub's client raises its own kinds for no network, no such name, no access
        raise DataError(f"dataset '{source.name}': cannot be opened: {str(error).splitlines()[0]}") from None
    if source.max_documents is not None:
        stream = stream.take(source.max_documents)
    for number, row in enumerate(stream, start=1):
        text = row.get(source.text_key)
        if isinstance(text, str):
            yield Document(text, {"source": source.name}, source.name, number)
        else:
            report.add_malformed(f"{source.name}:{number}", f"no text under '{source.text_key}'", "skip")


def _bucket_count(recipe: Recipe) -> int:
    """Training shards, from the size of the input files; one where the size is not known."""
    files = [path for source in recipe.sources if isinstance(source, Files) for path in expand_inputs(source.paths)]
    return max(1, sum(path.stat().st_size for path in files) // BUCKET_BYTES)


class _Buckets:
    """Documents on their way to shuffled shards: bucket by key, spill to disk, sort each bucket, compress."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count
        names = [f"train-{number:05d}" for number in range(count)] + ["valid-00000"]
        self._files = {name: (folder / f"{name}.unsorted").open("wb") for name in names}

    def add(self, document: Document, text: str, recipe: Recipe) -> None:
        key = hashlib.blake2b(text.encode(), digest_size=16, key=str(recipe.shuffle_seed).encode()).digest()
        split = hashlib.blake2b(text.encode(), digest_size=8, person=b"split").digest()
        is_valid = int.from_bytes(split, "little") / 2**64 < recipe.valid_fraction
        name = "valid-00000" if is_valid else f"train-{int.from_bytes(key[:8], 'big') * self._count >> 64:05d}"
        meta = document.meta | {"place": f"{document.path}:{document.line}"}
        self._files[name].write(key.hex().encode() + b" " + _json_line({"text": text, "meta": meta}))

    def finish(self) -> None:
        for name, file in self._files.items():
            file.close()
            unsorted = self._folder / f"{name}.unsorted"
            lines = sorted(unsorted.read_bytes().splitlines(keepends=True))
            compressed = zstandard.ZstdCompressor(level=3).compress(b"".join(line[33:] for line in lines))
            (self._folder / f"{name}.jsonl.zst").write_bytes(compressed)
            unsorted.unlink()


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a meta value that orjson does not take
        return json.dumps(record, default=str).encode() + b"\n"
