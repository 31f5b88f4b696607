"""A tokenizer from a folder, without importing transformers where a ``tokenizer.json`` is there."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from megalite.config.errors import DataError

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
"""Names tried where no config says which token ends a document."""


@dataclass(frozen=True)
class LoadedTokenizer:
    """The encoder, and what the data and the export must know of it."""

    tokenizer: Tokenizer
    vocab_size: int
    """Number of ids, added tokens included."""
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    fingerprint: str
    """sha256 over vocabulary, merges and rules; two folders with the same fingerprint give the same ids."""


def load_tokenizer(path: Path, eos_token: str | None = None) -> LoadedTokenizer:
    """Load a folder (or a bare ``tokenizer.json``).

    Args:
        eos_token: the token that ends a document, where the folder does not say or another is wanted.

    Raises: FileNotFoundError, or DataError where nothing there is a tokenizer or ``eos_token`` is not in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such tokenizer; make one with tools/train_tokenizer.py")
    file = path / "tokenizer.json" if path.is_dir() else path
    tokenizer = _from_json(file) if file.is_file() else _by_transformers(path)
    special = _special_tokens(file.parent if file.is_file() else path)
    if eos_token is not None:
        if tokenizer.token_to_id(eos_token) is None:
            raise DataError(f"{path}: has no token '{eos_token}'; give one of its tokens with --eod_token")
        special["eos_token"] = eos_token
    elif "eos_token" not in special:
        known = [name for name in END_OF_TEXT if tokenizer.token_to_id(name) is not None]
        special |= {"eos_token": known[0]} if known else {}

    def id_of(role: str) -> int | None:
        return tokenizer.token_to_id(special[role]) if role in special else None

    return LoadedTokenizer(
        tokenizer=tokenizer,
        vocab_size=1 + max(tokenizer.get_vocab(with_added_tokens=True).values()),
        bos_id=id_of("bos_token"),
        eos_id=id_of("eos_token"),
        pad_id=id_of("pad_token"),
        fingerprint=_fingerprint(tokenizer),
    )


def _from_json(file: Path) -> Tokenizer:
    try:
        return Tokenizer.from_file(str(file))
    except Exception as error:  # the Rust side raises plain Exception
        raise DataError(f"{file}: not a tokenizer: {error}") from None


def _by_transformers(folder: Path) -> Tokenizer:
    """GPT-2's ``vocab.json`` + ``merges.txt`` or a sentencepiece ``tokenizer.model``, converted."""
    if (folder / "vocab.json").is_file() and (folder / "merges.txt").is_file():
        from transformers import GPT2Tokenizer

        return GPT2Tokenizer.from_pretrained(folder).backend_tokenizer
    if (folder / "tokenizer.model").is_file():
        from transformers import LlamaTokenizer

        return LlamaTokenizer.from_pretrained(folder).backend_tokenizer
    raise DataError(f"{folder}: no tokenizer.json, vocab.json + merges.txt or tokenizer.model in it")


def _special_tokens(folder: Path) -> dict[str, str]:
    """Role -> token, from ``special_tokens_map.json`` and ``tokenizer_config.json``."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", "tokenizer_config.json"):
        if (folder / name).is_file():
            try:
                values: dict[str, Any] = json.loads((folder / name).read_text(encoding="utf-8"))
            except ValueError as error:
                raise DataError(f"{folder / name}: not JSON: {error}; mend it, or remove it") from None
            for role in ("bos_token", "eos_token", "pad_token"):
                token = values.get(role)
                if isinstance(token, dict):
                    token = token.get("content")
                if isinstance(token, str):
                    found[role] = token
    return found


def _fingerprint(tokenizer: Tokenizer) -> str:
    """Digest of what decides the ids; padding and truncation, which a caller may switch, are left out."""
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return hashlib.sha256(tokenizer.to_str().encode("utf-8", "replace")).hexdigest()
