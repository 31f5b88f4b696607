"""The text of one prompt in a batch, which ends independently of the others."""

from collections.abc import Sequence
from typing import Any

from megalite.generation.settings import GenerationSettings
from megalite.generation.text_pieces import TextPieces


class Answer(TextPieces):
    """A text that also ends at an end token or at its token limit, and keeps what was shown.

    Args:
        settings: with ``max_new_tokens`` limited to the context after this prompt.
        end_tokens: ids that end the text.
    """

    def __init__(
        self, tokenizer: Any, prompt: Sequence[int], settings: GenerationSettings, end_tokens: frozenset[int]
    ) -> None:
        super().__init__(tokenizer, prompt, settings.stop, skip_special_tokens=True)
        self.tokens = 0
        self.finish_reason = ""
        """``stop`` after an end token or a stop string, ``length`` after ``max_new_tokens``."""
        self._shown = ""
        self._end_tokens, self._most_tokens = end_tokens, settings.max_new_tokens

    @property
    def over(self) -> bool:
        return bool(self.finish_reason)

    def add(self, token: int) -> str:
        """Add the next token; ignored after the end."""
        if self.over:
            return ""
        piece = super().add(token)
        self._shown += piece
        self.tokens += 1
        if self.stopped or token in self._end_tokens:
            self.finish_reason = "stop"
        elif self.tokens == self._most_tokens:
            self.finish_reason = "length"
        return piece

    def row(self) -> dict[str, Any]:
        """The keys added to the prompt's row."""
        return {"text": self._shown + self.rest(), "tokens": self.tokens, "finish_reason": self.finish_reason}


def end_tokens(model: Any) -> frozenset[int]:
    """The ids that end a text."""
    ids = model.generation_config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or [])
