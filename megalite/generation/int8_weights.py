"""A Hugging Face folder with the weights of its linear layers in int8, by torchao; safetensors, and nothing pickled."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.files.model_folder import TOKENIZER_FILES, known_files
from megalite.files.whole_folder import whole_folder
from megalite.huggingface.load import load_config, load_weights

FORMATS = {
    "int8": "int8 weights, one scale a row; the products in the model's own precision",
    "int8-dynamic": "the same, and activations rounded to int8 when used: integer products",
}


def check_int8(folder: Path) -> None:
    """Refuse before any work. Raises: ConfigError without torchao, DataError for a folder that is quantised already."""
    if find_spec("torchao") is None:
        raise ConfigError("int8 needs the package torchao; pip install 'megalite[quantize]'")
    if getattr(load_config(str(folder)), "quantization_config", None) is not None:
        raise DataError(f"{folder}: is quantised already; start from the folder that it was made of")


def write_int8(folder: Path, output: Path, kind: str, card: str) -> None:
    """Write ``output``, whole or not at all: weights, configs, tokenizer, and ``card`` as its README.md.

    Embeddings, the head and norms stay as they are; a head that is tied stays tied.

    Raises: DataError where the folder cannot be loaded.
    """
    check_int8(folder)
    import transformers

    quantization = transformers.TorchAoConfig(_config_of(kind))
    model = load_weights(str(folder), dtype="auto", device_map="cpu", quantization_config=quantization)
    with whole_folder(output) as partial:
        model.save_pretrained(partial)
        for path in known_files(folder, TOKENIZER_FILES):
            shutil.copyfile(path, partial / path.name)
        (partial / "README.md").write_text(card, encoding="utf-8")
        if foreign := [path.name for path in partial.iterdir() if path.suffix in (".bin", ".pt", ".pkl")]:
            raise DataError(f"{output}: torchao would have pickled {foreign[0]}; nothing was written")


def _config_of(kind: str) -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig

    return Int8WeightOnlyConfig() if kind == "int8" else Int8DynamicActivationInt8WeightConfig()
