"""One command from raw text to clean shards, and to token ids where the recipe says so."""

import argparse
import functools
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from megalite.config.command_line import CommandParser, number_of_workers, whole_number
from megalite.config.errors import one_line_errors
from megalite.config.screen import screen
from megalite.corpus.prepare.dry_run import score_corpus
from megalite.corpus.prepare.prepare import prepare_corpus, prepare_on_slurm
from megalite.corpus.prepare.recipe import Recipe, load_recipe
from megalite.data.corpus_tokens import check_tokenize, plan_corpus_tokens, tokenize_corpus, tokens_of
from megalite.data.preprocess.command import tokens_folder
from megalite.data.preprocess.job import ENCODE_STEP
from megalite.files.own_folder import own_folder
from megalite.files.place import absolute
from megalite.jobs.ray_pool import RayPool
from megalite.jobs.slurm import Script, scripts_folder_of, step_script

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
    parser.add_argument("--plan_tokens", action="store_true", help=argparse.SUPPRESS)  # for the scripts of Slurm
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
    if a.plan_tokens:
        plan_corpus_tokens(recipe, a.output, console)
    elif a.engine == "slurm":
        last = functools.partial(_last_scripts, recipe, a.output)
        prepare_on_slurm(recipe, a.output, console, last, a.overwrite, a.render_only)
    else:
        with ExitStack() as stack:
            pool = stack.enter_context(RayPool(a.workers)) if a.engine == "ray" else None
            if a.dry_run:
                score_corpus(recipe, a.output, console, a.overwrite, a.workers, pool)
                return
            prepare_corpus(recipe, a.output, console, a.overwrite, a.workers, a.memory_mb, pool)
            if recipe.tokenize is not None:
                tokenizer, prefixes = tokens_of(recipe.tokenize, a.output)
                tokenize_corpus(recipe.tokenize, a.output, tokenizer, prefixes, console, a.workers, pool)


def _last_scripts(recipe: Recipe, output: Path, units: int) -> list[Script]:
    """The Slurm jobs behind the text: plan the tokens, encode them in arrays, and this command, which joins them."""
    folder, slurm = scripts_folder_of(output), recipe.slurm
    with own_folder(folder):
        (folder / "recipe.json").write_text(recipe.model_dump_json(indent=1))
    command = [sys.executable, "-m", "megalite.data.prepare_corpus", "--recipe", str(folder / "recipe.json")]
    command += ["--output", str(absolute(output)), "--workers", str(slurm.cpus)]
    finish = Script("finish", command)
    if recipe.tokenize is None:
        return [finish]
    arrays = [
        step_script(f"{side}-tokens", tokens_folder(prefix), ENCODE_STEP, units, slurm, if_planned=True)
        for side, prefix in tokens_of(recipe.tokenize, output)[1].items()
    ]
    return [Script("plan-tokens", [*command, "--plan_tokens"]), *arrays, finish]


if __name__ == "__main__":
    main()
