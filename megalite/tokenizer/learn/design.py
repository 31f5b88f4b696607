"""The design of a vocabulary: algorithm, size, digits, special tokens. It is checked before any text is read."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from megalite.config.errors import ConfigError
from megalite.templates.render import template_literals
from megalite.tokenizer.formats.byte_level import Digits
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, UNKNOWN, SpecialTokens

Algorithm = Literal["bpe", "sentencepiece_unigram", "sentencepiece_bpe"]
Trainer = Literal["auto", "tokenizers", "rustbpe", "gigatoken"]
ALGORITHMS: tuple[Algorithm, ...] = ("bpe", "sentencepiece_unigram", "sentencepiece_bpe")
TRAINERS: tuple[Trainer, ...] = ("auto", "tokenizers", "rustbpe", "gigatoken")
BYTES = 256
MOST_IDS, MOST_RESERVED = 1 << 21, 1 << 16
"""About twice the largest published vocabulary; trainers allocate memory for all ids at the start."""


@dataclass(frozen=True)
class Design:
    """A vocabulary to train."""

    vocab_size: int
    """Number of ids, including special tokens, reserved tokens and the 256 bytes."""
    model: Algorithm = "bpe"
    digits: Digits | None = None
    """Longest run of digits in a token: 1, 3 or any. None is triple for bpe and single for sentencepiece."""
    special: SpecialTokens = field(default_factory=SpecialTokens)
    reserved: int = 12
    pad_to_multiple: int = 1
    """Reserved tokens are added until the number of ids is a multiple of this."""
    chat_template: str = CHAT_TEMPLATE
    trainer: Trainer = "auto"

    @property
    def digits_rule(self) -> Digits:
        return self.digits or ("triple" if self.model == "bpe" else "single")

    @property
    def total(self) -> int:
        """Number of ids, including the padding."""
        return -(-self.vocab_size // self.pad_to_multiple) * self.pad_to_multiple

    def special_in_order(self) -> list[str]:
        """All special tokens by id, including the padding."""
        return self.special.in_order(self.reserved + self.total - self.vocab_size)

    @property
    def learned(self) -> int:
        """Number of tokens to learn, without special tokens and bytes."""
        return self.total - len(self.special_in_order()) - BYTES

    def check(self) -> "Design":
        """Return the design, with an unknown token if sentencepiece needs one. Raises: ConfigError if it is impossible."""
        if self.reserved < 0 or self.pad_to_multiple < 1:
            raise ConfigError(
                f"--reserved {self.reserved}, --pad_to_multiple {self.pad_to_multiple}: give at least 0 and 1"
            )
        if self.vocab_size < 1 or max(self.vocab_size, self.total) > MOST_IDS:
            with_padding = f", with --pad_to_multiple {self.total:,}" if self.total != self.vocab_size else ""
            raise ConfigError(f"--vocab_size {self.vocab_size:,}{with_padding}: give 1 to {MOST_IDS:,} ids")
        if self.reserved + self.total - self.vocab_size > MOST_RESERVED:
            raise ConfigError(f"--reserved {self.reserved:,}, including the padding: give at most {MOST_RESERVED:,}")
        if self.model != "bpe":
            if self.digits == "triple":
                raise ConfigError("--digits triple: not supported by sentencepiece; give single or free")
            if self.trainer != "auto":
                raise ConfigError(
                    f"--trainer {self.trainer}: only for byte-level BPE; leave it out with --model {self.model}"
                )
            if self.special.unk is None:
                return replace(self, special=replace(self.special, unk=UNKNOWN)).check()
        elif self.trainer == "gigatoken" and self.digits_rule != "free":
            raise ConfigError(
                f"--trainer gigatoken: only splits words as GPT-2 does, not by --digits {self.digits_rule}; give "
                f"--digits free, or --trainer rustbpe"
            )
        if self.learned < (0 if self.model == "bpe" else 1):  # the bytes alone are a valid vocabulary
            special = len(self.special_in_order())
            raise ConfigError(
                f"--vocab_size {self.vocab_size}: {BYTES} bytes and {special} special tokens already need "
                f"{BYTES + special}; give a larger vocabulary"
            )
        if self.chat_template != CHAT_TEMPLATE:
            _check_template(self.chat_template)
        return self


def read_chat_template(path: Path) -> str:
    """The text of a Jinja file. Raises: FileNotFoundError; ConfigError if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8: {error}; give a Jinja template") from None


def _check_template(template: str) -> None:
    import jinja2

    try:
        template_literals(template)
    except jinja2.TemplateError as error:
        raise ConfigError(f"--chat_template: {error}; fix the template") from None
