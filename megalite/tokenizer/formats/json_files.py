"""Read ``tokenizer.json``, or ``vocab.json`` with ``merges.txt``. Damaged files are refused before a library parses them."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from megalite.config.errors import ConfigError, DataError, in_one_line
from megalite.config.text_files import kind_of, read_json_object

MOST_IDS = 1 << 24
"""Upper limit of an id. A larger id means damage, and the model's embedding would be as large."""
ROLES = ("bos_token", "eos_token", "pad_token", "unk_token")
CONFIGS = ("special_tokens_map.json", "tokenizer_config.json")
REMEDY = "get the file again"


def token_roles(folder: Path) -> dict[str, str]:
    """Maps roles to tokens, from ``special_tokens_map.json`` and ``tokenizer_config.json``. Raises: ConfigError."""
    found: dict[str, str] = {}
    for values in _configs(folder):
        found |= {role: name for role in ROLES if (name := _name(values.get(role))) is not None}
    return found


def special_tokens(folder: Path) -> list[str]:
    """All tokens that these files declare as special. Raises: ConfigError."""
    found = list(token_roles(folder).values())
    for values in _configs(folder):
        for key in ("additional_special_tokens", "extra_special_tokens"):
            more = values.get(key) or []
            if not isinstance(more, (list, dict)):
                raise ConfigError(f"{folder}: {key} is {kind_of(more)}; give a list of tokens, or an object")
            found += filter(None, map(_name, more.values() if isinstance(more, dict) else more))
        added = values.get("added_tokens_decoder")
        entries = added.values() if isinstance(added, dict) else []
        found += [str(entry["content"]) for entry in entries if isinstance(entry, dict) and entry.get("special")]
    return list(dict.fromkeys(found))


def from_json(file: Path, special: Iterable[str]) -> Tokenizer:
    """Load a ``tokenizer.json``; the added tokens named in ``special`` become special. Raises: DataError."""
    try:
        values = read_json_object(file, "tokenizer")
    except ConfigError as error:
        raise DataError(f"{error}; {REMEDY}") from None
    model, added = values.get("model"), values.get("added_tokens") or []
    if not isinstance(model, dict) or not isinstance(added, list):
        raise DataError(f"{file}: not a tokenizer: 'model' is {kind_of(model)}; {REMEDY}")
    ids = _checked_ids(model.get("vocab"), file)
    names = set(special)
    for token in added:
        if not isinstance(token, dict) or not isinstance(token.get("content"), str):
            raise DataError(f"{file}: an added token has no 'content'; {REMEDY}")
        if not isinstance(number := token.get("id"), int) or not 0 <= number < MOST_IDS:
            raise DataError(f"{file}: the added token '{token['content']}' has the id {number!r}; {REMEDY}")
        if ids.get(token["content"], number) != number:
            raise DataError(
                f"{file}: the token '{token['content']}' has two ids, {number} and {ids[token['content']]}; {REMEDY}"
            )
    changed = [token for token in added if token["content"] in names and not token.get("special")]
    for token in changed:
        token["special"] = True
    text = json.dumps(values) if changed else file.read_text(encoding="utf-8-sig")
    tokenizer = _build(lambda: Tokenizer.from_str(text), file)
    for token in added:
        if tokenizer.token_to_id(token["content"]) != token["id"]:
            raise DataError(
                f"{file}: the added token '{token['content']}' has the id {token['id']}, which does not follow the "
                f"vocabulary; {REMEDY}"
            )
    return tokenizer


def from_vocab_and_merges(folder: Path, special: Sequence[str] | set[str]) -> Tokenizer:
    """Load byte-level BPE in GPT-2's format. Raises: DataError."""
    vocabulary, merges = folder / "vocab.json", folder / "merges.txt"
    try:
        ids = _checked_ids(read_json_object(vocabulary), vocabulary)
        added = read_json_object(folder / "added_tokens.json") if (folder / "added_tokens.json").is_file() else {}
    except ConfigError as error:
        raise DataError(f"{error}; {REMEDY}") from None
    try:
        lines = merges.read_text(encoding="utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise DataError(f"{merges}: not UTF-8 text ({error.reason} at byte {error.start}); {REMEDY}") from None
    pairs = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (number == 1 and line.startswith("#version")):
            continue
        left, space, right = line.rstrip("\r").partition(" ")
        if not space or not left or not right or " " in right:
            raise DataError(f"{merges}:{number}: not two tokens: {line[:40]!r}; {REMEDY}")
        if not {left, right, left + right} <= ids.keys():
            raise DataError(f"{merges}:{number}: '{left} {right}' gives a token that is not in {vocabulary}; {REMEDY}")
        pairs.append((left, right))
    tokenizer = _build(lambda: Tokenizer(models.BPE(ids, pairs)), vocabulary)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    known = [name for name in ("<|endoftext|>", *sorted(special)) if name in ids]
    for name, number in sorted(added.items(), key=lambda item: str(item[1]).zfill(9)):
        tokenizer.add_tokens([AddedToken(name, special=name in special, normalized=False)])
        if tokenizer.token_to_id(name) != number:
            raise DataError(
                f"{folder / 'added_tokens.json'}: '{name}' has the id {number!r}, which does not follow; {REMEDY}"
            )
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in dict.fromkeys(known)])
    return tokenizer


def _checked_ids(vocabulary: Any, file: Path) -> dict[str, int]:
    """Maps tokens to ids, each used once. Raises: DataError."""
    if isinstance(vocabulary, list):  # unigram: a list of pairs
        names = [pair[0] for pair in vocabulary if isinstance(pair, list) and len(pair) == 2]
        if len(names) < len(vocabulary) or not names or not all(isinstance(name, str) for name in names):
            raise DataError(f"{file}: the vocabulary is not a list of pieces with scores; {REMEDY}")
        return {name: number for number, name in enumerate(names)}
    if not isinstance(vocabulary, dict) or not vocabulary:
        raise DataError(f"{file}: has no vocabulary; {REMEDY}")
    seen: dict[int, str] = {}
    for token, number in vocabulary.items():
        if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number < MOST_IDS:
            raise DataError(f"{file}: the token {token!r} has the id {str(number)[:20]}; {REMEDY}")
        if seen.setdefault(number, token) != token:
            raise DataError(f"{file}: the tokens {seen[number]!r} and {token!r} have the same id {number}; {REMEDY}")
    return vocabulary


def _build(build: Any, file: Path) -> Tokenizer:
    try:
        return build()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # the Rust library raises plain Exception, or a panic, which is not an Exception
        raise DataError(f"{file}: not a tokenizer: {in_one_line(error)}; {REMEDY}") from None


def _configs(folder: Path) -> list[dict[str, Any]]:
    return [read_json_object(folder / name) for name in CONFIGS if (folder / name).is_file()]


def _name(token: Any) -> str | None:
    """The name of a token, given as text or as an object."""
    token = token.get("content") if isinstance(token, dict) else token
    return token if isinstance(token, str) and token else None
