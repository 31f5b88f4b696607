"""Checks in milliseconds, without torch, that a path is a model folder and that its small files are readable."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.config.text_files import kind_of, read_json_object
from megalite.files.model_folder import model_folder_of

GGUF = ".gguf"
CONFIG = "config.json"
DESCRIPTIONS = ("generation_config.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Optional JSON files of a folder; transformers silently ignores some of them if they are damaged."""
PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.msgpack", "*.h5")
ATTENTION = ("eager", "sdpa", "flash_attention_2", "flash_attention_3", "flash_attention_4", "flex_attention")
"""Implementations in transformers or in packages. transformers downloads any other name from the hub as a kernel."""
ATTENTION_KEYS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal")
DTYPES = ("float32", "float16", "bfloat16", "float64")


def is_gguf(model: str) -> bool:
    return Path(model).suffix == GGUF and Path(model).is_file()


def check_model_folder(model: str) -> None:
    """Refuse a path that is not a model folder, or a folder with damaged descriptions, pickled weights or code.

    A name on the hub (``owner/name``) passes. Raises: DataError, FileNotFoundError, OSError.
    """
    path = Path(model)
    if not model.strip():
        raise FileNotFoundError(f"'{model}': no such model folder; give a path, or a name on the hub")
    if is_gguf(model):
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise DataError(f"{model}: is not a GGUF file (it does not begin with 'GGUF'); download it again")
        return
    if not path.exists():
        if path.is_absolute() or len(path.parts) > 2 or path.parts[:1] in (("..",), ("~",)):
            raise FileNotFoundError(f"{model}: no such model folder; check the path")
        return
    if not path.is_dir():
        raise DataError(f"{model}: is a file; give a model folder or a {GGUF} file")
    if not (path / CONFIG).is_file():
        raise DataError(f"{model}: is not a model folder (it contains no {CONFIG}){_hint(path)}")
    read_config(path)
    if not any(path.glob("*.safetensors")) and not (path / "model.safetensors.index.json").is_file():
        pickle = next((file.name for pattern in PICKLES for file in sorted(path.glob(pattern))), None)
        if pickle is not None:
            raise DataError(
                f"{model}: its weights are in {pickle}, a format that can run code when opened; convert it to .safetensors, "
                f"or download the folder with .safetensors"
            )
        raise DataError(f"{model}: is not a model folder (it contains no .safetensors weights)")


def read_config(folder: Path) -> dict[str, Any]:
    """The content of ``config.json``, after all descriptions are checked. Raises: DataError, OSError."""
    try:
        config = read_json_object(folder / CONFIG)
        others = {name: read_json_object(folder / name) for name in DESCRIPTIONS if (folder / name).is_file()}
    except ConfigError as error:
        raise DataError(str(error)) from None
    for name, values in ((CONFIG, config), *others.items()):
        if "auto_map" in values:
            raise DataError(
                f"{folder / name}: needs Python code from the folder ('auto_map'), which is never run; remove the key to "
                f"load the folder with transformers' own classes, if they support its model_type"
            )
    if (folder / "adapter_config.json").is_file():
        raise DataError(f"{folder}: contains an adapter (adapter_config.json); merge it into its base model first")
    _check_config(folder / CONFIG, config)
    _check_tokenizer(folder / "tokenizer_config.json", others.get("tokenizer_config.json", {}))
    _check_generation(folder / "generation_config.json", others.get("generation_config.json", {}))
    return config


def _check_config(path: Path, config: dict[str, Any]) -> None:
    if not isinstance(config.get("model_type"), str):
        raise DataError(f"{path}: 'model_type' is {kind_of(config.get('model_type'))}; set the model's type")
    for key, value in _walk(config):
        if key in ATTENTION_KEYS and value is not None and value not in ATTENTION:
            raise DataError(f"{path}: {key}={value!r} is not in transformers; use one of {', '.join(ATTENTION)}")
        if key in ("dtype", "torch_dtype") and value is not None and str(value).removeprefix("torch.") not in DTYPES:
            raise DataError(f"{path}: {key}={value!r} is not a dtype of weights; use one of {', '.join(DTYPES)}")


def _check_tokenizer(path: Path, values: dict[str, Any]) -> None:
    longest = values.get("model_max_length")
    if longest is not None and (isinstance(longest, bool) or not isinstance(longest, (int, float)) or longest < 1):
        raise DataError(f"{path}: model_max_length is {str(longest)[:40]!r}; give a number of tokens, or null")


def _check_generation(path: Path, values: dict[str, Any]) -> None:
    for key in ("output_attentions", "output_hidden_states", "output_scores", "output_logits", "use_cache"):
        if not isinstance(values.get(key), (bool, type(None))):
            raise DataError(f"{path}: {key} is {kind_of(values[key])}; give true, false or null")
    for role in ("bos_token_id", "eos_token_id", "pad_token_id"):
        given = values.get(role)
        ids = given if isinstance(given, list) else [] if given is None else [given]
        if not all(isinstance(number, int) and not isinstance(number, bool) and number >= -1 for number in ids):
            raise DataError(f"{path}: {role}={given!r} is not a token id; give an integer, a list of integers, or null")


def _walk(values: Any) -> Iterator[tuple[str, Any]]:
    """Every ``(key, value)`` of all objects inside a JSON value."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield key, value
            yield from _walk(value)
    elif isinstance(values, list):
        for value in values:
            yield from _walk(value)


def _hint(path: Path) -> str:
    if (path / "adapter_config.json").is_file():
        return "; it contains an adapter: merge it into its base model first"
    meant = model_folder_of(str(path))
    return f"; did you mean {meant}?" if meant != str(path) else ""
