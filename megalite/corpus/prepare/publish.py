"""The last stage: puts shards, lists and ledger into the output, as a whole or not at all."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from megalite.corpus.decontaminate import stage as decontaminate_stage
from megalite.corpus.dedup import stage as dedup_stage
from megalite.corpus.dedup.dump_index import NAME as INDEX
from megalite.corpus.dedup.dump_index import DumpIndex
from megalite.corpus.dedup.lsh_index import SUFFIXES
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.ledger.page import write_page
from megalite.corpus.prepare import exact_stage
from megalite.corpus.prepare.plan import CorpusPlan
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.prepare.shuffle import ShuffledShards
from megalite.corpus.prepare.shuffle_stage import SIDES, sorted_shards
from megalite.corpus.units.kept_units import FIRST, all_written, is_closed, read_ledger, unit_paths, write_ledger
from megalite.corpus.units.written_units import link
from megalite.files.whole_folder import whole_folder
from megalite.jobs.job import Job, Stage, Step

NAME = "publish"
RECIPE = "recipe.json"
REMOVED, CONTAMINATED = "removed.jsonl", "contaminated.jsonl"
WRITTEN = (
    RECIPE, "train-*.jsonl.zst", "valid-*.jsonl.zst", "ledger.json", "ledger.html", REMOVED, CONTAMINATED, INDEX,
    *(f"index-*{suffix}" for suffix in SUFFIXES),
)  # fmt: skip


def publish_stage(counted: Sequence[str]) -> Stage:
    """One task. ``counted`` are the stages with a ledger of kept and dropped documents."""
    write = Step(NAME, 1, lambda job, _: _publish(job, counted), is_closed(NAME))
    return Stage(NAME, (write,))


def recipe_json(recipe: Recipe) -> str:
    """The content of ``recipe.json``: what decided the text."""
    return recipe.text.model_dump_json(indent=1, exclude={"tokenize", "slurm"})


def total_ledger(job: Job[CorpusPlan]) -> Ledger:
    """The ledger of all stages together, of a job whose output is published."""
    return read_ledger(job, NAME)


def _total(stages: Sequence[Ledger]) -> Ledger:
    """Raises: DataError if a stage has not read what the one before kept."""
    total = stages[0]
    for later in stages[1:]:
        total = total.then(later)
    total.stage = "corpus"
    return total


def _publish(job: Job[CorpusPlan], counted: Sequence[str]) -> None:
    rules = FilterChain(job.plan.recipe.filters).rules
    stages = [read_ledger(job, name) for name in counted]
    total = _total([read_ledger(job, name) for name in counted])
    values = [ledger.to_json(rules if ledger.stage == FIRST else ()) for ledger in stages]
    with whole_folder(Path(job.plan.output)) as partial:
        for side in SIDES:
            shards = sorted_shards(job, side)
            for number, path in enumerate(shards):
                link(path, partial / f"{side}-{number:05d}.jsonl.zst")
            if not shards:
                ShuffledShards(partial, side).finish()
        _write_lists(job, counted, partial)
        total_values = total.to_json(rules) | {"stages": values}
        text = json.dumps(total_values, indent=1, ensure_ascii=False) + "\n"
        (partial / "ledger.json").write_bytes(text.encode("utf-8", "replace"))
        write_page(partial / "ledger.html", values)
        (partial / RECIPE).write_text(recipe_json(job.plan.recipe))
    write_ledger(job, NAME, total)


def _write_lists(job: Job[CorpusPlan], counted: Sequence[str], partial: Path) -> None:
    """The lists of removed and contaminated documents, and the index for later dumps."""
    if dedup_stage.NAME in counted:
        _join(job, [name for name in (exact_stage.NAME, dedup_stage.NAME) if name in counted], partial / REMOVED)
        if job.plan.recipe.dedup is not None and job.plan.recipe.dedup.write_index:
            _write_index(job, partial)
    if decontaminate_stage.NAME in counted:
        _join(job, [decontaminate_stage.NAME], partial / CONTAMINATED)


def _join(job: Job[CorpusPlan], stages: Sequence[str], path: Path) -> None:
    with path.open("wb") as together:
        for stage in stages:
            for number in range(len(job.plan.units)):
                for listing in (job.folder / stage).glob(f"*-{number:05d}.jsonl"):
                    with listing.open("rb") as file:
                        shutil.copyfileobj(file, together)


def _write_index(job: Job[CorpusPlan], partial: Path) -> None:
    """Each part numbers its own unit's paths."""
    assert job.plan.recipe.dedup is not None
    paths: list[str] = []
    ends, documents = [], []
    for number, written in enumerate(all_written(job.folder / dedup_stage.NAME, len(job.plan.units), shards=False)):
        paths += unit_paths(job.folder, number)
        ends.append(len(paths))
        documents.append(written.ledger["kept"])
        for suffix in SUFFIXES:
            name = f"index-{number:05d}{suffix}"
            link(job.folder / dedup_stage.NAME / name, partial / name)
    bands = job.plan.recipe.dedup.what_counts
    index = DumpIndex(bands=bands, paths=tuple(paths), documents=tuple(documents), path_ends=tuple(ends))
    index.write(partial)
