"""Write a Llama folder as one GGUF file for llama.cpp, with one tensor in memory.

Names and metadata come from the ``gguf`` package. Format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import track

from megalite.config.errors import ConfigError, DataError
from megalite.config.screen import screen
from megalite.files.whole_file import whole_file
from megalite.huggingface.load import load_config

KINDS = {"f32": "ALL_F32", "f16": "MOSTLY_F16", "bf16": "MOSTLY_BF16", "q8_0": "MOSTLY_Q8_0"}
"""Types of the matrices, and llama.cpp's names of such files. q8_0 has 32 bytes and an f16 scale for every 32 weights."""


@dataclass(frozen=True)
class GgufWritten:
    """A written file."""

    file: Path
    tensors: int
    bytes: int
    wider: tuple[str, ...]
    """Matrices that are f16 in a q8_0 file, because their rows are not a multiple of the block size."""


def check_gguf(folder: Path, kind: str) -> Any:
    """Return the folder's config. Raises: ConfigError or DataError if it cannot be written as GGUF."""
    if kind not in KINDS:
        raise ConfigError(f"GGUF type {kind}: unknown; choose one of {', '.join(KINDS)}")
    config = load_config(str(folder))
    if config.model_type != "llama":
        raise DataError(f"{folder}: a '{config.model_type}' model; only 'llama' can be written as GGUF")
    if (rope := config.rope_parameters["rope_type"]) != "default":
        raise DataError(f"{folder}: rope_type '{rope}' cannot be written as GGUF; only 'default' can")
    if getattr(config, "quantization_config", None) is not None:
        raise DataError(f"{folder}: already quantized; use the folder it was made from")
    return config


def write_gguf(folder: Path, output: Path, kind: str) -> GgufWritten:
    """Write ``output``, which appears only when it is complete. Norms and biases are always f32.

    Raises: ConfigError, DataError.
    """
    config = check_gguf(folder, kind)
    import gguf
    import numpy as np

    from megalite.export.gguf_vocabulary import add_vocabulary
    from megalite.training.checkpoint.tensor_files import TensorFiles

    tensors = TensorFiles(folder, "model")
    gguf_names = _gguf_names([name for name in tensors.names() if not _left_out(name, config)], config)
    types = {}
    with whole_file(output) as partial:
        writer = gguf.GGUFWriter(Path(partial.name), "llama")
        writer.add_name(folder.resolve().name)
        _add_shape(writer, config)
        writer.add_file_type(gguf.LlamaFileType[KINDS[kind]])
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
        add_vocabulary(writer, folder, config.vocab_size)
        for name, gguf_name in gguf_names.items():
            shape = tuple(tensors.read(name).shape)
            types[name] = _type_of(shape, kind)
            block, block_bytes = gguf.GGML_QUANT_SIZES[types[name]]
            size = math.prod(shape) // block * block_bytes
            writer.add_tensor_info(gguf_name, shape, np.dtype(np.float32), size, types[name])
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_ti_data_to_file()
        for name in track(gguf_names, "writing", disable=not screen().is_terminal):
            weights = _permuted(tensors.read(name).float().numpy(), name, config)
            if not np.isfinite(weights).all() or (types[name].name == "F16" and np.abs(weights).max() > 65504):
                raise DataError(
                    f"{folder}: tensor '{name}' has values outside the range of {types[name].name}; choose f32"
                )
            writer.write_tensor_data(gguf.quants.quantize(weights, types[name]))
        writer.close()
    wider = tuple(name for name, type_ in types.items() if kind == "q8_0" and type_.name == "F16")
    return GgufWritten(output, len(types), output.stat().st_size, wider)


def _left_out(name: str, config: Any) -> bool:
    """A tied head is the embedding; the inverse frequencies of old folders follow from theta."""
    return (name == "lm_head.weight" and config.tie_word_embeddings) or name.endswith("rotary_emb.inv_freq")


def _gguf_names(names: list[str], config: Any) -> dict[str, str]:
    """llama.cpp's names of the tensors, sorted. Raises: DataError if a tensor has none."""
    import gguf

    known = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    found: dict[str, str] = {}
    for name in names:
        if (gguf_name := known.get_name(name, (".weight", ".bias"))) is None:
            raise DataError(f"tensor '{name}' has no name in GGUF's llama, so it would be lost")
        found[name] = gguf_name
    return dict(sorted(found.items(), key=lambda item: item[1]))


def _add_shape(writer: Any, config: Any) -> None:
    writer.add_vocab_size(config.vocab_size)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _type_of(shape: tuple[int, ...], kind: str) -> Any:
    import gguf

    if len(shape) == 1:
        return gguf.GGMLQuantizationType.F32
    wanted = gguf.GGMLQuantizationType[kind.upper()]
    return wanted if shape[-1] % gguf.GGML_QUANT_SIZES[wanted][0] == 0 else gguf.GGMLQuantizationType.F16


def _permuted(weights: Any, name: str, config: Any) -> Any:
    """Reorder rows of q and k: llama.cpp rotates pairs of neighbours, transformers pairs from the two halves."""
    if ".q_proj." in name:
        heads = config.num_attention_heads
    elif ".k_proj." in name:
        heads = config.num_key_value_heads
    else:
        return weights
    halves = weights.reshape(heads, 2, config.head_dim // 2, *weights.shape[1:])
    return halves.swapaxes(1, 2).reshape(weights.shape)
