"""Write the files from which transformers, TRL and vLLM load a fast tokenizer, and check them."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from megalite.config.errors import DataError
from megalite.tokenizer.hard_texts import HARD_TEXTS
from megalite.tokenizer.load import load_tokenizer
from megalite.tokenizer.sample.sampling import read_texts
from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, SpecialTokens

COMPARED = 1000
"""Number of sample texts on which the written tokenizer is checked, in addition to the hard ones."""

WRITTEN = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
    "design_report.json",
    "design_report.html",
)
"""All files of a trained tokenizer."""


def write_tokenizer(
    tokenizer: Tokenizer, folder: Path, special: SpecialTokens | None = None, chat_template: str = CHAT_TEMPLATE
) -> None:
    """Write ``tokenizer.json``, the configs and the chat template."""
    special = special or SpecialTokens()
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": 10**9,
        "clean_up_tokenization_spaces": False,
        "add_bos_token": False,
        "model_input_names": ["input_ids", "attention_mask"],
        "extra_special_tokens": special.extra(),
        **special.roles(),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n")
    (folder / "special_tokens_map.json").write_text(json.dumps(special.roles(), indent=2, ensure_ascii=False) + "\n")
    (folder / "chat_template.jinja").write_text(chat_template)


def check_written(folder: Path, tokenizer: Any, sample: Path) -> str:
    """Load the folder and compare its ids with those of the trained tokenizer; returns a phrase that describes the check.

    Raises: DataError if they differ from the trained tokenizer, or from sentencepiece with its own model.
    """
    texts = [*islice(read_texts(sample), COMPARED), *HARD_TEXTS]
    loaded, model = load_tokenizer(folder), folder / "tokenizer.model"
    own, name = tokenizer, "the trained tokenizer"
    if model.is_file():
        from megalite.tokenizer.formats.sentencepiece_tokenizer import SentencePieceTokenizer

        own, name = SentencePieceTokenizer(model.read_bytes()), "sentencepiece"
    own.encode_special_tokens = True
    for text, row in zip(texts, own.encode_batch_fast(texts, add_special_tokens=False), strict=True):
        if loaded.tokenizer.encode(text, add_special_tokens=False).ids != row.ids:
            raise DataError(f"{folder}: gives other ids than {name} for {text[:40]!r}; use other training options")
    return f"{loaded.check}, equal to {name} on {len(texts):,} texts"
