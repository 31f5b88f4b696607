"""One text, piece by piece: a continuation, or the reply in a conversation."""

from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Any

from megalite.config.errors import DataError
from megalite.generation.piece_stream import Tally, stream_pieces
from megalite.generation.settings import GenerationSettings
from megalite.generation.text_pieces import TextPieces
from megalite.huggingface.load import start_of_text

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
        model: as of ``hf_folder.load_model``, as the tokenizer.
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
    """The prompt as the tokenizer has it; an empty one is the beginning of a document."""
    return list(tokenizer(prompt)["input_ids"]) or [start_of_text(tokenizer)]


def conversation_tokens(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """The conversation by the chat template, up to where the assistant begins to speak. Raises: DataError."""
    require_chat_template(tokenizer)
    import jinja2

    try:
        text = tokenizer.apply_chat_template(list(messages), add_generation_prompt=True, tokenize=False)
    except jinja2.TemplateError as error:
        raise DataError(f"{tokenizer.name_or_path}: its chat template refuses the conversation: {error}") from None
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def require_chat_template(tokenizer: Any) -> None:
    """Raises: DataError where the tokenizer has none."""
    if not getattr(tokenizer, "chat_template", None):
        raise DataError(
            f"{tokenizer.name_or_path}: its tokenizer has no chat template; fine-tune it on conversations first, or "
            "continue a prompt without chat"
        )


def with_room(model: Any, prompt: Sequence[int], settings: GenerationSettings, what: str) -> GenerationSettings:
    """The settings with no more new tokens than the model sees beside the prompt. Raises: DataError for none at all."""
    longest = getattr(model.config, "max_position_embeddings", None)
    if longest is None:
        return settings
    if len(prompt) >= longest:
        raise DataError(f"{what} has {len(prompt):,} tokens, and the model sees {longest:,}: shorten it")
    return replace(settings, max_new_tokens=min(settings.max_new_tokens, longest - len(prompt)))
