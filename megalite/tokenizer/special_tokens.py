"""The special tokens of our tokenizers, their ids, and the chat template that uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

from megalite.config.errors import ConfigError

PAD, END_OF_TEXT, TURN_START, TURN_END = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
NAMED = (PAD, END_OF_TEXT, TURN_START, TURN_END)
"""Ids 0 to 3. The end-of-text token separates documents, and is both bos and eos. Byte-level BPE needs no unknown token."""
UNKNOWN = "<|unk|>"
LONGEST, MOST_NAMED = 256, 4096
"""Maximum number of characters in a special token, and of special tokens without the reserved ones."""
CHAT_TOKENS = (f"turn_start={TURN_START}", f"turn_end={TURN_END}")

CHAT_TEMPLATE = """\
{%- for message in messages %}
{{- '<|im_start|>' + message['role'] + '\\n' }}
{%- if message['role'] == 'assistant' %}
{%- generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}
{%- else %}
{{- message['content'] + '<|im_end|>' }}
{%- endif %}
{{- '\\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""
"""ChatML. The ``generation`` marks delimit the assistant's tokens, including the end of the turn."""


def special_tokens(reserved: int) -> list[str]:
    """The default special tokens ordered by id: the named ones, then the reserved ones."""
    return SpecialTokens().in_order(reserved)


def reserved_tokens(count: int) -> list[str]:
    """Special tokens reserved for later use."""
    return [f"<|reserved_{number}|>" for number in range(count)]


@dataclass(frozen=True)
class SpecialTokens:
    """The special tokens and their roles."""

    pad: str = PAD
    bos: str = END_OF_TEXT
    eos: str = END_OF_TEXT
    unk: str | None = None
    """Required by sentencepiece, but never used: characters without a piece are encoded as bytes."""
    others: tuple[str, ...] = CHAT_TOKENS
    """``NAME=TOKEN`` or ``TOKEN``; the name becomes an attribute of the Hugging Face tokenizer."""

    def roles(self) -> dict[str, str]:
        """Maps roles, named as in transformers, to tokens."""
        found = {"pad_token": self.pad, "bos_token": self.bos, "eos_token": self.eos}
        return found | ({"unk_token": self.unk} if self.unk is not None else {})

    def extra(self) -> dict[str, str]:
        """Maps names to tokens, for the other tokens with a name."""
        return {name: token for name, token in map(_named, self.others) if name is not None}

    def in_order(self, reserved: int) -> list[str]:
        """All tokens by id: pad, bos, eos (if it is not bos), unk, the others, the reserved. Raises: ConfigError."""
        if len(self.others) + 4 > MOST_NAMED:
            raise ConfigError(f"--special_tokens: {len(self.others):,} tokens; give at most {MOST_NAMED - 4:,}")
        found = [self.pad, self.bos, *((self.eos,) if self.eos != self.bos else ())]
        found += [self.unk] if self.unk is not None else []
        found += [token for _, token in map(_named, self.others)] + reserved_tokens(reserved)
        check_distinct(found)
        return found


def check_distinct(tokens: Sequence[str]) -> None:
    """Raises: ConfigError if a token is empty, too long, not valid text, or occurs twice or inside another."""
    seen = set[str]()
    for token in tokens:
        shown = repr(token[:40])
        if not token.strip() or "\0" in token or any("\ud800" <= character <= "\udfff" for character in token):
            raise ConfigError(f"special token {shown}: must be visible text; give another")
        if token != token.strip() or len(token) > LONGEST:
            raise ConfigError(
                f"special token {shown}: begins or ends with a space, or has more than {LONGEST} characters; give another"
            )
        if token in seen:
            raise ConfigError(f"special token '{token}': is given twice; only bos and eos may be the same token")
        seen.add(token)
    everything = "\0".join(tokens)
    for token in tokens[:MOST_NAMED]:  # reserved tokens, of which there may be more, contain no other
        if everything.count(token) > 1:
            whole = next(other for other in tokens if token in other and token != other)
            raise ConfigError(
                f"special token '{token}': is part of '{whole}', so the two cannot be told apart; rename one"
            )


def _named(text: str) -> tuple[str | None, str]:
    name, equals, token = text.partition("=")
    return (name, token) if equals and name.isidentifier() else (None, text)
