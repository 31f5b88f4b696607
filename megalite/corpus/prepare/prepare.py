"""Sources become clean, deduplicated, shuffled shards for training and validation."""

import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.decontaminate.command import eval_index
from megalite.corpus.dedup.command import share_of
from megalite.corpus.dedup.dump_index import known_parts
from megalite.corpus.filters.chain import FilterChain, tell
from megalite.corpus.prepare.decontaminate_stage import rule_of
from megalite.corpus.prepare.dedup_stage import bands_of
from megalite.corpus.prepare.engine import Pool, run_stages
from megalite.corpus.prepare.plan import PlantPlan, make_plan
from megalite.corpus.prepare.publish import RECIPE, WRITTEN, recipe_json, total_ledger
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.prepare.slurm_scripts import SUBMIT, refuse_submitted, scripts_folder_of, submit, write_scripts
from megalite.corpus.prepare.steps import open_job
from megalite.corpus.sources.sources import files_read
from megalite.files.place import refuse_inputs
from megalite.files.whole_folder import check_output
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.work_folder import forget, held_folder, told_of_earlier, work_folder, work_folder_of

TOKENS_WRITTEN = (
    *(f"tokenizer/tokenizer{end}" for end in (".json", "_config.json", ".model")),
    *(f"tokenizer/{name}" for name in ("special_tokens_map.json", "chat_template.jinja", "design_report.*")),
    *(f"{side}.{end}" for side in ("train", "valid") for end in ("bin", "idx", "manifest.json", "partial/*")),
)
"""What a recipe with ``tokenize`` has beside the shards."""

MEMORY_MB = 1024


def prepare_corpus(
    recipe: Recipe,
    output: Path,
    console: Console,
    overwrite: bool = False,
    workers: int = 1,
    memory_mb: int | None = None,
    pool: Pool | None = None,
) -> None:
    """Write ``train-*.jsonl.zst``, ``valid-*.jsonl.zst``, ``ledger.json``, ``ledger.html`` and ``recipe.json``.

    It appears as a whole or not at all, with the same bytes for any number of workers; a run that was killed goes on where
    it was. A finished output of the same recipe is left alone.

    Args:
        memory_mb: for all processes together; by default ``MEMORY_MB`` for each.
        pool: does the tasks instead of processes of this machine.

    Raises: FileNotFoundError; DataError where the output is another recipe's, or where no document is left.
    """
    if is_finished(recipe, output, overwrite):
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        return
    refuse_submitted(scripts_folder_of(output))
    plan = checked_plan(recipe, output, overwrite)
    tell(FilterChain(recipe.filters), console)
    if told := told_of_earlier(work_folder_of(output), plan_json(plan)):
        console.print(told, highlight=False)
    share = share_of(MEMORY_MB * workers if memory_mb is None else memory_mb, workers)
    with work_folder(work_folder_of(output), plan_json(plan)) as folder:
        job = open_job(folder, share)
        if pool is None:
            with WorkerPool(workers) as processes:
                run_stages(job, processes, console)
        else:
            run_stages(job, pool, console)
        ledger = total_ledger(job)
    ledger.print(console, str(output))


def prepare_on_slurm(
    recipe: Recipe,
    output: Path,
    console: Console,
    last: Sequence[str],
    overwrite: bool = False,
    render_only: bool = False,
) -> None:
    """Write the scripts that make the corpus on a Slurm cluster to ``OUTPUT.slurm``, and hand them over.

    Args:
        last: the command that runs after all, in a job of its own.
        render_only: hand nothing over; neither where there is no ``sbatch``.

    Raises: as :func:`prepare_corpus`.
    """
    scripts, job = scripts_folder_of(output), None
    refuse_submitted(scripts)
    with ExitStack() as stack:
        if not is_finished(recipe, output, overwrite):
            plan = checked_plan(recipe, output, overwrite)
            job = open_job(stack.enter_context(held_folder(work_folder_of(output), plan_json(plan))), 0)
        written = write_scripts(job, recipe.slurm, scripts, last)
    console.print(f"{scripts}: {len(written)} jobs, one after the other", highlight=False)
    if render_only or shutil.which("sbatch") is None:
        why = "as asked" if render_only else "there is no sbatch on this machine"
        console.print(f"nothing is handed over, {why}: bash {scripts / SUBMIT}", highlight=False)
        return
    console.print(f"handed to Slurm: {', '.join(submit(scripts))}", highlight=False)


def is_finished(recipe: Recipe, output: Path, overwrite: bool) -> bool:
    """Whether the text is there and to be left alone. Raises: DataError where it is another recipe's."""
    path = output / RECIPE
    if overwrite or not path.is_file():
        return False
    if path.read_text() != recipe_json(recipe):
        raise DataError(f"{output}: exists and is not of this recipe; choose another --output, or give --overwrite")
    forget(work_folder_of(output))
    return True


def checked_plan(recipe: Recipe, output: Path, overwrite: bool) -> PlantPlan:
    """The plan, after everything that can be refused before the work. Raises: FileNotFoundError, ConfigError, DataError."""
    check_output(output, (*WRITTEN, *TOKENS_WRITTEN), overwrite)
    refuse_inputs(output, files_read(recipe))
    plan = make_plan(recipe, output)
    FilterChain(recipe.filters)
    if recipe.dedup is not None:
        known_parts([Path(folder) for folder in recipe.dedup.against], bands_of(recipe.dedup))
    if recipe.decontaminate is not None:
        eval_index(plan.eval_sets, rule_of(recipe.decontaminate))
    return plan


def plan_json(plan: PlantPlan) -> str:
    """The content of ``plan.json``."""
    return plan.model_dump_json(indent=1) + "\n"
