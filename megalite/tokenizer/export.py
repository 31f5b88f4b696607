"""A tokenizer put into a model's folder, so that ``AutoTokenizer`` gives the ids that the model was trained on."""

import json
import shutil
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.config.text_files import read_json_object
from megalite.files.model_folder import TOKENIZER_FILES, WORD_LISTS, known_files
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer
from megalite.tokenizer.special_text import special_names

COPIED = tuple(name for name in TOKENIZER_FILES if name not in (*WORD_LISTS, "tokenizer_config.json"))
"""``tokenizer.json`` holds what the lists hold."""
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
"""Takes a ``tokenizer.json`` as it is; the classes of model types build another from its vocabulary."""
BY_SENTENCEPIECE = {"tokenizer_class": "SentencePieceBackend", "backend": "sentencepiece", "legacy": True}
"""Encodes with sentencepiece itself."""
DROPPED = ("auto_map", "tokenizer_class", "tokenizer_file", "vocab_file", "backend", "legacy", "sp_model_kwargs")
"""Settings of a config that name code, or another way to encode."""


def export_tokenizer(source: Path, target: Path) -> tuple[LoadedTokenizer, list[Path]]:
    """Copy a tokenizer folder (or a bare ``tokenizer.json``); returns it loaded, and the files written.

    There is always a ``tokenizer.json`` and a config that names the end-of-text token: from GPT-2's ``vocab.json`` and
    ``merges.txt``, or from a lone ``tokenizer.json``, transformers would guess by the model's type, and guess wrong. A
    sentencepiece model without an equal ``tokenizer.json`` is left to sentencepiece.
    """
    loaded = load_tokenizer(source, parse_special_tokens=True)  # whichever rule the data was made by
    loaded.tokenizer.encode_special_tokens = True
    is_fast = isinstance(loaded.tokenizer, Tokenizer)
    written = []
    for path in known_files(source, COPIED if is_fast else ("chat_template.jinja",)) if source.is_dir() else ():
        shutil.copyfile(path, target / path.name)
        written.append(target / path.name)
    if is_fast and (file := target / "tokenizer.json") not in written:
        loaded.tokenizer.save(str(file))
        written.append(file)
    if not is_fast:
        (target / "tokenizer.model").write_bytes(loaded.tokenizer.content)
        written.append(target / "tokenizer.model")
    config = target / "tokenizer_config.json"
    config.write_text(json.dumps(_config(source, loaded, is_fast), indent=2, ensure_ascii=False) + "\n")
    return loaded, [*written, config]


def check_exported(folder: Path) -> None:
    """Compare what ``AutoTokenizer`` opens with what the data was made with.

    Raises: DataError where it gives other ids for one of many hard texts.
    """
    from transformers import AutoTokenizer

    own = load_tokenizer(folder, parse_special_tokens=True).tokenizer
    own.encode_special_tokens = True
    auto: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for text in HARD_TEXTS:
        theirs = auto(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if theirs != own.encode(text, add_special_tokens=False).ids:
            raise DataError(
                f"{folder}: AutoTokenizer gives other ids than the tokenizer of the training, for instance for "
                f"{text[:40]!r}; take another version of transformers"
            )


def _config(source: Path, loaded: LoadedTokenizer, is_fast: bool) -> dict[str, Any]:
    theirs = source / "tokenizer_config.json"
    config = read_json_object(theirs) if source.is_dir() and theirs.is_file() else {}
    ids = {"bos_token": loaded.bos_id, "eos_token": loaded.eos_id, "pad_token": loaded.pad_id}
    roles = {role: loaded.tokenizer.id_to_token(number) for role, number in ids.items() if number is not None}
    roles |= {} if is_fast else loaded.tokenizer.roles()
    config = {key: value for key, value in config.items() if key not in DROPPED}
    if is_fast:
        return FAST | {"model_input_names": ["input_ids", "attention_mask"]} | config | roles
    others = [name for name in special_names(loaded.tokenizer) if name not in roles.values()]
    return BY_SENTENCEPIECE | config | roles | {"add_bos_token": False, "additional_special_tokens": others}
