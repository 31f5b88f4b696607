"""The tokens of a prepared corpus, as the recipe's ``tokenize`` section describes them."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.corpus.prepare.prepare import is_finished
from megalite.corpus.prepare.recipe import Recipe, Tokenize
from megalite.data.preprocess.command import plan_tokens, preprocess
from megalite.data.preprocess.plan import PreprocessOptions
from megalite.jobs.run import Pool
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.sample.sampling import Sampling
from megalite.tokenizer.train import train_tokenizer


def check_tokenize(recipe: Recipe) -> None:
    """Raises: FileNotFoundError, DataError or ConfigError if the recipe's tokens cannot be made."""
    how = recipe.tokenize
    if how is not None and how.tokenizer is not None:
        tokenizer = load_tokenizer(Path(how.tokenizer), how.eod_token)
        if how.append_eod and tokenizer.eos_id is None:
            raise ConfigError(
                f"{how.tokenizer}: does not say which token ends a document; give tokenize.eod_token, or append_eod: false"
            )


def tokens_of(how: Tokenize, corpus: Path) -> tuple[Path, dict[str, Path]]:
    """The tokenizer, and the ``PREFIX`` of each side, in the folder of the shards."""
    tokenizer = Path(how.tokenizer) if how.tokenizer is not None else corpus / "tokenizer"
    return tokenizer, {side: corpus / side for side in ("train", "valid")}


def tokenize_corpus(
    how: Tokenize,
    corpus: Path,
    tokenizer: Path,
    prefixes: Mapping[str, Path],
    console: Console,
    workers: int,
    pool: Pool | None = None,
) -> None:
    """Train a tokenizer unless ``tokenizer`` exists, and write ``PREFIX.bin`` / ``.idx`` of each side of a corpus.

    What exists is left alone.

    Args:
        pool: encodes instead of processes of this machine.

    Raises: FileNotFoundError, ConfigError, DataError.
    """
    _make_tokenizer(how, corpus, tokenizer, console)
    for side, prefix in prefixes.items():
        preprocess(_shards(corpus, side), tokenizer, prefix, console, workers, _options(how), pool=pool)


def plan_corpus_tokens(recipe: Recipe, corpus: Path, console: Console) -> None:
    """Train the tokenizer and leave work folders for ``jobs.run_task``. Raises: as :func:`tokenize_corpus`."""
    how = recipe.tokenize
    if how is None or not is_finished(recipe, corpus, overwrite=False):
        raise ConfigError(f"--plan_tokens: {corpus} is not a finished corpus of a recipe with 'tokenize:'")
    tokenizer, prefixes = tokens_of(how, corpus)
    _make_tokenizer(how, corpus, tokenizer, console)
    for side, prefix in prefixes.items():
        plan_tokens(_shards(corpus, side), tokenizer, prefix, _options(how))


def _make_tokenizer(how: Tokenize, corpus: Path, tokenizer: Path, console: Console) -> None:
    if tokenizer.exists():
        return
    if how.train is None:
        raise FileNotFoundError(f"{tokenizer}: no such tokenizer; check tokenize.tokenizer, or let train make one")
    design = Design(**how.train.model_dump(exclude={"sample_bytes"}))
    sampling = Sampling(sample_bytes=how.train.sample_bytes)
    train_tokenizer(_shards(corpus, "train"), tokenizer, design, console, sampling)


def _shards(corpus: Path, side: str) -> list[str]:
    return [f"{corpus}/{side}-*.jsonl.zst"]


def _options(how: Tokenize) -> PreprocessOptions:
    return PreprocessOptions(append_eod=how.append_eod, eod_token=how.eod_token)
