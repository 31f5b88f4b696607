"""The end of the plant: shards, lists and books go to the output, as a whole or not at all."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from megalite.corpus.dedup.dump_index import NAME as INDEX
from megalite.corpus.dedup.dump_index import DumpIndex
from megalite.corpus.dedup.lsh_index import SUFFIXES
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.ledger.page import write_page
from megalite.corpus.prepare import decontaminate_stage, dedup_stage, exact_stage
from megalite.corpus.prepare.plan import PlantPlan
from megalite.corpus.prepare.recipe import Recipe
from megalite.corpus.prepare.shuffle import ShuffledShards
from megalite.corpus.prepare.shuffle_stage import SIDES, sorted_shards
from megalite.corpus.prepare.steps import Job, Stage, Step, books_path, read_books, write_books
from megalite.corpus.units.kept_units import FIRST, all_written, unit_paths
from megalite.files.whole_folder import whole_folder

NAME = "publish"
RECIPE = "recipe.json"
REMOVED, CONTAMINATED = "removed.jsonl", "contaminated.jsonl"
WRITTEN = (
    RECIPE, "train-*.jsonl.zst", "valid-*.jsonl.zst", "ledger.json", "ledger.html", REMOVED, CONTAMINATED, INDEX,
    *(f"index-*{suffix}" for suffix in SUFFIXES),
)  # fmt: skip


def publish_stage(plan: PlantPlan, counted: Sequence[str]) -> Stage:
    """One task. ``counted`` are the stages that kept and dropped."""
    write = Step(NAME, 1, lambda job, _: _publish(job, counted), lambda job, _: books_path(job, NAME).is_file())
    return Stage(NAME, (write,))


def recipe_json(recipe: Recipe) -> str:
    """The content of ``recipe.json``: what decided the text."""
    return recipe.text.model_dump_json(indent=1, exclude={"tokenize", "slurm"})


def total_ledger(job: Job) -> Ledger:
    """The books of all stages as one, of a run that is published."""
    return read_books(job, NAME)


def _total(stages: Sequence[Ledger]) -> Ledger:
    """What one kept the next has read, or DataError is raised."""
    total = stages[0]
    for later in stages[1:]:
        total = total.then(later)
    total.stage = "corpus"
    return total


def _publish(job: Job, counted: Sequence[str]) -> None:
    chain = FilterChain(job.plan.recipe.filters)
    stages = [read_books(job, name) for name in counted]
    total = _total([read_books(job, name) for name in counted])
    values = [ledger.to_json(chain if ledger.stage == FIRST else None) for ledger in stages]
    with whole_folder(Path(job.plan.output)) as partial:
        for side in SIDES:
            shards = sorted_shards(job, side)
            for number, path in enumerate(shards):
                _link(path, partial / f"{side}-{number:05d}.jsonl.zst")
            if not shards:
                ShuffledShards(partial, side).finish()
        _write_lists(job, counted, partial)
        books = total.to_json(chain) | {"stages": values}
        text = json.dumps(books, indent=1, ensure_ascii=False) + "\n"
        (partial / "ledger.json").write_bytes(text.encode("utf-8", "replace"))
        write_page(partial / "ledger.html", values)
        (partial / RECIPE).write_text(recipe_json(job.plan.recipe))
    write_books(job, NAME, total)


def _write_lists(job: Job, counted: Sequence[str], partial: Path) -> None:
    """What was removed and its twins, what was contaminated and by what, and the index for later dumps."""
    if dedup_stage.NAME in counted:
        _join(job, [name for name in (exact_stage.NAME, dedup_stage.NAME) if name in counted], partial / REMOVED)
        if job.plan.recipe.dedup is not None and job.plan.recipe.dedup.write_index:
            _write_index(job, partial)
    if decontaminate_stage.NAME in counted:
        _join(job, [decontaminate_stage.NAME], partial / CONTAMINATED)


def _join(job: Job, stages: Sequence[str], path: Path) -> None:
    with path.open("wb") as together:
        for stage in stages:
            for number in range(len(job.plan.units)):
                for listing in (job.folder / stage).glob(f"*-{number:05d}.jsonl"):
                    with listing.open("rb") as file:
                        shutil.copyfileobj(file, together)


def _link(path: Path, target: Path) -> None:
    """The file under both names, so that a run that is killed here has lost nothing."""
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, target)


def _write_index(job: Job, partial: Path) -> None:
    """Each part counts its own unit's paths."""
    assert job.plan.recipe.dedup is not None
    paths: list[str] = []
    ends, documents = [], []
    for number, written in enumerate(all_written(job, dedup_stage.NAME, shards=False)):
        paths += unit_paths(job.folder, number)
        ends.append(len(paths))
        documents.append(written.ledger["kept"])
        for suffix in SUFFIXES:
            name = f"index-{number:05d}{suffix}"
            _link(job.folder / dedup_stage.NAME / name, partial / name)
    bands = dedup_stage.bands_of(job.plan.recipe.dedup)
    index = DumpIndex(bands=bands, paths=tuple(paths), documents=tuple(documents), path_ends=tuple(ends))
    index.write(partial)
