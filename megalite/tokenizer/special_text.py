"""Special tokens that are written in texts: by default they are encoded as text.

A web page that contains ``<|endoftext|>`` does not end a document, and a message that contains ``<|im_start|>`` does not
start a turn. ``tokenizers`` calls this ``encode_special_tokens``, transformers ``split_special_tokens``.
"""

import re
from collections.abc import Iterable
from typing import Any

from megalite.config.errors import DataError

UNSEEN = "\U0010fffd"
"""A character that is in no vocabulary."""
CONTEXTS = ("{}", "a {} b", "a{}b", "\n{}\n", "{0}{0}")
"""The texts of the check, with a token in place of the braces."""


class SpecialSpellings:
    """Counts special tokens, given by name, in texts."""

    def __init__(self, tokens: Iterable[str]) -> None:
        names = sorted({token for token in tokens if token}, key=lambda token: (-len(token), token))
        self._beginnings = sorted({name[:2] for name in names})
        self._pattern = re.compile("|".join(map(re.escape, names))) if names else None

    def count(self, text: str) -> int:
        """Number of special tokens in a text; of overlapping ones, the first and longest counts."""
        if self._pattern is None or not any(beginning in text for beginning in self._beginnings):
            return 0
        return sum(1 for _ in self._pattern.finditer(text))


def special_names(tokenizer: Any) -> list[str]:
    """The special tokens of a ``tokenizers.Tokenizer``, ordered by id."""
    added = tokenizer.get_added_tokens_decoder()
    return [added[number].content for number in sorted(added) if added[number].special]


def parse_special_tokens(tokenizer: Any, parse: bool, names: Iterable[str], source: object) -> None:
    """Set whether a special token written in a text is encoded as that token.

    The setting belongs to the object; copies and ``to_str`` do not have it.

    Args:
        source: names the tokenizer in errors.

    Raises: DataError if a special token is also an ordinary piece of the vocabulary, so that text is encoded as it anyway.
    """
    tokenizer.encode_special_tokens = not parse
    if parse:
        return
    names = sorted({*names, *special_names(tokenizer)})
    unknown = tokenizer.encode(UNSEEN, add_special_tokens=False).ids  # text may be encoded as the unknown token
    numbers = {tokenizer.token_to_id(name) for name in names} - {None, *unknown}
    texts = [context.format(name) for name in names for context in CONTEXTS]
    for start in range(0, len(texts), 1024):
        batch = texts[start : start + 1024]
        for text, row in zip(batch, tokenizer.encode_batch_fast(batch, add_special_tokens=False), strict=True):
            if found := numbers.intersection(row.ids):
                raise DataError(
                    f"{source}: the text {text!r} is encoded as special token '{tokenizer.id_to_token(min(found))}', which "
                    f"is also an ordinary piece; use another tokenizer, or give --parse_special_tokens"
                )
