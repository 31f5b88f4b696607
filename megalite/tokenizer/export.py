"""A tokenizer put into a model's folder, so that ``AutoTokenizer`` gives the ids that the model was trained on."""

import json
import shutil
from pathlib import Path

from megalite.files.model_folder import TOKENIZER_FILES, WORD_LISTS, known_files
from megalite.tokenizer.load import LoadedTokenizer, load_tokenizer

COPIED = tuple(name for name in TOKENIZER_FILES if name not in WORD_LISTS)
"""``tokenizer.json`` holds what the lists hold."""


def export_tokenizer(source: Path, target: Path) -> tuple[LoadedTokenizer, list[Path]]:
    """Copy a tokenizer folder (or a bare ``tokenizer.json``); returns it loaded, and the files written.

    There is always a ``tokenizer.json`` and a config that names the end-of-text token: from GPT-2's ``vocab.json`` and
    ``merges.txt``, or from a lone ``tokenizer.json``, transformers would guess by the model's type, and guess wrong.
    """
    loaded = load_tokenizer(source)
    written = []
    for path in known_files(source, COPIED) if source.is_dir() else ():
        shutil.copyfile(path, target / path.name)
        written.append(target / path.name)
    if (file := target / "tokenizer.json") not in written:
        loaded.tokenizer.save(str(file))
        written.append(file)
    if (file := target / "tokenizer_config.json") not in written:
        ids = {"bos_token": loaded.bos_id, "eos_token": loaded.eos_id, "pad_token": loaded.pad_id}
        roles = {role: loaded.tokenizer.id_to_token(number) for role, number in ids.items() if number is not None}
        names = {"tokenizer_class": "PreTrainedTokenizerFast", "model_input_names": ["input_ids", "attention_mask"]}
        file.write_text(json.dumps(names | roles, indent=2) + "\n")
        written.append(file)
    return loaded, written
