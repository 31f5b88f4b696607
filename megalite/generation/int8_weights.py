"""Quantizes the linear layers of a Hugging Face folder to int8 with torchao. Writes safetensors, no pickles."""

import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from megalite.config.errors import ConfigError, DataError
from megalite.files.model_folder import TOKENIZER_FILES, known_files
from megalite.files.whole_folder import whole_folder
from megalite.huggingface.load import load_config, load_weights

FORMATS = {
    "int8": "int8 weights with one scale per row; matrix products in the model's dtype",
    "int8-dynamic": "int8 weights and dynamically quantized activations; integer matrix products",
}


def check_int8(folder: Path) -> None:
    """Raises: ConfigError without torchao, DataError for a folder that is quantized already."""
    if find_spec("torchao") is None:
        raise ConfigError("int8 needs the package torchao; pip install 'megalite[quantize]'")
    if getattr(load_config(str(folder)), "quantization_config", None) is not None:
        raise DataError(f"{folder}: is already quantized; use the original folder")


def write_int8(folder: Path, output: Path, kind: str, card: str) -> None:
    """Write weights, configs, tokenizer, and ``card`` as README.md to ``output``, all or nothing.

    Embeddings, head and norms are unchanged; a tied head stays tied.

    Raises: DataError if the folder cannot be loaded.
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
            raise DataError(f"{output}: torchao wrote a pickle, {foreign[0]}; the output was discarded")


def _config_of(kind: str) -> Any:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig

    return Int8WeightOnlyConfig() if kind == "int8" else Int8DynamicActivationInt8WeightConfig()
