"""Load the config and the tokenizer of the model to tune, and choose its chat template."""

import os
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.huggingface.check_folder import is_gguf
from megalite.huggingface.load import load_config, load_tokenizer
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.schema import TuningRun


def load_config_and_tokenizer(model: str) -> tuple[Any, Any]:
    """Return ``(transformers config, tokenizer)`` without loading weights. Raises: DataError if one is unusable."""
    if is_gguf(model):
        raise DataError(f"{model}: a GGUF file cannot be tuned; give the model folder it was made from")
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports every trainer otherwise
    config = load_config(model)
    if getattr(config, "quantization_config", None) is not None:
        raise DataError(f"{model}: a quantized model cannot be tuned; give the folder it was made from")
    _check_class(model, config)
    tokenizer = load_tokenizer(model, config)
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"{model}: the tokenizer has neither a pad nor an eos token; name one in its config")
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token will do
    return config, tokenizer


def _check_class(model: str, config: Any) -> None:
    """Refuse a folder that names another class than the causal LM: TRL loads that class as the reference model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    own = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES[config.model_type]
    if list(config.architectures or ()) != [own]:
        raise DataError(f"{model}/config.json: architectures={config.architectures!r}; set it to ['{own}']")


def read_template(config: TuningRun) -> str | None:
    """The text of ``data.chat_template``; None for the tokenizer's own. Raises: FileNotFoundError, DataError."""
    if config.data.chat_template is None:
        return None
    path = Path(config.data.chat_template)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such chat template; give a Jinja file in data.chat_template")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 text: {error}") from None


def chat_encoder(config: TuningRun, tokenizer: Any, template: str | None) -> ChatEncoder:
    """The encoder of the run. Its template is set in ``tokenizer`` and exported with it."""
    source = config.data.chat_template or config.model.path
    encoder = ChatEncoder(tokenizer, source, template, config.data.parse_special_tokens)
    tokenizer.chat_template = encoder.template
    return encoder


def sequence_limit(config: TuningRun, model_config: Any) -> None:
    """Raises: DataError if samples may be longer than the model's positions."""
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and config.data.sequence_length > limit:
        raise DataError(
            f"{config.model.path}: max_position_embeddings={limit} is less than data.sequence_length="
            f"{config.data.sequence_length}; lower data.sequence_length"
        )
