"""Sources become clean, deduplicated, shuffled shards for training and validation."""

import argparse
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from megalite.config.errors import DataError, one_line_errors
from megalite.config.load import read_yaml, validate
from megalite.corpus.clean_text import clean_text
from megalite.corpus.filters import Text, reason_to_drop
from megalite.corpus.installed_docs import installed_documents
from megalite.corpus.ledger import Ledger
from megalite.corpus.readers import Document, OnError, ReadReport, expand_inputs, read_documents
from megalite.corpus.recipe import Files, HubDataset, InstalledDocs, Recipe
from megalite.corpus.shuffle import ShuffledShards
from megalite.corpus.whole_folder import check_output, whole_folder

WRITTEN = ("train-*.jsonl.zst", "valid-*.jsonl.zst", "ledger.json", "recipe.json")


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
    """Write ``train-*.jsonl.zst``, ``valid-*.jsonl.zst``, ``ledger.json`` and ``recipe.json`` to ``output``.

    It appears as a whole or not at all. A finished output of the same recipe is left alone.

    Raises: DataError where the output is another recipe's, or where no document is left.
    """
    content = recipe.model_dump_json(indent=1)
    kept_recipe = output / "recipe.json"
    if kept_recipe.is_file() and not overwrite:
        if kept_recipe.read_text() != content:
            raise DataError(f"{output}: exists and is not of this recipe; choose another --output, or give --overwrite")
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        return
    check_output(output, WRITTEN, overwrite)
    for source in recipe.sources:
        if isinstance(source, Files):
            expand_inputs(source.paths)
    with whole_folder(output) as partial:
        ledger = _write_shards(recipe, partial, console)
        if ledger.kept == 0:
            raise DataError(_why_nothing_is_left(ledger))
        ledger.write(partial / "ledger.json")
        (partial / "recipe.json").write_text(content)
    ledger.print(console, str(output))


def _why_nothing_is_left(ledger: Ledger) -> str:
    if ledger.read:
        return f"no document of {ledger.read} read is left; loosen the filters: {dict(ledger.dropped)}"
    malformed = f" ({ledger.malformed} are malformed, {ledger.malformed_examples[0]})" if ledger.malformed else ""
    return f"the sources hold no document{malformed}; check their paths and text_key"


def _write_shards(recipe: Recipe, folder: Path, console: Console) -> Ledger:
    """One pass over the sources: clean, filter, deduplicate, and into the shuffle of its side of the split."""
    ledger, report = Ledger(), ReadReport()
    train, valid = ShuffledShards(folder, "train"), ShuffledShards(folder, "valid")
    seen: set[bytes] = set()
    seed = str(recipe.shuffle_seed).encode()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TextColumn("{task.fields[kept]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, kept="")
        for document in _documents(recipe, report):
            ledger.read += 1
            source = str(document.meta.get("source", Path(document.path).name))
            place = f"{document.path}:{document.line}"
            text = Text(clean_text(document.text))
            reason = reason_to_drop(text, recipe.filters)
            if reason is None and recipe.exact_dedup:
                digest = hashlib.blake2b(" ".join(text.words).encode(), digest_size=16).digest()
                reason = "exact_duplicate" if digest in seen else None
                seen.add(digest)
            if reason is not None:
                ledger.drop(reason, source, place, text.text)
            else:
                ledger.keep(source, text.text)
                content = text.text.encode()
                line = _json_line({"text": text.text, "meta": document.meta | {"place": place}})
                shards = valid if _is_held_out(content, recipe.valid_fraction) else train
                shards.add(hashlib.blake2b(content, digest_size=16, key=seed).digest(), line)
            progress.update(task, completed=ledger.read, kept=f"{ledger.kept_bytes / 1e6:.0f} MB kept")
    ledger.malformed, ledger.malformed_examples = report.malformed, report.examples
    train.finish()
    valid.finish()
    return ledger


def _is_held_out(content: bytes, fraction: float) -> bool:
    """The side of the split is a function of the text: the same text is never on both."""
    digest = hashlib.blake2b(content, digest_size=8, person=b"split").digest()
    return int.from_bytes(digest, "little") / 2**64 < fraction


def _documents(recipe: Recipe, report: ReadReport) -> Iterator[Document]:
    for source in recipe.sources:
        if isinstance(source, InstalledDocs):
            yield from installed_documents(source.max_bytes)
        elif isinstance(source, Files):
            yield from read_documents(expand_inputs(source.paths), source.text_key, recipe.on_error, report)
        else:
            yield from _hub_documents(source, recipe.on_error, report)


def _hub_documents(source: HubDataset, on_error: OnError, report: ReadReport) -> Iterator[Document]:
    for number, row in enumerate(_hub_rows(source), start=1):
        text = row.get(source.text_key)
        if isinstance(text, str):
            yield Document(text, {"source": source.name}, source.name, number)
        else:
            reason = f"no text under '{source.text_key}'; the keys are {', '.join(list(row)[:8])}"
            report.add_malformed(f"{source.name}:{number}", reason, on_error)


def _hub_rows(source: HubDataset) -> Iterator[dict[str, Any]]:
    import datasets

    try:
        stream = datasets.load_dataset(source.name, source.subset, split=source.split, streaming=True)
        yield from stream if source.max_documents is None else stream.take(source.max_documents)
    except Exception as error:  # the hub's client raises its own kinds for no network, no such name, no access
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(f"dataset '{source.name}': cannot be read: {reason}") from None


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a meta value that orjson does not take
        return json.dumps(record, default=str).encode() + b"\n"
