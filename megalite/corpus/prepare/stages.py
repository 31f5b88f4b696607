"""The job of a recipe: its stages in their order."""

from pathlib import Path

from megalite.corpus.decontaminate.stage import DecontaminatePlan, decontaminate_stage
from megalite.corpus.dedup.dump_index import known_parts
from megalite.corpus.dedup.scan import DedupPlan
from megalite.corpus.dedup.stage import DedupInput, dedup_stage
from megalite.corpus.prepare.exact_stage import exact_stage
from megalite.corpus.prepare.filter_stage import filter_stage
from megalite.corpus.prepare.plan import CorpusPlan
from megalite.corpus.prepare.publish import publish_stage
from megalite.corpus.prepare.shuffle_stage import shuffle_stage
from megalite.corpus.units.kept_units import kept_units, unit_paths
from megalite.jobs.job import Job, Stage


def read_plan(content: str) -> CorpusPlan:
    """``plan.json`` of a work folder."""
    return CorpusPlan.model_validate_json(content)


def all_stages(plan: CorpusPlan) -> list[Stage]:
    """Filter, exact, dedup, decontaminate (the last three if the recipe has them), shuffle, publish."""
    stages = [filter_stage(plan)]
    if plan.recipe.exact_dedup:
        stages.append(exact_stage(plan))
    if plan.recipe.dedup is not None:
        stages.append(_dedup(plan, stages[-1].name))
    if plan.recipe.decontaminate is not None:
        stages.append(_decontaminate(plan, stages[-1].name))
    counted = [stage.name for stage in stages]
    return [*stages, shuffle_stage(plan, counted[-1]), publish_stage(counted)]


def _dedup(plan: CorpusPlan, before: str) -> Stage:
    section = plan.recipe.dedup
    assert section is not None

    def open_input(job: Job[CorpusPlan]) -> DedupInput:
        own = DedupPlan(
            inputs=kept_units(job.folder / before, len(plan.units)),
            bands=section.what_counts,
            keep=section.keep,
            quality_key=section.quality_key,
            write_index=section.write_index,
        )
        against = [Path(folder) for folder in section.against]
        return DedupInput(
            own,
            lambda: known_parts(against, section.what_counts),
            lambda unit: tuple(unit_paths(job.folder, unit)),
        )

    return dedup_stage(len(plan.units), section.bands, open_input, before)


def _decontaminate(plan: CorpusPlan, before: str) -> Stage:
    section = plan.recipe.decontaminate
    assert section is not None

    def open_plan(job: Job[CorpusPlan]) -> DecontaminatePlan:
        inputs = kept_units(job.folder / before, len(plan.units))
        return DecontaminatePlan(inputs=inputs, against=plan.eval_sets, rule=section.what_counts)

    return decontaminate_stage(len(plan.units), open_plan, before)
