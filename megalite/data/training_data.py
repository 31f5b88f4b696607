"""Opens the data of a run, checks it against the model, and makes it first if it is missing."""

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from megalite.config.errors import ConfigError, DataError
from megalite.config.paths import searched
from megalite.config.schema import DataPreparation, RunConfig
from megalite.corpus.prepare.prepare import prepare_corpus
from megalite.corpus.prepare.recipe import Recipe, Tokenize, TrainTokenizer, files_read, load_recipe
from megalite.data.corpus_tokens import tokenize_corpus
from megalite.data.manifest import Manifest, load_manifest, missing_manifest, refuse_other_dataset
from megalite.data.samples.blend import BlendedDataset, open_blend
from megalite.data.samples.epochs import refuse_repetition, source_use
from megalite.data.samples.gpt_dataset import GPTDataset, SequentialDataset
from megalite.data.verification import Verification
from megalite.tokenizer.load import load_tokenizer

SUFFIXES = (".bin", ".idx", ".manifest.json")


@dataclass(frozen=True)
class ValidationData:
    """The validation samples, and the bytes of text per token in them."""

    dataset: SequentialDataset
    bytes_per_token: float


@dataclass(frozen=True)
class TrainingData:
    """What a run reads."""

    train: GPTDataset | BlendedDataset
    valid: ValidationData | None
    checksums: dict[str, str]
    """Training prefix -> checksum of its ``.bin``."""
    verification: Verification | None = None
    """The background check of all files; on one rank only."""


def open_training_data(
    config: RunConfig, console: Console, prepares: bool = True, verified: Path | None = None
) -> TrainingData:
    """Open the datasets of ``config.data``. Missing ones are made by ``data.prepare`` first.

    Args:
        prepares: whether this process makes missing data; the other ranks of a machine wait for it. (If it fails, the
            launcher ends them.)
        verified: where to record the files whose checksums were verified; given on the one rank that verifies them.

    Raises: DataError or FileNotFoundError if a file is missing, damaged, or made with another tokenizer or a larger
        vocabulary than the model's; ConfigError if the run would read a source too often.
    """
    data = config.data
    missing = [path for path in needed_files(config) if not path.exists()]
    if missing:
        if data.prepare is None:
            raise FileNotFoundError(_how_to_make(missing[0]))
        if prepares:
            _prepare_once(config, data.prepare, console)
        while any(not path.exists() for path in missing):
            time.sleep(0.5)
    manifests = {source.prefix: load_manifest(source.prefix) for source in data.train}
    for prefix, manifest in manifests.items():
        check_fit(prefix, manifest, config)
    _warn_of_two_rules(manifests, console)
    uses = source_use(config, {prefix: manifest.tokens for prefix, manifest in manifests.items()})
    for use in uses:
        if use.tokens:
            console.print(f"{use.prefix}: {use}", highlight=False)
    refuse_repetition(uses)
    train = open_blend(config)
    for dataset in train.datasets:
        refuse_other_dataset(manifests[dataset.source.prefix], dataset.source)
    valid = None
    if data.valid is not None:
        manifest = load_manifest(data.valid)
        check_fit(data.valid, manifest, config)
        held_out = SequentialDataset(data.valid, data.sequence_length)
        refuse_other_dataset(manifest, held_out.source)
        valid = ValidationData(held_out, manifest.text_bytes / manifest.tokens)
    checksums = {prefix: manifest.bin.checksum for prefix, manifest in manifests.items()}
    verification = None
    if verified is not None:
        verification = Verification([*manifests, *([data.valid] if data.valid is not None else [])], verified)
    return TrainingData(train, valid, checksums, verification)


def _how_to_make(path: Path) -> str:
    """The message for a missing file of ``needed_files``."""
    if path.name.endswith(".manifest.json"):
        return missing_manifest(str(path).removesuffix(".manifest.json"))
    return f"{path}: missing{searched(path)}; make it with megalite preprocess-data, or name a recipe in data.prepare"


def needed_files(config: RunConfig) -> list[Path]:
    """The files that a run reads: the tokenizer's folder and the files of every dataset."""
    data = config.data
    prefixes = [source.prefix for source in data.train] + ([data.valid] if data.valid is not None else [])
    return [Path(data.tokenizer)] + [Path(f"{prefix}{suffix}") for prefix in prefixes for suffix in SUFFIXES]


