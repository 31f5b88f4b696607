"""Special tokens that a text only spells: by default they are text, not tokens.

A web page that writes ``<|endoftext|>`` does not end a document, and a message that writes ``<|im_start|>`` opens no turn.
``tokenizers`` calls this ``encode_special_tokens``, transformers ``split_special_tokens``.
"""

import re
from collections.abc import Iterable
from typing import Any

from megalite.config.errors import DataError

UNSEEN = "\U0010fffd"
"""A character that no vocabulary has."""
CONTEXTS = ("{}", "a {} b", "a{}b", "\n{}\n", "{0}{0}")
"""How a token is spelled in the check."""


class SpecialSpellings:
    """Counts where texts spell one of some tokens."""

    def __init__(self, tokens: Iterable[str]) -> None:
        """``tokens`` are the special tokens' names."""
        names = sorted({token for token in tokens if token}, key=lambda token: (-len(token), token))
        self._beginnings = sorted({name[:2] for name in names})
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def count(self, text: str) -> int:
        """How many stand in the text; of those that overlap, the first and longest."""
        if self._pattern is None or not any(beginning in text for beginning in self._beginnings):
            return 0
        return sum(1 for _ in self._pattern.finditer(text))


def special_names(tokenizer: Any) -> list[str]:
    """The special tokens of a ``tokenizers.Tokenizer`` by their ids."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[number].content for number in sorted(added) if added[number].special]


def parse_special_tokens(tokenizer: Any, parse: bool, names: Iterable[str], source: object) -> None:
    """Set whether a special token that a text spells becomes its id.

    The setting belongs to the object: a copy of it, and ``to_str``, do not have it.

    Raises: DataError where the vocabulary has a special token as an ordinary piece too, so that text becomes it anyway;
        ``source`` names the tokenizer.
    """
    tokenizer.encode_special_tokens = not parse
    if parse:
        return
    names = sorted({*names, *special_names(tokenizer)})
    unknown = tokenizer.encode(UNSEEN, add_special_tokens=False).ids  # the unknown token is what text may become
    numbers = {tokenizer.token_to_id(name) for name in names} - {None, *unknown}
    texts = [context.format(name) for name in names for context in CONTEXTS]
    for start in range(0, len(texts), 1024):
        batch = texts[start : start + 1024]
        for text, row in zip(batch, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            if found := numbers.intersection(row.ids):
                raise DataError(
                    f"{source}: the text {text!r} becomes its special token '{tokenizer.id_to_token(min(found))}', which "
                    f"its model has as an ordinary piece; take another tokenizer, or --parse_special_tokens"
                )
