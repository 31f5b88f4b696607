"""A byte-level BPE tokenizer (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2) from merges and special tokens."""

from collections.abc import Sequence
from functools import cache

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

SEEN = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that GPT-2 writes as the character of the same number; the others get 256 and on, in order."""


@cache
def byte_characters() -> list[str]:
    """The character that stands for each byte in ``tokenizer.json``."""
    unseen = iter(range(256, 512))
    return [chr(byte) if byte in SEEN else chr(next(unseen)) for byte in range(256)]


def to_characters(token: bytes) -> str:
    """A token as it is written in ``tokenizer.json``."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in token)


def byte_level_bpe(merges: Sequence[tuple[bytes, bytes]], special: Sequence[str], split: str) -> Tokenizer:
    """Ids: special tokens, the 256 bytes in order, then one for each merge."""
    vocabulary = {token: number for number, token in enumerate((*special, *byte_characters()))}
    pairs = [(to_characters(left), to_characters(right)) for left, right in merges]
    for left, right in pairs:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer
