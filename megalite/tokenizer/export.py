"""Copy a tokenizer into a model folder so that ``AutoTokenizer`` gives the ids that the model was trained on."""

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
"""The word lists are contained in ``tokenizer.json``."""
FAST = {"tokenizer_class": "PreTrainedTokenizerFast"}
"""This class uses ``tokenizer.json`` as it is; the classes of model types rebuild the tokenizer from its vocabulary."""
BY_SENTENCEPIECE = {"tokenizer_class": "SentencePieceBackend", "backend": "sentencepiece", "legacy": True}
"""This class encodes with sentencepiece itself."""
DROPPED = ("auto_map", "tokenizer_class", "tokenizer_file", "vocab_file", "backend", "legacy", "sp_model_kwargs")
"""Config keys that name code or another encoder."""


def export_tokenizer(source: Path, target: Path) -> tuple[LoadedTokenizer, list[Path]]:
    """Copy a tokenizer folder or a single ``tokenizer.json``; returns the loaded tokenizer and the files written.

    The result always has a ``tokenizer.json`` and a config that names the end-of-text token. Without them, transformers
    would guess by the model's type, and guess wrong. A sentencepiece model that cannot be converted stays a
    ``tokenizer.model``.
    """
    loaded = load_tokenizer(source, parse_special_tokens=True)  # independent of the rule that the data was made with
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
    """Compare ``AutoTokenizer`` with the tokenizer of the training on hard texts. Raises: DataError if ids differ."""
    from transformers import AutoTokenizer

    own = load_tokenizer(folder, parse_special_tokens=True).tokenizer
    own.encode_special_tokens = True
    auto: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for text in HARD_TEXTS:
        theirs = auto(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
        if theirs != own.encode(text, add_special_tokens=False).ids:
            raise DataError(
                f"{folder}: AutoTokenizer gives other ids than the tokenizer of the training, for example for "
                f"{text[:40]!r}; use another version of transformers"
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
