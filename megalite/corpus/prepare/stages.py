"""The stages of a recipe, in their order, and one task of them."""

from pathlib import Path

from megalite.corpus.prepare.decontaminate_stage import decontaminate_stage
from megalite.corpus.prepare.dedup_stage import dedup_stage
from megalite.corpus.prepare.exact_stage import exact_stage
from megalite.corpus.prepare.filter_stage import filter_stage
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.prepare.publish import publish_stage
from megalite.corpus.prepare.shuffle_stage import shuffle_stage
from megalite.corpus.prepare.steps import Stage, is_finished, open_job


def all_stages(plan: PlantPlan) -> list[Stage]:
    """Filter, exact, dedup, decontaminate (the last three if asked for), shuffle, publish."""
    stages = [filter_stage(plan)]
    if plan.recipe.exact_dedup:
        stages.append(exact_stage(plan))
    if plan.recipe.dedup is not None:
        stages.append(dedup_stage(plan, stages[-1].name))
    if plan.recipe.decontaminate is not None:
        stages.append(decontaminate_stage(plan, stages[-1].name))
    counted = [stage.name for stage in stages]
    return [*stages, shuffle_stage(plan, counted[-1]), publish_stage(plan, counted)]


def run_task(folder: Path, step_name: str, task: int, memory_bytes: int) -> None:
    """Do one task of the run in this work folder, if it is not done. Raises: DataError, OSError."""
    job = open_job(folder, memory_bytes)
    for stage in all_stages(job.plan):
        for step in stage.steps:
            if step.name == step_name:
                if not is_finished(job, stage) and not step.is_done(job, task):
                    (folder / stage.name).mkdir(exist_ok=True)
                    step.run(job, task)
                return
    raise ValueError(f"{folder}: has no step '{step_name}'")
