"""Sources become clean, deduplicated, shuffled shards for training and validation."""

import argparse
import hashlib
import json
from pathlib import Path
from typing import Any

import orjson
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from megalite.config.errors import DataError, one_line_errors
from megalite.config.load import read_yaml, validate
from megalite.corpus.clean_text import clean_text
from megalite.corpus.filters import FilterChain
from megalite.corpus.ledger import Ledger
from megalite.corpus.ledger_page import write_page
from megalite.corpus.readers import ReadReport
from megalite.corpus.recipe import Recipe
from megalite.corpus.scores import score_corpus
from megalite.corpus.shuffle import ShuffledShards
from megalite.corpus.sources import check_sources, source_documents
from megalite.corpus.whole_folder import check_output, whole_folder
from megalite.corpus.words import content_digest

WRITTEN = ("train-*.jsonl.zst", "valid-*.jsonl.zst", "ledger.json", "ledger.html", "recipe.json")


@one_line_errors
def main() -> None:
    """``tools/prepare_corpus.py``."""
    parser = argparse.ArgumentParser(description="Make clean shards of text by a recipe.")
    parser.add_argument("--recipe", type=Path, required=True, metavar="YAML")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR")
    parser.add_argument(
        "--dataset", metavar="NAME", help="take this Hugging Face dataset instead of the recipe's sources"
    )
    parser.add_argument("--dry_run", action="store_true", help="only score and count; see tools/recount_corpus.py")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    arguments = parser.parse_args()
    values = read_yaml(arguments.recipe)
    if arguments.dataset:
        values["sources"] = [{"kind": "dataset", "name": arguments.dataset}]
    recipe = validate(Recipe, values, str(arguments.recipe))
    run = score_corpus if arguments.dry_run else prepare_corpus
    run(recipe, arguments.output, Console(soft_wrap=True), arguments.overwrite)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe. Raises: ConfigError, FileNotFoundError."""
    return validate(Recipe, read_yaml(path), str(path))


def prepare_corpus(recipe: Recipe, output: Path, console: Console, overwrite: bool = False) -> None:
    """Write ``train-*.jsonl.zst``, ``valid-*.jsonl.zst``, ``ledger.json``, ``ledger.html`` and ``recipe.json``.

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
    check_sources(recipe)
    chain = FilterChain(recipe.filters)
    with whole_folder(output) as partial:
        ledger = _write_shards(recipe, chain, partial, console)
        if ledger.kept == 0:
            raise DataError(_why_nothing_is_left(ledger))
        ledger.write(partial / "ledger.json", chain)
        write_page(partial / "ledger.html", [ledger.to_json(chain)])
        (partial / "recipe.json").write_text(content)
    ledger.print(console, str(output))


def _why_nothing_is_left(ledger: Ledger) -> str:
    if ledger.read:
        return f"no document of {ledger.read} read is left; loosen the filters: {dict(ledger.dropped)}"
    malformed = f" ({ledger.malformed} are malformed, {ledger.malformed_examples[0]})" if ledger.malformed else ""
    return f"the sources hold no document{malformed}; check their paths and text_key"


def _write_shards(recipe: Recipe, chain: FilterChain, folder: Path, console: Console) -> Ledger:
    """One pass over the sources: clean, filter, deduplicate, and into the shuffle of its side of the split."""
    ledger, report = Ledger(), ReadReport()
    train, valid = ShuffledShards(folder, "train"), ShuffledShards(folder, "valid")
    seen: set[bytes] = set()
    seed = str(recipe.shuffle_seed).encode()
    columns = (SpinnerColumn(), TextColumn("{task.completed:,} documents"), TextColumn("{task.fields[kept]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("", total=None, kept="")
        for document in source_documents(recipe, report):
            ledger.read += 1
            source = str(document.meta.get("source", Path(document.path).name))
            place = f"{document.path}:{document.line}"
            verdict = chain.judge(clean_text(document.text))
            ledger.judge(verdict, chain)
            text, reason = verdict.text, verdict.reason
            if reason is None and recipe.exact_dedup:
                digest = content_digest(text)
                reason = "exact_duplicate" if digest in seen else None
                seen.add(digest)
            if reason is not None:
                ledger.drop(reason, source, place, text)
            else:
                ledger.keep(source, text)
                ledger.edited.update(verdict.edits)
                content = text.encode()
                line = _json_line({"text": text, "meta": document.meta | {"place": place}})
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


def _json_line(record: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a meta value that orjson does not take
        return json.dumps(record, default=str).encode() + b"\n"
