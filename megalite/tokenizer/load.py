"""Load a tokenizer folder without transformers. No code of the folder is run, and nothing is downloaded."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import AddedToken, Tokenizer

from megalite.config.errors import ConfigError, DataError, in_one_line
from megalite.tokenizer.formats.json_files import from_json, from_vocab_and_merges, special_tokens, token_roles
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.special_text import parse_special_tokens as set_rule

END_OF_TEXT = ("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>")
"""Names to try if no config names the end-of-text token."""


@dataclass(frozen=True)
class LoadedTokenizer:
    """A tokenizer, its special ids, and how it was checked."""

    tokenizer: Any
    """A ``tokenizers.Tokenizer``, or a ``SentencePieceTokenizer`` if none gives the same ids."""
    vocab_size: int
    """Number of ids, including added tokens."""
    bos_id: int | None
    eos_id: int | None
    pad_id: int | None
    fingerprint: str
    """sha256 of vocabulary, merges and rules; folders with the same fingerprint give the same ids."""
    check: str = ""
    """A phrase that says which files were loaded, and how the ids were checked."""
    own: Any = None
    """The ``SentencePieceTokenizer`` of the model that ``tokenizer`` was converted from, else None."""


def load_tokenizer(path: Path, eos_token: str | None = None, parse_special_tokens: bool = False) -> LoadedTokenizer:
    """Load a folder, a single ``tokenizer.json``, or sentencepiece's ``tokenizer.model``.

    Args:
        eos_token: the token that ends a document; overrides the one that the folder names.
        parse_special_tokens: whether a special token written in a text is encoded as that token.

    Raises: FileNotFoundError; DataError if there is no tokenizer, it is damaged, or it lacks ``eos_token``.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such tokenizer; make one with tools/train_tokenizer.py")
    folder = path if path.is_dir() else path.parent
    try:
        roles = token_roles(folder)
        special = set(special_tokens(folder))
    except ConfigError as error:
        raise DataError(str(error)) from None
    if eos_token is not None:
        roles["eos_token"] = eos_token
        special.add(eos_token)
    tokenizer, check, own = _open(path, special, eos_token)
    if own is not None:
        roles = own.roles() | roles
    fingerprint = _fingerprint(tokenizer)
    if eos_token is not None and tokenizer.token_to_id(eos_token) is None:
        raise DataError(f"{path}: has no token '{eos_token}'; give one of its tokens with --eod_token")
    if "eos_token" not in roles:
        known = [name for name in END_OF_TEXT if tokenizer.token_to_id(name) is not None]
        roles |= {"eos_token": known[0]} if known else {}
    named = [name for name in sorted({*special, *roles.values()}) if tokenizer.token_to_id(name) is not None]
    if isinstance(tokenizer, Tokenizer):
        tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in named])
    _try_encoding(tokenizer, path)
    set_rule(tokenizer, parse_special_tokens, named, path)
    if own is not None and own is not tokenizer:
        own.encode_special_tokens = not parse_special_tokens

    def id_of(role: str) -> int | None:
        return tokenizer.token_to_id(roles[role]) if role in roles else None

    return LoadedTokenizer(
        tokenizer=tokenizer,
        vocab_size=1 + max(tokenizer.get_vocab(with_added_tokens=True).values()),
        bos_id=id_of("bos_token"),
        eos_id=id_of("eos_token"),
        pad_id=id_of("pad_token"),
        fingerprint=fingerprint,
        check=check,
        own=None if own is tokenizer else own,
    )


def _open(path: Path, special: set[str], eos_token: str | None) -> tuple[Any, str, Any]:
    """The tokenizer, the phrase for ``check``, and the ``SentencePieceTokenizer`` of a ``tokenizer.model``."""
    by, file = f"with tokenizers {tokenizers.__version__}", path / "tokenizer.json" if path.is_dir() else path
    if file.is_file() and file.suffix != ".model":
        return from_json(file, special), f"tokenizer.json, {by}", None
    if (path / "vocab.json").is_file() and (path / "merges.txt").is_file():
        return from_vocab_and_merges(path, special), f"vocab.json and merges.txt, {by}", None
    model = path / "tokenizer.model" if path.is_dir() else path
    if model.is_file():
        from megalite.tokenizer.formats.sentencepiece_tokenizer import open_sentencepiece

        opened, check, own = open_sentencepiece(model.read_bytes(), special - {eos_token}, model)
        return opened, f"tokenizer.model, {check}", own
    raise DataError(f"{path}: has no tokenizer.json, vocab.json + merges.txt or tokenizer.model")


def _try_encoding(tokenizer: Any, path: Path) -> None:
    """Encode a few texts. Raises: DataError if that fails, for example because the unknown token is missing."""
    for text in HARD_TEXTS:
        try:
            tokenizer.encode(text, add_special_tokens=False)
        except Exception as error:  # the Rust library raises plain Exception
            raise DataError(
                f"{path}: cannot encode {text[:20]!r}: {in_one_line(error)}; use another tokenizer"
            ) from None


def _fingerprint(tokenizer: Any) -> str:
    """Digest of everything that determines the ids; padding and truncation are excluded."""
    if not isinstance(tokenizer, Tokenizer):
        return hashlib.sha256(tokenizer.content).hexdigest()
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return hashlib.sha256(tokenizer.to_str().encode("utf-8", "replace")).hexdigest()
