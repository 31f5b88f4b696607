"""The files by which transformers, TRL and vLLM load a fast tokenizer."""

import json
from pathlib import Path

from tokenizers import Tokenizer

from megalite.tokenizer.special_tokens import CHAT_TEMPLATE, SpecialTokens

WRITTEN = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "tokenizer.model",
    "design_report.json",
    "design_report.html",
)
"""All names that training a tokenizer writes."""


def write_tokenizer(
    tokenizer: Tokenizer, folder: Path, special: SpecialTokens | None = None, chat_template: str = CHAT_TEMPLATE
) -> None:
    """``tokenizer.json`` and what says which token plays which role."""
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
