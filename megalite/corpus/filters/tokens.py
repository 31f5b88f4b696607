"""The number of tokens per word: dumps, keys, other scripts and other languages need many."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import PositiveFloat

from megalite.config.errors import ConfigError
from megalite.config.section import OneLine
from megalite.corpus.filters.rule import Filter, Rule
from megalite.corpus.words.languages import ENGLISH
from megalite.corpus.words.words import Text


@cache
def _tokenizer(path: str) -> Any:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(path)
    tokenizer.encode_special_tokens = True
    return tokenizer


def _tokens_per_word(text: Text, own: "TokensPerWord") -> float:
    encoded = _tokenizer(own.tokenizer).encode_batch_fast([text.text], add_special_tokens=False)
    return len(encoded[0].ids) / max(1, text.real_words)


class TokensPerWord(Filter):
    """The number of tokens per word: dumps, keys and other scripts and languages need many. Null turns a bound off."""

    kind: Literal["tokens_per_word"]
    tokenizer: OneLine
    """Path of a ``tokenizer.json``; it need not be the model's tokenizer."""
    min_ratio: PositiveFloat | None = None
    """Minimum number of tokens per word."""
    max_ratio: PositiveFloat | None = 3.0
    """Maximum number of tokens per word. English prose has 1.2 to 1.6 with a vocabulary trained on such text."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("few_tokens_per_word", "min_ratio", "below", lambda t, own: own.ratio(t), "count", "spaces"),
        Rule("many_tokens_per_word", "max_ratio", "above", lambda t, own: own.ratio(t), "count", "spaces"),
    )

    def ratio(self, text: Text) -> float:
        """The number of tokens per word, not counting marks as words."""
        return text.once(id(self), lambda: _tokens_per_word(text, self))

    def check(self, languages: Sequence[str]) -> None:
        """Raises: FileNotFoundError, ConfigError."""
        if not Path(self.tokenizer).is_file():
            raise FileNotFoundError(f"{self.tokenizer}: no such file; name a tokenizer.json under tokens_per_word")
        try:
            _tokenizer(self.tokenizer)
        except Exception as error:  # the library raises bare Exception for a file it cannot read
            raise ConfigError(f"{self.tokenizer}: not a tokenizer.json: {error}") from None

    def notices(self, languages: Sequence[str]) -> list[str]:
        """Warns if the default bound, which is for English, judges other languages."""
        if "max_ratio" in self.model_fields_set or list(languages) == [ENGLISH]:
            return []
        others = ", ".join(code for code in languages if code != ENGLISH)
        return [f"tokens_per_word: max_ratio {self.max_ratio} is for English; check {others} with --dry_run"]
