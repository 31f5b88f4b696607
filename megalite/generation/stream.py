"""Generates one text with transformers in a thread, piece by piece, and counts proposed and accepted tokens."""

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any

from megalite.generation.kv_cache import cache_keywords
from megalite.generation.settings import GenerationSettings, keep_special_ids_only, refuse_nan_scores
from megalite.generation.text_model import TextModel
from megalite.generation.text_pieces import TextPieces


@dataclass
class Tally:
    """Counts over one or several texts."""

    texts: int = 0
    tokens: int = 0
    passes: int = 0
    """Forward passes of the model itself, not of its draft."""
    proposed: int = 0
    """Tokens proposed by a draft or by prompt lookup."""
    accepted: int = 0
    """Proposed tokens that became part of the text."""
    seconds: float = 0.0


@dataclass(frozen=True)
class _Stream:
    """What the generating thread and its reader share."""

    text: TextPieces
    tally: Tally
    pieces: SimpleQueue[str | BaseException | None] = field(default_factory=SimpleQueue)
    """Text, then None at the end, or an exception."""
    abandoned: threading.Event = field(default_factory=threading.Event)


def stream_pieces(
    lm: TextModel, prompt: Sequence[int], settings: GenerationSettings, text: TextPieces, tally: Tally | None = None
) -> Generator[str, None, None]:
    """What the model adds to ``text``, as it is generated. ``tally`` is added to.

    Closing the iterator ends the work after the current forward pass. Exceptions of the thread are raised here.
    """
    import torch

    stream = _Stream(text, tally if tally is not None else Tally())

    def work() -> None:
        try:
            start = time.perf_counter()
            _generate(lm, prompt, settings, stream)
            stream.tally.seconds += time.perf_counter() - start
            stream.tally.texts += 1
            stream.pieces.put(text.rest())
            stream.pieces.put(None)
        except BaseException as error:
            stream.pieces.put(error)

    if settings.seed is not None:
        torch.manual_seed(settings.seed)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (piece := stream.pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            if piece:
                yield piece
    finally:
        stream.abandoned.set()
        thread.join()


def _generate(lm: TextModel, prompt: Sequence[int], settings: GenerationSettings, stream: _Stream) -> None:
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList
    from transformers.generation.streamers import BaseStreamer

    tally, text = stream.tally, stream.text

    class Passes(BaseStreamer):
        """Receives the prompt first, then the tokens of each forward pass."""

        started = False

        def put(self, value: torch.Tensor) -> None:
            if self.started:
                tally.passes += 1
                for place, token in enumerate(value.flatten().tolist()):
                    if not text.over:
                        tally.tokens += 1
                        tally.accepted += place > 0
                        stream.pieces.put(text.add(token))
            self.started = True

        def end(self) -> None:
            pass

    class Over(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            over = stream.abandoned.is_set() or text.over
            return torch.full((input_ids.shape[0],), over, device=input_ids.device)

    proposals: dict[str, Any] = {}
    if lm.draft is not None:
        proposals = {"assistant_model": lm.draft}
    elif settings.prompt_lookup:
        proposals = {"prompt_lookup_num_tokens": settings.prompt_lookup}
    hook = None
    if proposals:
        hook = lm.model.register_forward_pre_hook(_count_proposals(tally, len(prompt)), with_kwargs=True)
    inputs = torch.tensor([list(prompt)], device=lm.model.device)
    keep_special_ids_only(lm.model)
    try:
        lm.model.generate(
            inputs,
            logits_processor=refuse_nan_scores(),
            attention_mask=torch.ones_like(inputs),
            streamer=Passes(),
            stopping_criteria=StoppingCriteriaList([Over()]),
            **settings.keywords(),
            **cache_keywords(settings.cache, lm.model.config),
            **proposals,
        )
    finally:
        if hook is not None:
            hook.remove()


def _count_proposals(tally: Tally, prompt_tokens: int) -> Any:
    """A forward pre-hook. Inputs beyond the prompt, and later beyond the last token, are proposed tokens."""
    known = [prompt_tokens]

    def count(module: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        tally.proposed += keywords["input_ids"].shape[1] - known[0]
        known[0] = 1

    return count
