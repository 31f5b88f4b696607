"""The text of one of many prompts: it ends by itself, whatever the others do."""

from collections.abc import Sequence
from typing import Any

from megalite.generation.settings import GenerationSettings
from megalite.generation.text_pieces import TextPieces


class Answer(TextPieces):
    """A text that also knows the end tokens and its room, and keeps what was shown.

    Args:
        settings: with ``max_new_tokens`` as far as there is room after this prompt.
        end_tokens: ids after which the model has no more to say.
    """

    def __init__(
        self, tokenizer: Any, prompt: Sequence[int], settings: GenerationSettings, end_tokens: frozenset[int]
    ) -> None:
        super().__init__(tokenizer, prompt, settings.stop, skip_special_tokens=True)
        self.tokens = 0
        self.finish_reason = ""
        """``stop`` after an end token or a stop string, ``length`` after ``max_new_tokens``."""
        self._shown = ""
        self._end_tokens, self._room = end_tokens, settings.max_new_tokens

    @property
    def over(self) -> bool:
        """Whether no more tokens are wanted."""
        return bool(self.finish_reason)

    def add(self, token: int) -> str:
        """Take the next token; after the end it is ignored."""
        if self.over:
            return ""
        piece = super().add(token)
        self._shown += piece
        self.tokens += 1
        if self.stopped or token in self._end_tokens:
            self.finish_reason = "stop"
        elif self.tokens == self._room:
            self.finish_reason = "length"
        return piece

    def row(self) -> dict[str, Any]:
        """What is written beside the prompt."""
        return {"text": self._shown + self.rest(), "tokens": self.tokens, "finish_reason": self.finish_reason}


def end_tokens(model: Any) -> frozenset[int]:
    """The ids after which the model has no more to say."""
    ids = model.generation_config.eos_token_id
    return frozenset([ids] if isinstance(ids, int) else ids or [])
