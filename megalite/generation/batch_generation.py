"""Many prompts, several at once, answered in their order; a killed run goes on with the first prompt without an answer."""

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from rich.progress import track

from megalite.config.screen import screen
from megalite.generation.answer import Answer, end_tokens
from megalite.generation.continuation import with_room
from megalite.generation.kv_cache import cache_keywords
from megalite.generation.piece_stream import Tally, stream_pieces
from megalite.generation.prompt_file import PromptRow
from megalite.generation.settings import GenerationSettings, sound_scores, use_own_tokens_only
from megalite.jobs.work_folder import work_folder, work_folder_of

ANSWERS = "answers.jsonl"


@dataclass(frozen=True)
class Prompt:
    """A row with its tokens, and the settings with the room that there is after them."""

    row: PromptRow
    tokens: list[int]
    settings: GenerationSettings


def tokenized(rows: Sequence[PromptRow], model: Any, tokenizer: Any, settings: GenerationSettings) -> list[Prompt]:
    """Every row's tokens. Raises: DataError for a row that leaves no room, or that the chat template refuses."""
    prompts = []
    for row in rows:
        tokens = row.tokens(tokenizer)
        prompts.append(Prompt(row, tokens, with_room(model, tokens, settings, f"{row.where}: the prompt")))
    return prompts


def answer_file(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    output: Path,
    plan: dict[str, Any],
    batch_size: int,
    draft: Any | None,
) -> Tally:
    """Write a row for every prompt, in their order, with ``text``, ``tokens`` and ``finish_reason``.

    ``output`` has its name when it is whole. Until then the answers are in a work folder beside it.

    Args:
        plan: what decides the answers; a run of another plan begins anew.
        draft: then prompts are answered one at a time, as with the prompt look-up.

    Raises: DataError where another run is at work on ``output``.
    """
    tally = Tally()
    with work_folder(work_folder_of(output), orjson.dumps(plan).decode()) as work:
        file = work / ANSWERS
        done = _whole_lines(file)
        batches = list(_batches(prompts[done:], batch_size))
        with file.open("ab") as answers:
            for batch in track(batches, "answering", disable=not screen().is_terminal):
                seeded = replace(batch[0].settings, seed=_seed_of(batch[0].settings.seed, done))
                for prompt, answer in zip(batch, _answers(model, tokenizer, batch, seeded, draft, tally), strict=True):
                    answers.write(orjson.dumps(prompt.row.row | answer.row(), option=orjson.OPT_APPEND_NEWLINE))
                answers.flush()
                os.fsync(answers.fileno())
                done += len(batch)
        file.rename(output)
    return tally


def _whole_lines(file: Path) -> int:
    """Number of answers of a run that was killed; a line that it could not finish is cut off."""
    content = file.read_bytes() if file.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if whole != content:
        file.write_bytes(whole)
    return whole.count(b"\n")


def _batches(prompts: Sequence[Prompt], size: int) -> Iterator[list[Prompt]]:
    """Neighbours with the same room: so no position of a finished row is beyond what the model sees."""
    batch: list[Prompt] = []
    for prompt in prompts:
        if batch and (len(batch) == size or batch[0].settings != prompt.settings):
            yield batch
            batch = []
        batch.append(prompt)
    if batch:
        yield batch


def _seed_of(seed: int | None, first: int) -> int | None:
    """Another one for each batch, the same after a restart."""
    return None if seed is None else (seed + first) % 2**64


def _answers(
    model: Any, tokenizer: Any, batch: list[Prompt], settings: GenerationSettings, draft: Any | None, tally: Tally
) -> list[Answer]:
    ends = end_tokens(model)
    answers = [Answer(tokenizer, prompt.tokens, settings, ends) for prompt in batch]
    if draft is not None or settings.prompt_lookup or len(batch) == 1:
        for prompt, answer in zip(batch, answers, strict=True):
            for _ in stream_pieces(model, prompt.tokens, settings, answer, draft, tally):
                pass
    else:
        _generate_together(model, tokenizer, batch, settings, answers, tally)
    return answers


def _generate_together(
    model: Any, tokenizer: Any, batch: list[Prompt], settings: GenerationSettings, answers: list[Answer], tally: Tally
) -> None:
    """Left padding: every prompt ends where the new tokens begin."""
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList

    class Taken(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            tally.passes += 1
            for answer, token in zip(answers, input_ids[:, -1].tolist(), strict=True):
                tally.tokens += not answer.over
                answer.add(token)
            return torch.tensor([answer.over for answer in answers], device=input_ids.device)

    width = max(len(prompt.tokens) for prompt in batch)
    pad = next((id_ for id_ in (tokenizer.pad_token_id, tokenizer.eos_token_id) if id_ is not None), 0)
    rows = [[pad] * (width - len(prompt.tokens)) + prompt.tokens for prompt in batch]
    real = [[0] * (width - len(prompt.tokens)) + [1] * len(prompt.tokens) for prompt in batch]
    if settings.seed is not None:
        torch.manual_seed(settings.seed)
    use_own_tokens_only(model)
    began = time.perf_counter()
    model.generate(
        torch.tensor(rows, device=model.device),
        attention_mask=torch.tensor(real, device=model.device),
        pad_token_id=pad,
        logits_processor=sound_scores(),
        stopping_criteria=StoppingCriteriaList([Taken()]),
        **settings.keywords(),
        **cache_keywords(settings.cache, model.config),
    )
    tally.seconds += time.perf_counter() - began
    tally.texts += len(batch)


def plan_of(
    model: str, source: bytes, settings: GenerationSettings, batch_size: int, draft: str | None
) -> dict[str, Any]:
    """What decides the answers of a run."""
    import hashlib

    digest = hashlib.sha256(source).hexdigest()
    return {"model": model, "prompts": digest, "batch_size": batch_size, "draft": draft, **asdict(settings)}
