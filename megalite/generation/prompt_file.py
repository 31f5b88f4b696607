"""Prompts from a file: one JSON object a line, ``{"prompt": ...}`` or ``{"messages": [...]}``, other keys kept."""

from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from megalite.config.errors import DataError
from megalite.config.text_files import kind_of
from megalite.generation.continuation import conversation_tokens, prompt_tokens

WRITTEN = ("text", "tokens", "finish_reason")
"""The keys that an answered row gets."""


@dataclass(frozen=True)
class PromptRow:
    """One line of the file."""

    where: str
    """``FILE:LINE``."""
    row: dict[str, Any]

    def tokens(self, tokenizer: Any) -> list[int]:
        """Raises: DataError where the tokenizer has no chat template, or the template refuses the messages."""
        if "prompt" in self.row:
            return prompt_tokens(tokenizer, self.row["prompt"])
        try:
            return conversation_tokens(tokenizer, self.row["messages"])
        except DataError as error:
            raise DataError(f"{self.where}: {error}") from None


def read_prompts(path: Path) -> list[PromptRow]:
    """All lines; empty ones are skipped. Raises: FileNotFoundError, DataError that names the line."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file of prompts")
    rows = []
    for number, line in enumerate(path.read_bytes().removeprefix(BOM_UTF8).splitlines(), 1):
        if line.strip():
            where = f"{path}:{number}"
            rows.append(PromptRow(where, _checked(where, line)))
    if not rows:
        raise DataError(f'{path}: holds no prompt; write one JSON object a line, for example {{"prompt": "Once"}}')
    return rows


def _checked(where: str, line: bytes) -> dict[str, Any]:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(f"{where}: not readable as JSON: {error}") from None
    if not isinstance(row, dict) or ("prompt" in row) == ("messages" in row):
        raise DataError(f"{where}: needs a JSON object with either 'prompt' or 'messages'")
    if "prompt" in row and not isinstance(row["prompt"], str):
        raise DataError(f"{where}: 'prompt' is {kind_of(row['prompt'])}, not text")
    if "messages" in row:
        _check_messages(where, row["messages"])
    if taken := [key for key in WRITTEN if key in row]:
        raise DataError(f"{where}: has a key '{taken[0]}', which the answer would replace; rename it")
    return row


def _check_messages(where: str, messages: Any) -> None:
    if not isinstance(messages, Sequence) or isinstance(messages, str) or not messages:
        raise DataError(f"{where}: 'messages' must be a list with at least one message")
    for message in messages:
        if not isinstance(message, dict) or not all(isinstance(message.get(key), str) for key in ("role", "content")):
            raise DataError(f"{where}: a message needs 'role' and 'content', both strings")
