"""Encode conversations as token ids and labels: only the assistant's content and its stop token carry loss.

If the chat template has ``{% generation %}`` marks, they delimit the assistant's turns. Otherwise a turn starts where the
preceding conversation ends when it is rendered with the generation prompt, and ends with the stop token after its content.
"""

import re
from dataclasses import dataclass
from typing import Any

from megalite.config.errors import DataError
from megalite.config.labels import IGNORE
from megalite.posttraining.rows.chat import Conversation
from megalite.tokenizer.chat_text import ChatText

_PROBE = ("Xq1zjk", "Xq2zjk")


@dataclass(frozen=True)
class EncodedChat:
    """One tokenized conversation."""

    ids: list[int]
    labels: list[int]
    """``ids`` at tokens with loss, ``IGNORE`` elsewhere."""
    text: str
    offsets: list[tuple[int, int]]
    """Start and end of each token in ``text``."""
    spelled: int = 0
    """Number of special tokens written in messages."""


class ChatEncoder:
    """Renders, tokenizes and masks conversations with one tokenizer and one chat template.

    A special token written in a message is encoded as text: it can neither open nor end a turn.

    Args:
        source: names the model in errors.
        template: Jinja text; None uses the tokenizer's chat template.

    Raises: DataError if there is no usable template.
    """

    def __init__(
        self, tokenizer: Any, source: str, template: str | None = None, parse_special_tokens: bool = False
    ) -> None:
        self.tokenizer, self.source = tokenizer, source
        self.template = template if template is not None else tokenizer.chat_template
        if not isinstance(self.template, str):
            raise DataError(f"{source}: the tokenizer has no chat template; name a Jinja file in data.chat_template")
        if not tokenizer.is_fast:
            raise DataError(
                f"{source}: the tokenizer has no tokenizer.json, which is needed to locate tokens in the text"
            )
        self.chat = ChatText(tokenizer, self.template, parse_special_tokens)
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= {tokenizer.eos_token} - {None}
        self._special = re.compile(r"\s*(" + "|".join(map(re.escape, sorted(special, key=len, reverse=True))) + ")")
        self.stop_token = self._stop_token()

    @property
    def stop_id(self) -> int:
        """The id of the token that ends an assistant turn."""
        return int(self.tokenizer.convert_tokens_to_ids(self.stop_token))

    def render(self, turns: Conversation, add_generation_prompt: bool = False) -> str:
        """The text of ``turns``. Raises: ValueError if the template fails."""
        return self.chat.render(turns, add_generation_prompt).text

    def encode(self, turns: Conversation) -> EncodedChat:
        """Ids and labels of a conversation. Raises: ValueError with the reason if the template drops or changes a turn."""
        rendered = self.chat.render(turns)
        ids, offsets = self.chat.encode(rendered)
        spans = list(rendered.spans)
        if not self.chat.has_marks:
            spans = [
                self.assistant_span(rendered.text, turns, number)
                for number, turn in enumerate(turns)
                if turn["role"] == "assistant"
            ]
        labels = [token if flag else IGNORE for token, flag in zip(ids, _inside(offsets, spans), strict=True)]
        return EncodedChat(ids, labels, rendered.text, offsets, rendered.spelled)

    def assistant_span(self, text: str, turns: Conversation, number: int) -> tuple[int, int]:
        """Start and end of turn ``number`` in ``text``, from the end of its generation prompt through its stop token.

        Raises: ValueError if the template drops the turn or writes no stop token after it.
        """
        head = self.render(turns[:number], add_generation_prompt=True)
        if not text.startswith(head):
            raise ValueError(
                f"the chat template renders the turns before turn {number} differently when later turns follow, so the "
                f"model would be trained on another prompt than it gets at inference"
            )
        content = turns[number]["content"].strip()
        at = text.find(content, len(head))
        if at < 0:
            raise ValueError(f"the chat template drops turn {number}: its content is not in the text")
        stop = self._special.match(text, at + len(content))
        if stop is None or stop[1] != self.stop_token:
            raise ValueError(f"the chat template writes no {self.stop_token} after turn {number}")
        return len(head), stop.end()

    def _stop_token(self) -> str:
        """The special token that the template writes after an assistant's content. Raises: DataError if there is none."""
        turns = [
            {"role": role, "content": content} for role, content in zip(("user", "assistant"), _PROBE, strict=True)
        ]
        try:
            text = self.render(turns)
        except ValueError as error:
            raise DataError(f"{self.source}: {error}") from None
        at = text.find(_PROBE[1])
        stop = self._special.match(text, at + len(_PROBE[1])) if at >= 0 else None
        if at < 0 or _PROBE[0] not in text[:at]:
            raise DataError(
                f"{self.source}: the chat template drops turns: a question with its answer is rendered without one of them"
            )
        if stop is None:
            raise DataError(
                f"{self.source}: the chat template writes no stop token (a special token of the tokenizer) after the "
                f"assistant's turn, so the model would never learn to stop; fix the template or give another in "
                f"data.chat_template"
            )
        return stop[1]


def _inside(offsets: list[tuple[int, int]], spans: list[tuple[int, int]]) -> list[bool]:
    """Which tokens start inside a span. A token that starts before it belongs to the prompt, as at inference."""
    flags, number = [], 0
    for start, _ in offsets:
        while number < len(spans) and start >= spans[number][1]:
            number += 1
        flags.append(number < len(spans) and start >= spans[number][0])
    return flags
