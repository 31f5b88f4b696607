"""The first stage: reads the sources, cleans the documents and applies the recipe's filters."""

from megalite.config.errors import DataError
from megalite.corpus.filters.chain import FilterChain
from megalite.corpus.ledger.labels import LANGUAGE_KEY, source_of
from megalite.corpus.ledger.ledger import Ledger
from megalite.corpus.prepare.digests import UnitDigests
from megalite.corpus.prepare.plan import CorpusPlan
from megalite.corpus.units.kept_shards import KeptShards
from megalite.corpus.units.kept_units import FIRST, all_written, is_closed, is_written, write_ledger, write_unit_paths
from megalite.corpus.units.written_units import merge_ledgers, record_unit
from megalite.corpus.words.clean_text import clean_text
from megalite.files.own_folder import remove_ours
from megalite.files.readers.malformed import ReadReport, refuse_malformed
from megalite.jobs.job import Job, Stage, Step


def filter_stage(plan: CorpusPlan) -> Stage:
    """One task for each unit of the sources."""
    judge = Step(FIRST, len(plan.units), _filter_unit, is_written(FIRST))
    close = Step(f"{FIRST}-close", 1, _close, is_closed(FIRST))
    return Stage(FIRST, (judge, close))


def _filter_unit(job: Job[CorpusPlan], number: int) -> None:
    plan, folder = job.plan, job.folder / FIRST
    plan.refuse_changed()
    chain = job.once("filters", lambda: FilterChain(plan.recipe.filters))
    ledger, report = Ledger(stage=FIRST), ReadReport()
    digests = UnitDigests() if plan.recipe.exact_dedup else None
    paths: dict[str, int] = {}
    with KeptShards(folder, number) as shards:
        for document in plan.documents(number, report):
            ledger.read += 1
            source, place = source_of(document), f"{document.path}:{document.line}"
            verdict = chain.judge(clean_text(document.text))
            ledger.judge(verdict.reasons, chain.rules, verdict.scores)
            language = verdict.language if len(chain.languages) > 1 else None
            if verdict.reason is not None:
                ledger.drop(verdict.reason, source, place, verdict.text, language=language)
                continue
            ledger.keep(source, verdict.text, language=language)
            ledger.edited.update(verdict.edits)
            more = {"place": place} | ({} if language is None else {LANGUAGE_KEY: language})
            shards.write(document._replace(text=verdict.text, meta=document.meta | more))
            path = paths.setdefault(document.path, len(paths))
            if digests is not None:
                digests.add(verdict.text, path, document.line)
    ledger.malformed, ledger.malformed_examples = report.malformed, report.examples
    write_unit_paths(job.folder, number, list(paths))
    if digests is not None:
        digests.write(folder, number)
    record_unit(folder, number, "", shards.names, ledger)


def _close(job: Job[CorpusPlan], task: int) -> None:
    ledger = merge_ledgers(all_written(job.folder / FIRST, len(job.plan.units)))
    ledger.stage = FIRST
    if ledger.kept == 0:
        remove_ours(job.folder)
        raise DataError(_why_nothing_is_left(ledger))
    most = job.plan.recipe.max_malformed
    refuse_malformed(ledger.read, ledger.malformed, ledger.malformed_examples, most, "the recipe's max_malformed")
    write_ledger(job, FIRST, ledger)


def _why_nothing_is_left(ledger: Ledger) -> str:
    if ledger.read:
        return f"no document of {ledger.read} is left; loosen the filters: {dict(ledger.dropped)}"
    malformed = f" ({ledger.malformed} are malformed, {ledger.malformed_examples[0]})" if ledger.malformed else ""
    return f"the sources hold no document{malformed}; check their paths and text_key"
