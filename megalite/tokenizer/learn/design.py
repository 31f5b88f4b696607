"""What vocabulary is wanted: algorithm, size, digits, tokens with a meaning. Checked before any text is read."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from megalite.config.errors import ConfigError
from megalite.templates.render import template_literals
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, UNKNOWN, SpecialTokens

Algorithm = Literal["bpe", "sentencepiece_unigram", "sentencepiece_bpe"]
Digits = Literal["single", "triple", "free"]
Trainer = Literal["auto", "tokenizers", "rustbpe", "gigatoken"]
ALGORITHMS: tuple[Algorithm, ...] = ("bpe", "sentencepiece_unigram", "sentencepiece_bpe")
TRAINERS: tuple[Trainer, ...] = ("auto", "tokenizers", "rustbpe", "gigatoken")
BYTES = 256
MOST_IDS, MOST_RESERVED = 1 << 21, 1 << 16
"""Twice the largest vocabulary that was published; trainers make room for all of it before they read."""
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[Digits, str] = {
    "triple": _WORDS.replace("DIGITS", r"\p{N}{1,3}"),
    "single": _WORDS.replace("DIGITS", r"\p{N}"),
    "free": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}
"""Digits rule -> word pattern of byte-level BPE: cl100k's and Llama 3's, Qwen2's, GPT-2's. Fast encoders know these three,
letter for letter, and refuse others."""


@dataclass(frozen=True)
class Design:
    """A vocabulary to train."""

    vocab_size: int
    """Ids in all, special and reserved tokens and the 256 bytes included."""
    model: Algorithm = "bpe"
    digits: Digits | None = None
    """How runs of digits may be joined: not at all, up to three, freely. None: triple for bpe, single for sentencepiece."""
    special: SpecialTokens = field(default_factory=SpecialTokens)
    reserved: int = 12
    pad_to_multiple: int = 1
    """More reserved tokens are added until the ids are a multiple of this."""
    chat_template: str = CHAT_TEMPLATE
    trainer: Trainer = "auto"

    @property
    def digits_rule(self) -> Digits:
        """The rule with its default."""
        return self.digits or ("triple" if self.model == "bpe" else "single")

    @property
    def total(self) -> int:
        """Ids with the padding: every one of them exists."""
        return -(-self.vocab_size // self.pad_to_multiple) * self.pad_to_multiple

    def special_in_order(self) -> list[str]:
        """All special tokens by id, those that pad the vocabulary last."""
        return self.special.in_order(self.reserved + self.total - self.vocab_size)

    @property
    def learnt(self) -> int:
        """Tokens to learn beyond special tokens and bytes."""
        return self.total - len(self.special_in_order()) - BYTES

    def check(self) -> "Design":
        """Itself, with what sentencepiece needs filled in.

        Raises: ConfigError where it cannot be.
        """
        if self.reserved < 0 or self.pad_to_multiple < 1:
            raise ConfigError(
                f"--reserved {self.reserved}, --pad_to_multiple {self.pad_to_multiple}: give at least 0 slots and 1"
            )
        if self.vocab_size < 1 or max(self.vocab_size, self.total) > MOST_IDS:
            with_padding = f", with --pad_to_multiple {self.total:,}" if self.total != self.vocab_size else ""
            raise ConfigError(f"--vocab_size {self.vocab_size:,}{with_padding}: give 1 to {MOST_IDS:,} ids")
        if self.reserved + self.total - self.vocab_size > MOST_RESERVED:
            raise ConfigError(
                f"--reserved {self.reserved:,}, with those that pad the vocabulary: give at most {MOST_RESERVED:,} slots"
            )
        if self.model != "bpe":
            if self.digits == "triple":
                raise ConfigError(
                    "--digits triple: sentencepiece splits digits singly or not at all; give single or free"
                )
            if self.trainer != "auto":
                raise ConfigError(
                    f"--trainer {self.trainer}: trains byte-level BPE; leave it out with --model {self.model}"
                )
            if self.special.unk is None:
                return replace(self, special=replace(self.special, unk=UNKNOWN)).check()
        elif self.trainer == "gigatoken" and self.digits_rule != "free":
            raise ConfigError(
                f"--trainer gigatoken: it splits words as GPT-2 does only, not by --digits {self.digits_rule}; give "
                f"--digits free, or --trainer rustbpe"
            )
        if self.learnt < (0 if self.model == "bpe" else 1):  # bytes alone are a vocabulary
            special = len(self.special_in_order())
            raise ConfigError(
                f"--vocab_size {self.vocab_size}: {BYTES} bytes and {special} special tokens alone need "
                f"{BYTES + special}; give a larger vocabulary"
            )
        if self.chat_template != CHAT_TEMPLATE:
            _check_template(self.chat_template)
        return self


def read_chat_template(path: Path) -> str:
    """The text of a Jinja file. Raises: FileNotFoundError, ConfigError where it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}; give a Jinja template") from None


def _check_template(template: str) -> None:
    import jinja2

    try:
        template_literals(template)
    except jinja2.TemplateError as error:
        raise ConfigError(f"--chat_template, {error}; mend the template") from None
