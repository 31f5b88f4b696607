"""Write a tokenizer into a GGUF file: byte-level BPE as ``gpt2``, sentencepiece's BPE with byte fallback as ``llama``."""

import json
import re
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.huggingface.load import load_tokenizer
from megalite.tokenizer.formats.byte_level import SPLITS

PRE_TOKENIZERS = {SPLITS["free"]: "gpt-2", SPLITS["triple"]: "llama-bpe", SPLITS["single"]: "qwen2"}
"""Maps word patterns to llama.cpp's names."""
SPACE = "\u2581"
BYTE_TOKEN = re.compile(r"<0x[0-9A-F]{2}>")


def add_vocabulary(writer: Any, folder: Path, vocab_size: int) -> None:
    """Add tokens, types, merges or scores, special ids and the chat template. Raises: DataError if GGUF cannot hold them."""
    tokenizer = load_tokenizer(str(folder))
    if not tokenizer.is_fast:
        raise DataError(f"{folder}: the tokenizer cannot be converted to tokenizer.json, which GGUF is written from")
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    model = rules["model"]
    if model["type"] != "BPE":
        raise DataError(f"{folder}: the tokenizer is '{model['type']}'; only BPE can be written as GGUF")
    tokens = _tokens(tokenizer, vocab_size)
    if model.get("byte_fallback"):
        _add_sentencepiece(writer, folder, rules, tokens)
    else:
        _add_byte_level(writer, folder, rules)
    writer.add_token_list(tokens)
    writer.add_token_types(_types(tokens, rules, model.get("unk_token")))
    for name in ("bos", "eos", "unk", "pad"):
        if (token := getattr(tokenizer, f"{name}_token_id")) is not None:
            getattr(writer, f"add_{name}_token_id")(token)
    empty = tokenizer("")["input_ids"]
    writer.add_add_bos_token(bool(empty) and empty[0] == tokenizer.bos_token_id)
    writer.add_add_eos_token(len(empty) > 1 and empty[-1] == tokenizer.eos_token_id)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _tokens(tokenizer: Any, vocab_size: int) -> list[str]:
    """The tokens by id; ids of the model that the tokenizer does not use become ``[PAD...]``."""
    tokens = [f"[PAD{number}]" for number in range(vocab_size)]
    for token, number in tokenizer.get_vocab().items():
        if number >= vocab_size:
            raise DataError(f"token {token!r} has the id {number:,}; the model's vocabulary ends at {vocab_size:,}")
        tokens[number] = token
    return tokens


def _types(tokens: list[str], rules: dict[str, Any], unknown: str | None) -> list[int]:
    import gguf

    known = set(rules["model"]["vocab"])
    special = {added["content"]: added["special"] for added in rules["added_tokens"]}
    byte_fallback = bool(rules["model"].get("byte_fallback"))

    def type_of(token: str) -> int:
        if byte_fallback and token == unknown:
            return gguf.TokenType.UNKNOWN
        if token in special:
            return gguf.TokenType.CONTROL if special[token] else gguf.TokenType.USER_DEFINED
        if token not in known:
            return gguf.TokenType.UNUSED
        return gguf.TokenType.BYTE if byte_fallback and BYTE_TOKEN.fullmatch(token) else gguf.TokenType.NORMAL

    return [int(type_of(token)) for token in tokens]


def _add_byte_level(writer: Any, folder: Path, rules: dict[str, Any]) -> None:
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_pre_tokenizer(folder, rules))
    writer.add_token_merges([_merge(pair) for pair in rules["model"]["merges"]])


def _merge(pair: Any) -> str:
    return pair if isinstance(pair, str) else " ".join(pair)


def _pre_tokenizer(folder: Path, rules: dict[str, Any]) -> str:
    """llama.cpp's name of the word pattern. Raises: DataError if it has none."""
    pre = rules["pre_tokenizer"] or {}
    parts = pre.get("pretokenizers", [pre])
    byte_level = parts[-1]
    if byte_level.get("type") == "ByteLevel" and not byte_level["add_prefix_space"]:
        if len(parts) == 1 and byte_level["use_regex"]:
            return PRE_TOKENIZERS[SPLITS["free"]]
        if len(parts) == 2 and parts[0]["type"] == "Split" and not byte_level["use_regex"]:
            pattern = parts[0]["pattern"].get("Regex")
            if pattern in PRE_TOKENIZERS and parts[0]["behavior"] == "Isolated" and not parts[0]["invert"]:
                return PRE_TOKENIZERS[pattern]
    raise DataError(f"{folder}: GGUF has no name for the tokenizer's word pattern; known are {_names()}")


def _names() -> str:
    return ", ".join(PRE_TOKENIZERS.values())


def _add_sentencepiece(writer: Any, folder: Path, rules: dict[str, Any], tokens: list[str]) -> None:
    """Add merges as scores: an earlier merge has a higher score."""
    first: dict[str, int] = {}
    for rank, pair in enumerate(rules["model"]["merges"]):
        first.setdefault(_merge(pair).replace(" ", "", 1), rank)
    after = len(first)
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_scores([-float(first.get(token, after)) for token in tokens])
    writer.add_add_space_prefix(_adds_space(rules))


def _adds_space(rules: dict[str, Any]) -> bool:
    pre, normal = rules["pre_tokenizer"] or {}, json.dumps(rules["normalizer"], ensure_ascii=False)
    return pre.get("prepend_scheme", "never") != "never" or f'"prepend": "{SPACE}"' in normal
