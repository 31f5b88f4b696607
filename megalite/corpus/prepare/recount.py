"""Counts the documents of a dry run again with other thresholds, from their scores alone."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

from megalite.config.command_line import CommandParser
from megalite.config.errors import ConfigError, DataError, one_line_errors
from megalite.config.explain import did_you_mean
from megalite.config.screen import screen
from megalite.corpus.filters.chain import FilterChain, Verdict
from megalite.corpus.ledger.labels import LANGUAGE_KEY
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.ledger.page import write_page
from megalite.corpus.prepare.recipe import Recipe, load_recipe
from megalite.files.place import check_output_file

ROWS_AT_ONCE = 4096
SCORES = "scores.parquet"
WRITTEN = (SCORES, "ledger.json", "ledger.html", "recipe.json")
FACTS = {
    "source": pa.string(),
    "place": pa.string(),
    "bytes": pa.int64(),
    "digest": pa.binary(16),
    LANGUAGE_KEY: pa.string(),
    "excerpt": pa.string(),
}
"""Columns of ``scores.parquet`` before the scores."""


class Notes(NamedTuple):
    """The metadata of ``scores.parquet``."""

    malformed: int
    examples: list[str]
    settings: dict[str, dict[str, Any]]
    """The options of each filter on which its scores depend."""

    def to_metadata(self) -> dict[str, str]:
        return {name: json.dumps(value, sort_keys=True) for name, value in self._asdict().items()}

    @classmethod
    def of(cls, file: parquet.ParquetFile) -> "Notes":
        """Raises: KeyError or ValueError if it is not a file of scores."""
        metadata = file.schema_arrow.metadata or file.metadata.metadata or {}
        return cls(**{name: json.loads(metadata[name.encode()]) for name in cls._fields})

    def merged(self, later: "Notes", most: int) -> "Notes":
        return Notes(self.malformed + later.malformed, (self.examples + later.examples)[:most], self.settings)


def recount(folder: Path, recipe: Recipe) -> Ledger:
    """Returns the ledger of a recipe with other thresholds, from the scores alone.

    If a filter that changes text (C4) drops a document that it did not drop before, or the reverse, the scores of the later
    filters are those of the dry run.

    Raises: FileNotFoundError; DataError if the scores are damaged; ConfigError if a rule was not scored with these options.
    """
    path = folder / SCORES
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no scores; make them with prepare_corpus.py --dry_run --output {folder}")
    try:
        with parquet.ParquetFile(path) as file:
            return _counted(file, path, recipe)
    except (pa.ArrowException, KeyError, TypeError, OverflowError, UnicodeDecodeError, json.JSONDecodeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise DataError(f"{path}: damaged, or not the scores of a dry run ({reason}); make a new dry run") from None


def _counted(file: parquet.ParquetFile, path: Path, recipe: Recipe) -> Ledger:
    chain = FilterChain(recipe.filters)
    names = [rule.name for rule in chain.rules]
    ledger = Ledger(stage="corpus")
    seen: dict[bytes, str] = {}
    notes = Notes.of(file)
    _check(chain, path, file.schema_arrow.names, notes)
    for row in _rows(file):
        scores = [row[name] for name in names]
        verdict = Verdict(row["excerpt"], scores, ledger.edited, chain.reasons(scores))
        ledger.read += 1
        ledger.judge(verdict.reasons, chain.rules, verdict.scores)
        reason, twin = verdict.reason, {}
        if reason is None and recipe.exact_dedup:
            if row["digest"] in seen:
                reason, twin = "exact_duplicate", {"twin": seen[row["digest"]]}
            else:
                seen[row["digest"]] = row["place"]
        if reason is None:
            ledger.keep(row["source"], row["excerpt"], row["bytes"], row[LANGUAGE_KEY])
        else:
            ledger.drop(
                reason, row["source"], row["place"], row["excerpt"], row["bytes"], row[LANGUAGE_KEY], **twin
            )  # fmt: skip
    ledger.malformed, ledger.malformed_examples = notes.malformed, notes.examples
    return ledger


def _check(chain: FilterChain, path: Path, scored: list[str], notes: Notes) -> None:
    """Raises: ConfigError if the scores do not cover the recipe."""
    for rule in chain.rules:
        if rule.name not in scored:
            meant = did_you_mean(rule.name, scored)
            raise ConfigError(f"rule '{rule.name}' was not scored in {path}{meant}; make a new dry run")
    for name, settings in chain.settings.items():
        before = notes.settings.get(name, settings)
        for key, value in settings.items():
            if json.loads(json.dumps(value)) != before.get(key):
                raise ConfigError(
                    f"filters: {name}: {key} is {_short(value)} now and was {_short(before.get(key))} in {path}; the scores "
                    f"depend on it: make a new dry run"
                )


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def _rows(file: parquet.ParquetFile) -> Iterator[dict[str, Any]]:
    for batch in file.iter_batches(batch_size=ROWS_AT_ONCE):
        yield from batch.to_pylist()


@one_line_errors
def main() -> None:
    """``tools/recount_corpus.py``."""
    parser = CommandParser(description="Count the documents of a dry run again with other thresholds.")
    parser.add_argument("scores", type=Path, metavar="DIR", help="output folder of prepare_corpus.py --dry_run")
    parser.add_argument("--recipe", type=Path, required=True, metavar="YAML", help="recipe with other thresholds")
    parser.add_argument("--ledger", type=Path, metavar="HTML", help="write the ledger as a page")
    parser.add_argument("--overwrite", action="store_true", help="replace an existing --ledger")
    arguments = parser.parse_args()
    if arguments.ledger is not None:
        if arguments.ledger.suffix != ".html":
            raise DataError(f"--ledger {arguments.ledger}: a page is written; give it the suffix .html")
        check_output_file(arguments.ledger, [arguments.recipe, arguments.scores / SCORES], arguments.overwrite)
    recipe = load_recipe(arguments.recipe)
    ledger = recount(arguments.scores, recipe)
    if arguments.ledger is not None:
        write_page(arguments.ledger, [ledger.to_json(FilterChain(recipe.filters).rules)])
    ledger.print(screen(), f"{arguments.scores}, counted by {arguments.recipe}")
