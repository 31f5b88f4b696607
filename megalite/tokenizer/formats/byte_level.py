"""Byte-level BPE (Sennrich et al. 2016, arXiv:1508.07909; bytes as in GPT-2): word patterns, and a tokenizer from merges."""

from collections.abc import Sequence
from functools import cache
from typing import Literal

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

Digits = Literal["single", "triple", "free"]
_WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|DIGITS"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
SPLITS: dict[Digits, str] = {
    "triple": _WORDS.replace("DIGITS", r"\p{N}{1,3}"),
    "single": _WORDS.replace("DIGITS", r"\p{N}"),
    "free": r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
}
"""Word patterns by digits rule: those of cl100k and Llama 3, Qwen2, and GPT-2. Fast encoders support exactly these three."""
SEEN = (*range(33, 127), *range(161, 173), *range(174, 256))
"""Bytes that GPT-2 writes as the character with the same number; the others get 256 and up, in order."""


@cache
def byte_characters() -> list[str]:
    """The character for each byte in ``tokenizer.json``."""
    unseen = iter(range(256, 512))
    return [chr(byte) if byte in SEEN else chr(next(unseen)) for byte in range(256)]


def to_characters(token: bytes) -> str:
    """A token as written in ``tokenizer.json``."""
    characters = byte_characters()
    return "".join(characters[byte] for byte in token)


def word_splitter(split: str) -> pre_tokenizers.PreTokenizer:
    """Split text into words by a pattern, and words into bytes."""
    words = pre_tokenizers.Split(Regex(split), behavior="isolated")
    return pre_tokenizers.Sequence([words, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])


def byte_level_bpe(merges: Sequence[tuple[bytes, bytes]], special: Sequence[str], split: str) -> Tokenizer:
    """A tokenizer whose ids are the special tokens, the 256 bytes in order, and one for each merge."""
    vocabulary = {token: number for number, token in enumerate((*special, *byte_characters()))}
    pairs = [(to_characters(left), to_characters(right)) for left, right in merges]
    for left, right in pairs:
        vocabulary.setdefault(left + right, len(vocabulary))
    tokenizer = Tokenizer(models.BPE(vocabulary, pairs))
    tokenizer.pre_tokenizer = word_splitter(split)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return tokenizer
