"""The stage that takes out documents with evaluation items."""

from megalite.corpus.contamination import Contamination
from megalite.corpus.decontaminate import Plan, write_unit
from megalite.corpus.plant.kept_units import closing_step, kept_units
from megalite.corpus.plant.plan import PlantPlan
from megalite.corpus.plant.steps import Job, Stage, Step, is_written
from megalite.corpus.recipe import Decontaminate

NAME = "decontaminate"


def decontaminate_stage(plan: PlantPlan, before: str) -> Stage:
    """A task for each unit."""

    def run(job: Job, number: int) -> None:
        job.plan.check_beside()
        write_unit(job.once("decontamination", lambda: _plan(job, before)), job.folder / NAME, number)

    step = Step(f"{NAME}-write", len(plan.units), run, is_written(NAME))
    return Stage(NAME, (step, closing_step(NAME, before)))


def rule_of(section: Decontaminate) -> Contamination:
    """What counts as contaminated."""
    return Contamination(**section.model_dump(exclude={"against"}))


def _plan(job: Job, before: str) -> Plan:
    assert job.plan.recipe.decontaminate is not None
    return Plan(inputs=kept_units(job, before), against=job.plan.eval_sets, rule=rule_of(job.plan.recipe.decontaminate))
