"""Prompts from a file: one JSON object per line with ``prompt`` or ``messages``. Other keys are kept."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from megalite.config.errors import DataError
from megalite.config.text_files import kind_of
from megalite.generation.continuation import conversation_tokens, prompt_tokens

ANSWER_KEYS = ("text", "tokens", "finish_reason")
"""Keys that are added to a row."""


@dataclass(frozen=True)
class PromptRow:
    """One line of the file."""

    place: str
    """``FILE:LINE``."""
    row: dict[str, Any]

    def tokens(self, tokenizer: Any) -> list[int]:
        """Raises: DataError if there is no chat template for ``messages``, or the template rejects them."""
        if "prompt" in self.row:
            return prompt_tokens(tokenizer, self.row["prompt"])
        try:
            return conversation_tokens(tokenizer, self.row["messages"])
        except DataError as error:
            raise DataError(f"{self.place}: {error}") from None


def read_prompts(path: Path) -> list[PromptRow]:
    """All lines except empty ones. Raises: FileNotFoundError; DataError with the line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of prompts")
    rows = []
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).splitlines(), 1):
        if line.strip():
            place = f"{path}:{number}"
            rows.append(PromptRow(place, _checked(place, line)))
    if not rows:
        raise DataError(f'{path}: contains no prompt; write one JSON object per line, for example {{"prompt": "Once"}}')
    return rows


def _checked(place: str, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{place}: not readable as JSON: {error}") from None
    if not isinstance(row, dict) or ("prompt" in row) == ("messages" in row):
        raise DataError(f"{place}: give a JSON object with either 'prompt' or 'messages'")
    if "prompt" in row and not isinstance(row["prompt"], str):
        raise DataError(f"{place}: 'prompt' is {kind_of(row['prompt'])}, not text")
    if "messages" in row:
        _check_messages(place, row["messages"])
    if reserved := [key for key in ANSWER_KEYS if key in row]:
        raise DataError(f"{place}: has a key '{reserved[0]}', which the answer would overwrite; rename it")
    return row


def _check_messages(place: str, messages: Any) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise DataError(f"{place}: 'messages' must be a list with at least one message")
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise DataError(f"{place}: a message needs 'role' and 'content', both strings")
