"""The stage that takes out documents with evaluation items."""

from megalite.corpus.decontaminate.command import Plan, write_unit
from megalite.corpus.decontaminate.contamination import Contamination
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.prepare.recipe import Decontaminate
from megalite.corpus.prepare.steps import Job, Stage, Step, is_written
from megalite.corpus.units.kept_units import closing_step, kept_units

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
