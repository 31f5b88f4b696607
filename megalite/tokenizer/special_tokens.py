"""The tokens with a meaning, their ids, and the chat template that uses them."""

from collections.abc import Sequence
from dataclasses import dataclass

from megalite.config.errors import ConfigError

PAD, END_OF_TEXT, TURN_START, TURN_END = "<|pad|>", "<|endoftext|>", "<|im_start|>", "<|im_end|>"
NAMED = (PAD, END_OF_TEXT, TURN_START, TURN_END)
"""Ids 0 to 3. End of text is both bos and eos: it stands between documents. A byte-level vocabulary has no unknowns."""
UNKNOWN = "<|unk|>"
LONGEST, MOST_NAMED = 256, 4096
"""Characters of a special token, and special tokens with a name."""
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
"""ChatML. The ``generation`` marks say which tokens are the assistant's own, the end of the turn among them."""


def special_tokens(reserved: int) -> list[str]:
    """All special tokens in the order of their ids: the named ones, then slots for later use."""
    return SpecialTokens().in_order(reserved)


def reserved_tokens(count: int) -> list[str]:
    """Slots for later use: ids that exist and stand for nothing yet."""
    return [f"<|reserved_{number}|>" for number in range(count)]


@dataclass(frozen=True)
class SpecialTokens:
    """Which token plays which role."""

    pad: str = PAD
    bos: str = END_OF_TEXT
    eos: str = END_OF_TEXT
    unk: str | None = None
    """A sentencepiece vocabulary must have one; it never occurs, for what has no piece is spelt in bytes."""
    others: tuple[str, ...] = CHAT_TOKENS
    """``NAME=TOKEN`` or ``TOKEN``; a name becomes an attribute of the Hugging Face tokenizer."""

    def roles(self) -> dict[str, str]:
        """Role -> token, in transformers' names."""
        found = {"pad_token": self.pad, "bos_token": self.bos, "eos_token": self.eos}
        return found | ({"unk_token": self.unk} if self.unk is not None else {})

    def extra(self) -> dict[str, str]:
        """Name -> token, of the others that have a name."""
        return {name: token for name, token in map(_named, self.others) if name is not None}

    def in_order(self, reserved: int) -> list[str]:
        """All tokens by id: pad, bos, eos where it is not bos, unk, the others, the reserved.

        Raises: ConfigError where two of them are the same, or one is empty.
        """
        if len(self.others) + 4 > MOST_NAMED:
            raise ConfigError(f"--special_tokens: {len(self.others):,} of them; give at most {MOST_NAMED - 4:,}")
        found = [self.pad, self.bos, *((self.eos,) if self.eos != self.bos else ())]
        found += [self.unk] if self.unk is not None else []
        found += [token for _, token in map(_named, self.others)] + reserved_tokens(reserved)
        check_distinct(found)
        return found


def check_distinct(tokens: Sequence[str]) -> None:
    """Raises: ConfigError where a token stands twice or inside another, is empty, too long or no text."""
    seen = set[str]()
    for token in tokens:
        shown = repr(token[:40])
        if not token.strip() or "\0" in token or any("\ud800" <= character <= "\udfff" for character in token):
            raise ConfigError(f"special token {shown}: must be a text that can be seen; give another")
        if token != token.strip() or len(token) > LONGEST:
            raise ConfigError(
                f"special token {shown}: begins or ends with a space, or has more than {LONGEST} characters; give another"
            )
        if token in seen:
            raise ConfigError(f"special token '{token}': is given twice; only bos and eos may be the same token")
        seen.add(token)
    everything = "\0".join(tokens)
    for token in tokens[:MOST_NAMED]:  # reserved ones, of which there may be more, hold no other
        if everything.count(token) > 1:
            whole = next(other for other in tokens if token in other and token != other)
            raise ConfigError(
                f"special token '{token}': stands inside '{whole}', so that texts of both mix; rename one"
            )


def _named(text: str) -> tuple[str | None, str]:
    name, equals, token = text.partition("=")
    return (name, token) if equals and name.isidentifier() else (None, text)