def check_fit(prefix: str, manifest: Manifest, config: RunConfig) -> None:
    """Raises: DataError if the data has ids beyond the model's vocabulary, or was made with another tokenizer."""
    if manifest.vocab_size > config.model.vocab_size:
        raise DataError(
            f"{prefix}: was tokenized with a vocabulary of {manifest.vocab_size}, model.vocab_size="
            f"{config.model.vocab_size} is smaller; raise it to at least {manifest.vocab_size}"
        )
    tokenizer = load_tokenizer(Path(config.data.tokenizer), parse_special_tokens=manifest.parse_special_tokens)
    if manifest.tokenizer_fingerprint != tokenizer.fingerprint:
        raise DataError(
            f"{prefix}: was made with another tokenizer than {config.data.tokenizer}; preprocess the data again with "
            f"this tokenizer, or point data.tokenizer to the one it was made with"
        )


def _warn_of_two_rules(manifests: dict[str, Manifest], console: Console) -> None:
    """Warn if spelled special tokens were parsed in one source and left as text in another."""
    parsed = [prefix for prefix, manifest in manifests.items() if manifest.parse_special_tokens]
    if 0 < len(parsed) < len(manifests):
        text = next(prefix for prefix in manifests if prefix not in parsed)
        console.print(
            f"warning: text that spells a special token is that token in {parsed[0]} and text in {text}; preprocess one of "
            f"them again with the same rule",
            highlight=False,
        )


def _prepare_once(config: RunConfig, recipe: DataPreparation, console: Console) -> None:
    """Make corpus, tokenizer and indexed files; other machines on the same file system wait for the lock."""
    folder = Path(recipe.corpus_dir).parent
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder / ".preparing.lock"):
        if any(not path.exists() for path in needed_files(config)):
            console.print(f"data is missing: preparing it by {recipe.recipe} (only this once)", highlight=False)
            prepare_data(config, recipe, console)


def prepare_data(config: RunConfig, recipe: DataPreparation, console: Console) -> None:
    """Make the recipe's corpus, a tokenizer with the model's vocabulary, then training and validation files.

    A step whose result exists is skipped. Raises: ConfigError if the recipe does not fit this run.
    """
    asked, how = check_preparation(config, recipe)
    corpus = Path(recipe.corpus_dir)
    prepare_corpus(asked, corpus, console, workers=recipe.workers)
    prefixes = {"train": config.data.train[0].prefix, "valid": config.data.valid}
    wanted = {side: Path(prefix) for side, prefix in prefixes.items() if prefix is not None}
    tokenize_corpus(how, corpus, Path(config.data.tokenizer), wanted, console, recipe.workers)


def check_preparation(config: RunConfig, preparation: DataPreparation) -> tuple[Recipe, Tokenize]:
    """The recipe of a run's data, and its ``tokenize`` section.

    Raises: ConfigError if the run has several sources, or the recipe has another tokenizer or a larger vocabulary than
        the run; FileNotFoundError if the recipe or a file in it is missing.
    """
    if len(config.data.train) != 1:
        raise ConfigError(
            "data.prepare makes one training dataset; for several in data.train, prepare them with the tools"
        )
    recipe, vocabulary = load_recipe(Path(preparation.recipe)), config.model.vocab_size
    how = recipe.tokenize or Tokenize(train=TrainTokenizer(vocab_size=vocabulary))
    if how.tokenizer is not None and Path(how.tokenizer).resolve() != Path(config.data.tokenizer).resolve():
        raise ConfigError(
            f"{preparation.recipe}: tokenize.tokenizer={how.tokenizer}, and data.tokenizer is {config.data.tokenizer}; name "
            f"one"
        )
    if how.train is not None and how.train.vocab_size > vocabulary:
        raise ConfigError(
            f"{preparation.recipe}: tokenize.train.vocab_size={how.train.vocab_size} is more than model.vocab_size="
            f"{vocabulary}; raise the latter"
        )
    if not Path(preparation.corpus_dir).exists():
        files_read(recipe)
    return recipe, how


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(file, fcntl.LOCK_UN)
