"""Byte pair encoding learnt from a sample, by the fastest trainer that is installed: all give the same tokens.

Which pair is merged where counts are equal is what tells trainers apart. Here it is the pair with the smaller ids, bytes
being numbered 0 to 255 and tokens in the order in which they were learnt: rustbpe does so, gigatoken does so on demand,
and ``tokenizers`` does so when the bytes are given to it in this order (by itself it orders them as characters). The
merges are derived from the order of the tokens, as for GPT-4's ``.tiktoken`` files, so they do not depend on the trainer.
Trainers that know different versions of Unicode split words at its newest characters differently: gigatoken 0.10 takes
4,657 characters for letters (Unicode 17) that are none to tokenizers 0.23; on text without them all are equal.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

from megalite.config.errors import ConfigError
from megalite.tokenizer.formats.byte_level import byte_characters, byte_level_bpe, to_characters
from megalite.tokenizer.learn.design import BYTES, SPLITS, Digits, Trainer
from megalite.tokenizer.sample.sampling import read_texts

Merges = list[tuple[bytes, bytes]]
CHECK_BYTES, CHECK_MERGES = 300_000, 500
"""What a faster trainer is tried on beside ``tokenizers``, before it is trusted with the sample."""
WORTH_IT = 8_000_000
"""Bytes; below, ``auto`` does not look for a faster trainer."""


def train_merges(sample: Path, digits: Digits, merges: int, trainer: Trainer) -> tuple[Merges, str]:
    """The merges in order, fewer than asked where the text has no more pairs; and how they were made, as a sentence.

    Args:
        sample: JSON objects, one a line, with the documents under ``text``.

    Raises: ConfigError where the trainer asked for is not installed.
    """
    if trainer not in ("auto", "tokenizers") and find_spec(trainer) is None:
        raise ConfigError(f"--trainer {trainer}: is not installed; pip install {trainer}, or leave --trainer out")
    faster = (
        [name for name in _faster(digits) if find_spec(name) is not None] if sample.stat().st_size >= WORTH_IT else []
    )
    chosen = (*faster, "tokenizers")[0] if trainer == "auto" else trainer
    if chosen != "tokenizers":
        part = _beginning(sample)
        if _learnt(part, digits, CHECK_MERGES, chosen) != by_tokenizers(part, digits, CHECK_MERGES)[0]:
            return _by_default(
                sample, digits, merges
            ), f"tokenizers, for {chosen} gave other tokens on the first of the text"
        tokens = _learnt(sample, digits, merges, chosen)
        derived = derived_merges(tokens)
        if derived is not None and (chosen != "gigatoken" or _occurs_last(sample, digits, derived)):
            return derived, f"{chosen}, equal to tokenizers on the first {CHECK_BYTES:,} bytes"
        return _by_default(sample, digits, merges), f"tokenizers, for {chosen} made tokens that it does not make"
    return _by_default(sample, digits, merges), "tokenizers"


def derived_merges(tokens: list[bytes]) -> Merges | None:
    """The pair behind each token: what is left of its bytes when all earlier tokens are applied.

    None where a token stands twice or is not made of two earlier ones: the order alone then does not say what to merge.
    """
    ranks = {bytes([byte]): byte for byte in range(BYTES)}
    merges: Merges = []
    for token in tokens:
        parts = [bytes([byte]) for byte in token]
        while len(parts) > 2:
            found = [(ranks[a + b], i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in ranks]
            if not found:
                return None
            at = min(found)[1]
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        if token in ranks or len(parts) < 2:
            return None
        ranks[token] = len(ranks)
        merges.append((parts[0], parts[1]))
    return merges


def by_tokenizers(sample: Path, digits: Digits, merges: int) -> tuple[list[bytes], Merges]:
    """Tokens and merges by Hugging Face's trainer."""
    characters = byte_characters()
    to_byte = {character: byte for byte, character in enumerate(characters)}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(SPLITS[digits]), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=BYTES + merges, special_tokens=characters, show_progress=False)
    tokenizer.train_from_iterator(read_texts(sample), trainer)
    model = json.loads(tokenizer.to_str())["model"]

    def read(token: str) -> bytes:
        return bytes(to_byte[character] for character in token)

    order = sorted(model["vocab"], key=model["vocab"].__getitem__)[BYTES:]
    return list(map(read, order)), [(read(left), read(right)) for left, right in model["merges"]]


def _by_default(sample: Path, digits: Digits, merges: int) -> Merges:
    tokens, own = by_tokenizers(sample, digits, merges)
    derived = derived_merges(tokens)
    return own if derived is None else derived


def _faster(digits: Digits) -> tuple[str, ...]:
    return ("gigatoken", "rustbpe") if digits == "free" else ("rustbpe",)


def _learnt(sample: Path, digits: Digits, merges: int, trainer: str) -> list[bytes]:
    """The tokens in the order learnt, by one of the faster trainers."""
    if trainer == "rustbpe":
        import rustbpe

        tokenizer = rustbpe.Tokenizer()
        tokenizer.train_from_iterator(read_texts(sample), BYTES + merges, 1024, SPLITS[digits])
        ranks = tokenizer.get_mergeable_ranks()
        return [bytes(token) for token, _ in sorted(ranks, key=lambda item: item[1])][BYTES:]
    import gigatoken

    with _silent():
        vocabulary, _ = gigatoken.train_bpe(gigatoken.JsonlFileSource([sample]), BYTES + merges, [], "raw_token_ids")
    return [vocabulary[number] for number in sorted(vocabulary)][BYTES:]


def _occurs_last(sample: Path, digits: Digits, merges: Merges) -> bool:
    """Whether the last token occurs in the text: counts fall from merge to merge, so all others do then.

    gigatoken goes on with pairs that do not occur any more where the text is too short for so many.
    """
    if not merges:
        return True
    last = merges[-1][0] + merges[-1][1]
    tokenizer = byte_level_bpe(merges, [], SPLITS[digits])
    number = tokenizer.token_to_id(to_characters(last))
    return any(number in tokenizer.encode(text).ids for text in read_texts(sample) if last in text.encode())


def _beginning(sample: Path) -> Path:
    """The first documents in a file of their own, ``CHECK_BYTES`` of them or one document more."""
    path, total = sample.with_name(f"{sample.stem}.beginning.jsonl"), 0
    with sample.open("rb") as whole, path.open("wb") as part:
        for line in whole:
            part.write(line)
            total += len(line)
            if total >= CHECK_BYTES:
                break
    return path


@contextmanager
def _silent() -> Iterator[None]:
    """Both output streams closed to a library that prints from native code."""
    saved = os.dup(1), os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved[0], 1)
        os.dup2(saved[1], 2)
        for descriptor in (nowhere, *saved):
            os.close(descriptor)
