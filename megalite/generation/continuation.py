"""One text, streamed: the continuation of a prompt, or the reply in a conversation."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from megalite.config.errors import DataError
from megalite.generation.settings import GenerationSettings
from megalite.generation.stream import Tally, stream_pieces
from megalite.generation.text_model import TextModel
from megalite.generation.text_pieces import TextPieces
from megalite.huggingface.load import start_of_text
from megalite.tokenizer.chat_text import chat_text, require_template, text_ids

Message = dict[str, str]
"""``{"role": "user", "content": "..."}``."""


def stream_reply(
    lm: TextModel, messages: Sequence[Message], settings: GenerationSettings, tally: Tally | None = None
) -> Generator[str, None, None]:
    """The assistant's next turn in pieces, without its end token. ``messages`` ends with the user's turn.

    The checks run on the call, the work on iteration. Closing the iterator ends the work.

    Raises: DataError if the tokenizer has no chat template, the template rejects the messages, or the conversation fills
    the model's context.
    """
    prompt = conversation_tokens(lm.tokenizer, messages)
    settings = limit_new_tokens(lm.model, prompt, settings, "the conversation")
    text = TextPieces(lm.tokenizer, prompt, settings.stop, skip_special_tokens=True)
    return stream_pieces(lm, prompt, settings, text, tally)


def stream_continuation(
    lm: TextModel, prompt: Sequence[int], settings: GenerationSettings, tally: Tally | None = None
) -> Generator[str, None, None]:
    """What follows the prompt's tokens, in pieces, with special tokens. Otherwise like ``stream_reply``.

    Raises: DataError if the prompt fills the model's context.
    """
    settings = limit_new_tokens(lm.model, prompt, settings, "the prompt")
    return stream_pieces(lm, prompt, settings, TextPieces(lm.tokenizer, prompt, settings.stop), tally)


def prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """The prompt's tokens. Special tokens that it spells out are text; an empty prompt is the start of a document.

    Raises: DataError.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the prompt is not UTF-8 text ({error.reason} at character {error.start})") from None
    return text_ids(tokenizer, prompt, add_special_tokens=True) or [start_of_text(tokenizer)]


def conversation_tokens(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The conversation in the chat template, up to the start of the assistant's turn.

    Special tokens that a message spells out are text, so a user cannot type a turn. Raises: DataError.
    """
    try:
        return chat_text(tokenizer, require_template(tokenizer)).ids(messages, add_generation_prompt=True)
    except ValueError as error:
        raise DataError(f"{tokenizer.name_or_path}: {error}") from None


def limit_new_tokens(model: Any, prompt: Sequence[int], settings: GenerationSettings, what: str) -> GenerationSettings:
    """The settings with ``max_new_tokens`` limited to the model's context after the prompt. Raises: DataError if full."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None:
        return settings
    if len(prompt) >= longest:
        raise DataError(f"{what} has {len(prompt):,} tokens, but the model's context is {longest:,}; shorten it")
    return replace(settings, max_new_tokens=min(settings.max_new_tokens, longest - len(prompt)))
