"""One text, piece by piece: a continuation, or the reply in a conversation."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from megalite.config.errors import DataError
from megalite.generation.piece_stream import Tally, stream_pieces
from megalite.generation.settings import GenerationSettings
from megalite.generation.text_pieces import TextPieces
from megalite.huggingface.load import start_of_text
from megalite.tokenizer.chat_text import chat_text, require_template, text_ids

Message = dict[str, str]
"""``{"role": "user", "content": "..."}``."""


def stream_reply(
    model: Any,
    tokenizer: Any,
    messages: Sequence[Message],
    settings: GenerationSettings,
    draft: Any | None = None,
    tally: Tally | None = None,
) -> Generator[str, None, None]:
    """The assistant's next turn in pieces as they are made; joined they are the reply, without its end mark.

    The checks are made when called, the work when iterated. Closing the iterator ends the work.

    Args:
        model: as of ``huggingface.load.load_model``, as the tokenizer.
        messages: the conversation so far, the user's turn last.
        draft, tally: as in ``stream_pieces``.

    Raises: DataError where the tokenizer has no chat template, the template refuses the messages, or the conversation
    fills all that the model sees.
    """
    prompt = conversation_tokens(tokenizer, messages)
    settings = with_room(model, prompt, settings, "the conversation")
    text = TextPieces(tokenizer, prompt, settings.stop, skip_special_tokens=True)
    return stream_pieces(model, prompt, settings, text, draft, tally)


def stream_continuation(
    model: Any,
    tokenizer: Any,
    prompt: Sequence[int],
    settings: GenerationSettings,
    draft: Any | None = None,
    tally: Tally | None = None,
) -> Generator[str, None, None]:
    """What follows the prompt's tokens, in pieces; special tokens are shown. Otherwise as ``stream_reply``.

    Raises: DataError where the prompt fills all that the model sees.
    """
    settings = with_room(model, prompt, settings, "the prompt")
    text = TextPieces(tokenizer, prompt, settings.stop)
    return stream_pieces(model, prompt, settings, text, draft, tally)


def prompt_tokens(tokenizer: Any, prompt: str) -> list[int]:
    """The prompt as the tokenizer has it, what it spells as text; an empty one is the beginning of a document.

    Raises: DataError.
    """
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"the prompt is not UTF-8 text ({error.reason} at character {error.start})") from None
    return text_ids(tokenizer, prompt, add_special_tokens=True) or [start_of_text(tokenizer)]


def conversation_tokens(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The conversation by the chat template, up to where the assistant begins to speak.

    A special token that a message spells is text: nobody can type a turn. Raises: DataError.
    """
    try:
        return chat_text(tokenizer, require_template(tokenizer)).ids(messages, add_generation_prompt=True)
    except ValueError as error:
        raise DataError(f"{tokenizer.name_or_path}: {error}") from None


def with_room(model: Any, prompt: Sequence[int], settings: GenerationSettings, what: str) -> GenerationSettings:
    """The settings with no more new tokens than the model sees beside the prompt. Raises: DataError for none at all."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None:
        return settings
    if len(prompt) >= longest:
        raise DataError(f"{what} has {len(prompt):,} tokens, and the model sees {longest:,}: shorten it")
    return replace(settings, max_new_tokens=min(settings.max_new_tokens, longest - len(prompt)))
