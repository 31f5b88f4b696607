"""The units of a job, shared out over processes; a killed worker or parent leaves nobody waiting."""

import multiprocessing
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.data.preprocess.encoders import Encoder, EncoderName, TokenizersEncoder, open_encoder
from megalite.data.preprocess.plan import Plan
from megalite.data.preprocess.unit import UnitResult, encode_unit, finished_result
from megalite.jobs.process_pool import deaf_children, end_workers, watch_parent
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer
from megalite.tokenizer.special_text import SpecialSpellings, special_names


def run_units(
    plan: Plan, folder: Path, workers: int, tokenizer: LoadedTokenizer, encoder: Encoder
) -> Iterator[tuple[int, UnitResult]]:
    """Results of all units as they come, those of an earlier run first."""
    todo = []
    for number in range(len(plan.units)):
        if (result := finished_result(plan, number, folder)) is not None:
            yield number, result
        else:
            todo.append(number)
    if workers == 1 or len(todo) <= 1:
        reference, spellings = _reference(encoder, tokenizer), SpecialSpellings(special_names(tokenizer.tokenizer))
        for number in todo:
            yield number, encode_unit(plan, number, folder, encoder, reference, spellings)
        return
    with ProcessPoolExecutor(min(workers, len(todo)), **_start(plan, folder, tokenizer, encoder)) as pool:
        try:
            with deaf_children():
                futures = {pool.submit(_work, number): number for number in todo}
            for future in as_completed(futures):
                yield futures[future], future.result()
        except BrokenProcessPool:
            raise DataError(
                f"{folder}: a worker process died (out of memory?); what is done is kept: run the same command again, "
                f"with fewer --workers if it dies again"
            ) from None
        except DataError:
            for future in futures:
                future.cancel()
            for future in futures:  # in order: the same first failure for any number of workers
                if not future.cancelled():
                    future.result()
            raise
        except BaseException:  # Ctrl-C
            end_workers()
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


_worker_state: tuple[Plan, Path, Encoder, Encoder, SpecialSpellings]


def _start(plan: Plan, folder: Path, tokenizer: LoadedTokenizer, encoder: Encoder) -> dict[str, Any]:
    """How workers begin: as a fork of this process, with the tokenizer loaded, or anew where a fork is not safe."""
    global _worker_state
    if threading.active_count() == 1 and "torch" not in sys.modules:
        _worker_state = _state(plan, folder, encoder, tokenizer)
        return {"mp_context": multiprocessing.get_context("fork"), "initializer": watch_parent}
    start = (plan, folder, encoder.name)
    return {"mp_context": multiprocessing.get_context("spawn"), "initializer": _start_worker, "initargs": start}


def _start_worker(plan: Plan, folder: Path, name: EncoderName) -> None:
    global _worker_state
    watch_parent()
    tokenizer = load_tokenizer(Path(plan.tokenizer), plan.eod_token, plan.parse_special_tokens)
    _worker_state = _state(plan, folder, open_encoder(name, tokenizer.tokenizer), tokenizer)


def _state(
    plan: Plan, folder: Path, encoder: Encoder, tokenizer: LoadedTokenizer
) -> tuple[Plan, Path, Encoder, Encoder, SpecialSpellings]:
    spellings = SpecialSpellings(special_names(tokenizer.tokenizer))
    return plan, folder, encoder, _reference(encoder, tokenizer), spellings


def _reference(encoder: Encoder, tokenizer: LoadedTokenizer) -> Encoder:
    """The tokenizer's own library; the encoder itself where it is that."""
    if tokenizer.own is not None:
        return TokenizersEncoder(tokenizer.own)
    is_own = encoder.name in ("tokenizers", "sentencepiece")
    return encoder if is_own else TokenizersEncoder(tokenizer.tokenizer)


def _work(number: int) -> UnitResult:
    plan, folder, encoder, reference, spellings = _worker_state
    return encode_unit(plan, number, folder, encoder, reference, spellings)
