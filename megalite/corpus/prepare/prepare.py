"""Runs a recipe: sources become clean, deduplicated, shuffled shards for training and validation."""

import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console

from megalite.config.errors import DataError
from megalite.corpus.decontaminate.stage import eval_index
from megalite.corpus.dedup.dump_index import known_parts
from megalite.corpus.filters.chain import FilterChain, tell
from megalite.corpus.prepare.plan import UNITS_WANTED, CorpusPlan, make_plan
from megalite.corpus.prepare.publish import RECIPE, WRITTEN, recipe_json, total_ledger
from megalite.corpus.prepare.recipe import Recipe, files_read
from megalite.files.place import refuse_inputs
from megalite.files.whole_folder import check_output
from megalite.jobs.memory import memory_per_worker
from megalite.jobs.process_pool import WorkerPool
from megalite.jobs.run import Pool, job_folder, run_job, unfinished_steps
from megalite.jobs.slurm import SUBMIT, Script, refuse_submitted, scripts_folder_of, step_script, submit, write_scripts
from megalite.jobs.work_folder import forget, resume_message, work_folder_of

TOKENS_WRITTEN = (
    *(f"tokenizer/tokenizer{end}" for end in (".json", "_config.json", ".model")),
    *(f"tokenizer/{name}" for name in ("special_tokens_map.json", "chat_template.jinja", "design_report.*")),
    *(f"{side}.{end}" for side in ("train", "valid") for end in ("bin", "idx", "manifest.json", "partial/*")),
)
"""Files that a recipe with ``tokenize`` has beside the shards."""

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

    The output appears as a whole or not at all, with the same bytes for any number of workers. A run that was killed
    resumes; a finished output of the same recipe is left alone.

    Args:
        memory_mb: for all processes together; by default ``MEMORY_MB`` for each.
        pool: runs the tasks instead of processes of this machine.

    Raises: FileNotFoundError; DataError if the output is another recipe's, or if no document is left.
    """
    if is_finished(recipe, output, overwrite):
        console.print(f"{output}: is finished already, nothing to do", highlight=False)
        return
    refuse_submitted(scripts_folder_of(output))
    plan = checked_plan(recipe, output, overwrite)
    tell(FilterChain(recipe.filters), console)
    if message := resume_message(work_folder_of(output), plan_json(plan)):
        console.print(message, highlight=False)
    share = memory_per_worker(MEMORY_MB * workers if memory_mb is None else memory_mb, workers)
    with ExitStack() as stack:
        job = stack.enter_context(job_folder("corpus", plan_json(plan), work_folder_of(output), share))
        run_job(job, pool or stack.enter_context(WorkerPool(workers)), console)
        ledger = total_ledger(job)
    ledger.print(console, str(output))


def prepare_on_slurm(
    recipe: Recipe,
    output: Path,
    console: Console,
    last: Callable[[int], Sequence[Script]],
    overwrite: bool = False,
    render_only: bool = False,
) -> None:
    """Write the scripts that make the corpus on a Slurm cluster to ``OUTPUT.slurm``, and submit them.

    Args:
        last: gives the scripts that run when the corpus is finished, for its number of units.
        render_only: do not submit; nor is anything submitted if there is no ``sbatch``.

    Raises: as :func:`prepare_corpus`.
    """
    folder = scripts_folder_of(output)
    refuse_submitted(folder)
    scripts: list[Script] = []
    units = UNITS_WANTED
    with ExitStack() as stack:
        if not is_finished(recipe, output, overwrite):
            plan = plan_json(checked_plan(recipe, output, overwrite))
            job = stack.enter_context(job_folder("corpus", plan, work_folder_of(output), keep=True))
            units = len(job.plan.units)
            for step in unfinished_steps(job):
                scripts.append(step_script(step.name, job.folder, step.name, step.tasks, recipe.slurm))
        written = write_scripts([*scripts, *last(units)], recipe.slurm, folder)
    console.print(f"{folder}: {len(written)} jobs, one after the other", highlight=False)
    if render_only or shutil.which("sbatch") is None:
        why = "--render_only" if render_only else "there is no sbatch on this machine"
        console.print(f"not submitted ({why}); to submit: bash {folder / SUBMIT}", highlight=False)
        return
    console.print(f"submitted to Slurm: {', '.join(submit(folder))}", highlight=False)


def is_finished(recipe: Recipe, output: Path, overwrite: bool) -> bool:
    """Whether the text is there and is to be left alone. Raises: DataError if it is another recipe's."""
    path = output / RECIPE
    if overwrite or not path.is_file():
        return False
    if path.read_text() != recipe_json(recipe):
        raise DataError(f"{output}: exists and is not of this recipe; choose another --output, or give --overwrite")
    forget(work_folder_of(output))
    return True


def checked_plan(recipe: Recipe, output: Path, overwrite: bool) -> CorpusPlan:
    """The plan, after every check that can be made before the work. Raises: FileNotFoundError, ConfigError, DataError."""
    check_output(output, (*WRITTEN, *TOKENS_WRITTEN), overwrite)
    refuse_inputs(output, files_read(recipe))
    plan = make_plan(recipe, output)
    FilterChain(recipe.filters)
    if recipe.dedup is not None:
        known_parts([Path(folder) for folder in recipe.dedup.against], recipe.dedup.what_counts)
    if recipe.decontaminate is not None:
        eval_index(plan.eval_sets, recipe.decontaminate.what_counts)
    return plan


def plan_json(plan: CorpusPlan) -> str:
    """The content of ``plan.json``."""
    return plan.model_dump_json(indent=1) + "\n"
