"""Opening the model folder that is tuned, with a plain word where it is not one."""

import os
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.export.quiet_libraries import quiet_libraries
from megalite.posttraining.chat_mask import ChatEncoder
from megalite.posttraining.schema import TuningRun

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")


def check_model_folder(model: str) -> None:
    """Refuse a path that is no model folder; a name of the hub (``owner/name``) passes.

    Raises: DataError, FileNotFoundError.
    """
    path = Path(model)
    if not path.exists():
        if path.is_absolute() or len(path.parts) != 2:
            raise FileNotFoundError(f"{model}: no such model folder; give one in model.path")
        return
    if not path.is_dir():
        raise DataError(f"{model}: is a file, not a model folder")
    if not (path / "config.json").is_file():
        inner = [path / "hf", *sorted(path.glob("step-*/hf"), reverse=True)]
        hint = next((f"; did you mean {folder}?" for folder in inner if (folder / "config.json").is_file()), "")
        raise DataError(f"{model}: is no model folder (no config.json in it){hint}")
    if not any(file for pattern in WEIGHTS for file in path.glob(pattern)):
        raise DataError(f"{model}: is no model folder (no .safetensors weights in it)")


def load_config_and_tokenizer(model: str) -> tuple[Any, Any]:
    """``(transformers config, tokenizer)``, weights untouched. Raises: DataError where one is missing or broken."""
    check_model_folder(model)
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")  # TRL reports each trainer otherwise
    quiet_libraries()
    import transformers

    try:
        config = transformers.AutoConfig.from_pretrained(model)
        if type(config) not in transformers.AutoModelForCausalLM._model_mapping:
            raise DataError(f"{model}: a {config.model_type} model, which does not continue text")
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{model}: is no model folder: {_line(error)}") from None
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{model}: no tokenizer that can be loaded: {_line(error)}") from None
    if len(tokenizer) > config.get_text_config().vocab_size:
        raise DataError(
            f"{model}: the tokenizer has {len(tokenizer)} tokens, the model's vocabulary only "
            f"{config.get_text_config().vocab_size}; they do not belong together"
        )
    if tokenizer.pad_token is None:
        if tokenizer.eos_token is None:
            raise DataError(f"{model}: the tokenizer names neither a pad nor an eos token; name one in its config")
        tokenizer.pad_token = tokenizer.eos_token  # padding is masked, so any token serves
    return config, tokenizer


def read_template(config: TuningRun) -> str | None:
    """The text of ``data.chat_template``, None where the tokenizer's own is taken. Raises: FileNotFoundError, DataError."""
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
    """The encoder of the run, its template put into ``tokenizer`` so that it travels with the export."""
    encoder = ChatEncoder(tokenizer, config.data.chat_template or config.model.path, template)
    tokenizer.chat_template = encoder.template
    return encoder


def sequence_limit(config: TuningRun, model_config: Any) -> None:
    """Refuse samples longer than the model's positions. Raises: DataError."""
    limit = getattr(model_config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and config.data.sequence_length > limit:
        raise DataError(
            f"{config.model.path}: max_position_embeddings={limit} is less than data.sequence_length="
            f"{config.data.sequence_length}; take shorter samples"
        )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
