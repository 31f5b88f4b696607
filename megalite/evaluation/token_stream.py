"""Tokens of one text as transformers makes them, and the count of what was proposed and accepted."""

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from megalite.evaluation.generation_settings import GenerationSettings
from megalite.evaluation.kv_cache import cache_keywords


@dataclass
class Tally:
    """Counts of one or several texts. A *pass* is one forward call of the model itself, not of its draft."""

    texts: int = 0
    tokens: int = 0
    passes: int = 0
    proposed: int = 0
    """Tokens that a draft or the prompt look-up proposed, and the model judged."""
    accepted: int = 0
    """Proposed tokens that stand in the text."""
    seconds: float = 0.0


def stream_tokens(
    model: Any,
    prompt: Sequence[int],
    settings: GenerationSettings,
    draft: Any | None = None,
    tally: Tally | None = None,
) -> Iterator[list[int]]:
    """The new tokens, a list for each pass of the model, while it goes on in a thread of its own.

    Closing the iterator ends the work after the pass it is in. What the thread raises is raised here.

    Args:
        draft: a smaller model of the same vocabulary whose proposals are judged (Leviathan et al. 2023, arXiv:2211.17192).
        tally: is added to.
    """
    import torch

    tally = tally if tally is not None else Tally()
    passed: SimpleQueue[list[int] | BaseException | None] = SimpleQueue()
    abandoned = threading.Event()

    def work() -> None:
        try:
            began = time.perf_counter()
            _generate(model, prompt, settings, draft, tally, passed, abandoned)
            tally.seconds += time.perf_counter() - began
            passed.put(None)
        except BaseException as error:
            passed.put(error)

    if settings.seed is not None:
        torch.manual_seed(settings.seed)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := passed.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        abandoned.set()
        thread.join()


def _generate(
    model: Any,
    prompt: Sequence[int],
    settings: GenerationSettings,
    draft: Any | None,
    tally: Tally,
    passed: "SimpleQueue[list[int] | BaseException | None]",
    abandoned: threading.Event,
) -> None:
    import torch
    from transformers import StoppingCriteriaList
    from transformers.generation import BaseStreamer, StoppingCriteria

    class Passes(BaseStreamer):
        """Gets the prompt first, then the tokens of each pass."""

        began = False

        def put(self, value: torch.Tensor) -> None:
            if self.began:
                tokens = value.flatten().tolist()
                tally.tokens += len(tokens)
                tally.passes += 1
                tally.accepted += len(tokens) - 1
                passed.put(tokens)
            self.began = True

        def end(self) -> None:
            pass

    class Abandoned(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            return torch.full((input_ids.shape[0],), abandoned.is_set(), device=input_ids.device)

    proposals: dict[str, Any] = {}
    if draft is not None:
        proposals = {"assistant_model": draft}
    elif settings.prompt_lookup:
        proposals = {"prompt_lookup_num_tokens": settings.prompt_lookup}
    inputs = torch.tensor([list(prompt)], device=model.device)
    judges = (
        model.register_forward_pre_hook(_count_proposals(tally, len(prompt)), with_kwargs=True) if proposals else None
    )
    try:
        model.generate(
            inputs,
            attention_mask=torch.ones_like(inputs),
            streamer=Passes(),
            stopping_criteria=StoppingCriteriaList([Abandoned()]),
            **settings.keywords(),
            **cache_keywords(settings.cache, model.config),
            **proposals,
        )
    finally:
        if judges is not None:
            judges.remove()
    tally.texts += 1


def _count_proposals(tally: Tally, prompt_tokens: int) -> Any:
    """A hook on the model's forward call: what it is given beside the prompt, or beside the last token, is proposed."""
    given_already = [prompt_tokens]

    def count(module: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        tally.proposed += keywords["input_ids"].shape[1] - given_already[0]
        given_already[0] = 1

    return count
