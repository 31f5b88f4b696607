"""Answers many prompts in batches, in their order. A killed run resumes with the first prompt that has no answer."""

import hashlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from rich.progress import track

from megalite.config.screen import screen
from megalite.files.appended_lines import append_lines, complete_lines
from megalite.generation.answer import Answer, end_tokens
from megalite.generation.continuation import limit_new_tokens
from megalite.generation.kv_cache import cache_keywords
from megalite.generation.prompt_file import PromptRow
from megalite.generation.settings import GenerationSettings, keep_special_ids_only, refuse_nan_scores
from megalite.generation.stream import Tally, stream_pieces
from megalite.generation.text_model import TextModel
from megalite.jobs.work_folder import work_folder, work_folder_of

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Prompt:
    """A row with its tokens, and the settings with the token limit after them."""

    row: PromptRow
    tokens: list[int]
    settings: GenerationSettings


def tokenized(rows: Sequence[PromptRow], lm: TextModel, settings: GenerationSettings) -> list[Prompt]:
    """The rows with their tokens. Raises: DataError for a row that is too long or that the chat template rejects."""
    prompts = []
    for row in rows:
        tokens = row.tokens(lm.tokenizer)
        prompts.append(Prompt(row, tokens, limit_new_tokens(lm.model, tokens, settings, f"{row.place}: the prompt")))
    return prompts


def answer_file(lm: TextModel, prompts: Sequence[Prompt], output: Path, plan: dict[str, Any], batch_size: int) -> Tally:
    """Write one row per prompt, in order, with ``text``, ``tokens`` and ``finish_reason``.

    Answers are collected in a work folder beside ``output``, which appears only when it is complete. With a draft or
    prompt lookup, prompts are answered one at a time.

    Args:
        plan: everything that determines the answers; a run with another plan starts over.

    Raises: DataError if another run is writing ``output``.
    """
    tally = Tally()
    with work_folder(work_folder_of(output), orjson.dumps(plan).decode()) as work:
        file = work / ANSWERS
        done = len(complete_lines(file))
        batches = list(_batches(prompts[done:], batch_size))
        for batch in track(batches, "answering", disable=not screen().is_terminal):
            seeded = replace(batch[0].settings, seed=_batch_seed(batch[0].settings.seed, done))
            answers = zip(batch, _answers(lm, batch, seeded, tally), strict=True)
            append_lines(
                file, [orjson.dumps(p.row.row | a.row(), option=orjson.OPT_APPEND_NEWLINE) for p, a in answers]
            )
            done += len(batch)
        file.rename(output)
    return tally


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Neighbors with the same token limit, so that padding never exceeds the model's context."""
    batch: list[Prompt] = []
    for prompt in prompts:
        if batch and (len(batch) == size or batch[0].settings != prompt.settings):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def _batch_seed(seed: int | None, first: int) -> int | None:
    """A different seed for each batch, the same after a restart."""
    return None if seed is None else (seed + first) % 2**64


def _answers(lm: TextModel, batch: list[Prompt], settings: GenerationSettings, tally: Tally) -> list[Answer]:
    ends = end_tokens(lm.model)
    answers = [Answer(lm.tokenizer, prompt.tokens, settings, ends) for prompt in batch]
    if lm.proposes(settings) or len(batch) == 1:
        for prompt, answer in zip(batch, answers, strict=True):
            for _ in stream_pieces(lm, prompt.tokens, settings, answer, tally):
                pass
    else:
        _generate_batch(lm, batch, settings, answers, tally)
    return answers


def _generate_batch(
    lm: TextModel, batch: list[Prompt], settings: GenerationSettings, answers: list[Answer], tally: Tally
) -> None:
    """Left padding: all prompts end at the same position."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Collect(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            tally.passes += 1
            for answer, token in zip(answers, input_ids[:, -1].tolist(), strict=True):
                tally.tokens += not answer.over
                answer.add(token)
            return torch.tensor([answer.over for answer in answers], device=input_ids.device)

    width = max(len(prompt.tokens) for prompt in batch)
    ids = (lm.tokenizer.pad_token_id, lm.tokenizer.eos_token_id)
    pad = next((id_ for id_ in ids if id_ is not None), 0)
    rows = [[pad] * (width - len(prompt.tokens)) + prompt.tokens for prompt in batch]
    mask = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in batch]
    if settings.seed is not None:
        torch.manual_seed(settings.seed)
    keep_special_ids_only(lm.model)
    start = time.perf_counter()
    lm.model.generate(
        torch.tensor(rows, device=lm.model.device),
        attention_mask=torch.tensor(mask, device=lm.model.device),
        pad_token_id=pad,
        logits_processor=refuse_nan_scores(),
        stopping_criteria=StoppingCriteriaList([Collect()]),
        **settings.keywords(),
        **cache_keywords(settings.cache, lm.model.config),
    )
    tally.seconds += time.perf_counter() - start
    tally.texts += len(batch)


def plan_of(
    model: str, source: bytes, settings: GenerationSettings, batch_size: int, draft: str | None
) -> dict[str, Any]:
    """Everything that determines the answers of a run."""
    digest = hashlib.sha256(source).hexdigest()
    return {"model": model, "prompts": digest, "batch_size": batch_size, "draft": draft, **asdict(settings)}
