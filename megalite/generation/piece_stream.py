"""One text as transformers makes it, piece by piece, and the count of what was proposed and accepted."""

import threading
import time
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from megalite.generation.kv_cache import cache_keywords
from megalite.generation.settings import GenerationSettings, sound_scores, use_own_tokens_only
from megalite.generation.text_pieces import TextPieces

Pieces = SimpleQueue[str | BaseException | None]


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


def stream_pieces(
    model: Any,
    prompt: Sequence[int],
    settings: GenerationSettings,
    text: TextPieces,
    draft: Any | None = None,
    tally: Tally | None = None,
) -> Generator[str, None, None]:
    """What the model adds to ``text``, while it goes on in a thread of its own.

    Closing the iterator ends the work after the pass it is in. What the thread raises is raised here.

    Args:
        draft: a smaller model of the same vocabulary whose proposals are judged (Leviathan et al. 2023, arXiv:2211.17192).
        tally: is added to.
    """
    import torch

    tally = tally if tally is not None else Tally()
    pieces: Pieces = SimpleQueue()
    abandoned = threading.Event()

    def work() -> None:
        try:
            began = time.perf_counter()
            _generate(model, prompt, settings, text, draft, tally, pieces, abandoned)
            tally.seconds += time.perf_counter() - began
            tally.texts += 1
            pieces.put(text.rest())
            pieces.put(None)
        except BaseException as error:
            pieces.put(error)

    if settings.seed is not None:
        torch.manual_seed(settings.seed)
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, BaseException):
                raise piece
            if piece:
                yield piece
    finally:
        abandoned.set()
        thread.join()


def _generate(
    model: Any,
    prompt: Sequence[int],
    settings: GenerationSettings,
    text: TextPieces,
    draft: Any | None,
    tally: Tally,
    pieces: Pieces,
    abandoned: threading.Event,
) -> None:
    import torch
    from transformers import StoppingCriteria, StoppingCriteriaList
    from transformers.generation.streamers import BaseStreamer

    class Passes(BaseStreamer):
        """Gets the prompt first, then the tokens of each pass."""

        began = False

        def put(self, value: torch.Tensor) -> None:
            if self.began:
                tally.passes += 1
                for place, token in enumerate(value.flatten().tolist()):
                    if not text.over:
                        tally.tokens += 1
                        tally.accepted += place > 0
                        pieces.put(text.add(token))
            self.began = True

        def end(self) -> None:
            pass

    class Over(StoppingCriteria):
        def __call__(self, input_ids: torch.Tensor, scores: Any, **more: Any) -> torch.Tensor:
            over = abandoned.is_set() or text.over
            return torch.full((input_ids.shape[0],), over, device=input_ids.device)

    proposals: dict[str, Any] = {}
    if draft is not None:
        proposals = {"assistant_model": draft}
    elif settings.prompt_lookup:
        proposals = {"prompt_lookup_num_tokens": settings.prompt_lookup}
    inputs = torch.tensor([list(prompt)], device=model.device)
    judged = (
        model.register_forward_pre_hook(_count_proposals(tally, len(prompt)), with_kwargs=True) if proposals else None
    )
    use_own_tokens_only(model)
    try:
        model.generate(
            inputs,
            logits_processor=sound_scores(),
            attention_mask=torch.ones_like(inputs),
            streamer=Passes(),
            stopping_criteria=StoppingCriteriaList([Over()]),
            **settings.keywords(),
            **cache_keywords(settings.cache, model.config),
            **proposals,
        )
    finally:
        if judged is not None:
            judged.remove()


def _count_proposals(tally: Tally, prompt_tokens: int) -> Any:
    """A hook on the model's forward call: what it is given beside the prompt, or beside the last token, is proposed."""
    known = [prompt_tokens]

    def count(module: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        tally.proposed += keywords["input_ids"].shape[1] - known[0]
        known[0] = 1

    return count
