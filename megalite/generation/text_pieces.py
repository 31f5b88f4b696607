"""Converts tokens to text as they come, without partial characters or stop strings."""

from collections.abc import Sequence
from typing import Any

UNFINISHED = "\ufffd"
"""Replacement character, which decoders emit for the incomplete bytes of a character."""
CONTEXT_TOKENS = 8


class TextPieces:
    """The text of a growing list of tokens. The pieces join to the text of all tokens.

    Each new token is decoded together with a few before it, because a decoder may treat the first token differently
    (sentencepiece drops its space).

    Args:
        context: the tokens of the prompt.
        stop: strings that end the text; they are not part of it.
        skip_special_tokens: omit special tokens.
    """

    def __init__(
        self, tokenizer: Any, context: Sequence[int], stop: Sequence[str] = (), skip_special_tokens: bool = False
    ) -> None:
        self.stopped = False
        self._tokenizer, self._stop, self._skip = tokenizer, tuple(stop), skip_special_tokens
        self._ids = list(context[-CONTEXT_TOKENS:])
        self._before, self._known = 0, len(self._ids)
        self._held = ""

    def add(self, token: int) -> str:
        """Add a token. Returns the text to show now, empty while a character or a possible stop string is incomplete."""
        self._ids.append(token)
        text = self._new_text()
        if text.endswith(UNFINISHED):
            return ""
        self._before, self._known = self._known, len(self._ids)
        return self._before_stop(self._held + text)

    @property
    def over(self) -> bool:
        """Whether the text has ended."""
        return self.stopped

    def rest(self) -> str:
        """The text held back, at the end."""
        if self.stopped:
            return ""
        shown = self._before_stop(self._held + self._new_text())
        return shown if self.stopped else shown + self._held

    def _new_text(self) -> str:
        whole, known = self._decode(self._ids[self._before :]), self._decode(self._ids[self._before : self._known])
        return whole[len(known) :]

    def _decode(self, ids: list[int]) -> str:
        return str(self._tokenizer.decode(ids, skip_special_tokens=self._skip, clean_up_tokenization_spaces=False))

    def _before_stop(self, text: str) -> str:
        text, self.stopped = cut_at_stop(text, self._stop)
        longest = 0
        if not self.stopped:
            longest = max((_overlap(text, stop) for stop in self._stop), default=0)
        self._held = text[len(text) - longest :]
        return text[: len(text) - longest]


def cut_at_stop(text: str, stop: Sequence[str]) -> tuple[str, bool]:
    """The text before its first stop string, and whether there is one."""
    places = [place for place in map(text.find, stop) if place >= 0]
    return (text[: min(places)], True) if places else (text, False)


def _overlap(text: str, stop: str) -> int:
    """Length of the longest suffix of ``text`` that is a proper prefix of ``stop``."""
    return next((size for size in range(min(len(stop) - 1, len(text)), 0, -1) if text.endswith(stop[:size])), 0)
