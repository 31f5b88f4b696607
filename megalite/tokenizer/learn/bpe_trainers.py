"""Train byte pair encoding with the fastest installed trainer; all trainers give the same tokens.

Trainers differ in how they break ties between pairs with equal counts. Here the pair with the smaller ids wins, with bytes
numbered 0 to 255 and tokens in the order in which they are learned. rustbpe does this by default, gigatoken has an option,
and ``tokenizers`` does it if the bytes are passed in this order (by default it orders them as characters). The merges are
derived from the order of the tokens, as for GPT-4's ``.tiktoken`` files, so they do not depend on the trainer. Trainers with
different Unicode versions split words differently at new characters: gigatoken 0.10 (Unicode 17) treats 4,657 characters as
letters that tokenizers 0.23 does not. On text without them, all trainers are equal.
"""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

from tokenizers import Tokenizer, models, trainers

from megalite.config.errors import ConfigError
from megalite.tokenizer.formats.byte_level import (
    SPLITS,
    Digits,
    byte_characters,
    byte_level_bpe,
    to_characters,
    word_splitter,
)
from megalite.tokenizer.learn.design import BYTES, Trainer
from megalite.tokenizer.sample.sampling import read_texts

Merges = list[tuple[bytes, bytes]]
CHECK_BYTES, CHECK_MERGES = 300_000, 500
"""Size of the test in which a faster trainer is compared with ``tokenizers`` before it is used."""
WORTH_IT = 8_000_000
"""Minimum number of bytes for which ``auto`` uses a faster trainer."""


def train_merges(sample: Path, digits: Digits, merges: int, trainer: Trainer) -> tuple[Merges, str]:
    """Return the merges in order (fewer than ``merges`` if the text has no more pairs), and a phrase that names the trainer.

    Args:
        sample: a jsonl file with the documents under ``text``.

    Raises: ConfigError if the requested trainer is not installed.
    """
    if trainer not in ("auto", "tokenizers") and find_spec(trainer) is None:
        raise ConfigError(f"--trainer {trainer}: not installed; run pip install {trainer}, or leave out --trainer")
    faster = (
        [name for name in _faster(digits) if find_spec(name) is not None] if sample.stat().st_size >= WORTH_IT else []
    )
    chosen = (*faster, "tokenizers")[0] if trainer == "auto" else trainer
    if chosen != "tokenizers":
        part = _beginning(sample)
        if _learn(part, digits, CHECK_MERGES, chosen) != by_tokenizers(part, digits, CHECK_MERGES)[0]:
            return _by_default(
                sample, digits, merges
            ), f"tokenizers, because {chosen} gave other tokens on the first {CHECK_BYTES:,} bytes"
        tokens = _learn(sample, digits, merges, chosen)
        derived = derived_merges(tokens)
        if derived is not None and (chosen != "gigatoken" or _occurs_last(sample, digits, derived)):
            return derived, f"{chosen}, equal to tokenizers on the first {CHECK_BYTES:,} bytes"
        return _by_default(sample, digits, merges), f"tokenizers, because {chosen} gave tokens that are not in the text"
    return _by_default(sample, digits, merges), "tokenizers"


def derived_merges(tokens: list[bytes]) -> Merges | None:
    """The pair of each token: what remains of its bytes after all earlier merges.

    None if a token occurs twice or does not consist of two earlier ones; its merge does not follow from the order then.
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
    """Tokens and merges by the trainer of ``tokenizers``."""
    characters = byte_characters()
    to_byte = {character: byte for byte, character in enumerate(characters)}
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = word_splitter(SPLITS[digits])
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


def _learn(sample: Path, digits: Digits, merges: int, trainer: str) -> list[bytes]:
    """The tokens in the order in which one of the faster trainers learns them."""
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
    """Whether the last token occurs in the text. Counts decrease from merge to merge, so all others do too.

    gigatoken continues with pairs that no longer occur if the text is too short.
    """
    if not merges:
        return True
    last = merges[-1][0] + merges[-1][1]
    tokenizer = byte_level_bpe(merges, [], SPLITS[digits])
    number = tokenizer.token_to_id(to_characters(last))
    return any(number in tokenizer.encode(text).ids for text in read_texts(sample) if last in text.encode())


def _beginning(sample: Path) -> Path:
    """Write the first documents, about ``CHECK_BYTES``, to a file of their own."""
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
    """Silence a library that prints from native code."""
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
