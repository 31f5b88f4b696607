"""One command from raw text to clean shards, and to token ids where the recipe says so."""

import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from megalite.config.command_line import CommandParser, number_of_workers, whole_number
from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.screen import screen
from megalite.corpus.prepare.dry_run import score_corpus
from megalite.corpus.prepare.prepare import prepare_corpus, prepare_on_slurm
from megalite.corpus.prepare.recipe import Recipe, Tokenize, load_recipe
from megalite.corpus.prepare.slurm_scripts import scripts_folder_of
from megalite.data.preprocess.command import preprocess
from megalite.files.own_folder import own_folder
from megalite.files.place import absolute
from megalite.jobs.ray_pool import RayPool
from megalite.tokenizer.learn.design import Design
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.sample.sampling import Sampling
from megalite.tokenizer.train import train_tokenizer

ENGINES = ("local", "ray", "slurm")


@one_line_errors
def main() -> None:
    """``tools/prepare_corpus.py``."""
    parser = CommandParser(description="Build a corpus from a recipe: clean text shards and, if asked for, tokens.")
    parser.add_argument(
        "--recipe", type=Path, required=True, metavar="YAML", help="recipe of the corpus; see docs/configuration.md"
    )
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder to write: shards, ledger and tokens"
    )
    parser.add_argument(
        "--dataset", metavar="NAME", help="read this Hugging Face dataset instead of the sources of the recipe"
    )
    parser.add_argument(
        "--workers",
        type=number_of_workers,
        default=os.cpu_count() or 1,
        help="worker processes; the output is the same",
    )
    parser.add_argument(
        "--memory_mb", type=whole_number(), help="memory limit of all workers together, in MB; default: 1024 per worker"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, default="local", help="where the work runs; the output does not depend on it"
    )
    parser.add_argument(
        "--render_only", action="store_true", help="with --engine slurm: write the scripts, do not submit them"
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="only score and count the documents; see tools/recount_corpus.py"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace an existing output")
    a = parser.parse_args()
    if a.render_only and a.engine != "slurm":
        parser.error("--render_only writes the scripts of --engine slurm; give both, or neither")
    if a.dry_run and a.engine == "slurm":
        parser.error("--dry_run scores on this machine or on Ray; give --engine local or --engine ray")
    recipe = load_recipe(a.recipe, a.dataset)
    console = screen()
    if not a.dry_run:
        check_tokenize(recipe)
    if a.engine == "slurm":
        prepare_on_slurm(recipe, a.output, console, _last_command(recipe, a.output), a.overwrite, a.render_only)
        return
    with ExitStack() as stack:
        pool = stack.enter_context(RayPool(a.workers)) if a.engine == "ray" else None
        if a.dry_run:
            score_corpus(recipe, a.output, console, a.overwrite, a.workers, pool)
            return
        prepare_corpus(recipe, a.output, console, a.overwrite, a.workers, a.memory_mb, pool)
    if recipe.tokenize is not None:
        tokenize_beside(recipe.tokenize, a.output, console, a.workers)


def _last_command(recipe: Recipe, output: Path) -> list[str]:
    """What the last job of Slurm does: this command, which finds the text finished and makes the tokens."""
    folder = scripts_folder_of(output)
    with own_folder(folder):
        (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    command = [sys.executable, "-m", "megalite.data.prepare_corpus", "--recipe", str(folder / "recipe.json")]
    return [*command, "--output", str(absolute(output)), "--workers", str(recipe.slurm.cpus)]


def check_tokenize(recipe: Recipe) -> None:
    """Raises: FileNotFoundError, DataError, ConfigError where the recipe's tokens could not be made."""
    how = recipe.tokenize
    if how is not None and how.tokenizer is not None:
        tokenizer = load_tokenizer(Path(how.tokenizer), how.eod_token)
        if how.append_eod and tokenizer.eos_id is None:
            raise ConfigError(
                f"{how.tokenizer}: does not say which token ends a document; give tokenize.eod_token, or append_eod: false"
            )


def tokenize_beside(how: Tokenize, corpus: Path, console: Console, workers: int) -> None:
    """Tokenizer and token ids in the folder of the shards."""
    tokenizer = Path(how.tokenizer) if how.tokenizer is not None else corpus / "tokenizer"
    wanted = {side: corpus / side for side in ("train", "valid")}
    tokenize_corpus(how, corpus, tokenizer, wanted, console, workers)


def tokenize_corpus(
    how: Tokenize, corpus: Path, tokenizer: Path, prefixes: Mapping[str, Path], console: Console, workers: int
) -> None:
    """Train a tokenizer where ``tokenizer`` is not there, and write ``PREFIX.bin`` / ``.idx`` of each side of a corpus.

    What is there already is left alone. Raises: FileNotFoundError, ConfigError, DataError.
    """
    if not tokenizer.exists():
        if how.train is None:
            raise FileNotFoundError(f"{tokenizer}: no such tokenizer; check tokenize.tokenizer, or let train make one")
        design = Design(**how.train.model_dump(exclude={"sample_bytes"}))
        sampling = Sampling(sample_bytes=how.train.sample_bytes)
        train_tokenizer([f"{corpus}/train-*.jsonl.zst"], tokenizer, design, console, sampling)
    for side, prefix in prefixes.items():
        shards = [f"{corpus}/{side}-*.jsonl.zst"]
        preprocess(shards, tokenizer, prefix, console, workers, append_eod=how.append_eod, eod_token=how.eod_token)


if __name__ == "__main__":
    main()
