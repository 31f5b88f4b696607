"""The only module that opens models, tokenizers and configs with transformers, plus the checks that it omits.

``from_pretrained`` fills missing tensors with random numbers and only logs it, asks on standard input whether to run a
folder's own code, and accepts NaN. All of these are errors here.
"""

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError, in_one_line
from megalite.huggingface.architecture import check_architecture, refuse_differences
from megalite.huggingface.check_folder import CONFIG, check_model_folder, is_gguf, read_config
from megalite.huggingface.config_bounds import check_bounds
from megalite.huggingface.quiet_libraries import quiet_libraries
from megalite.huggingface.tensor_headers import TensorHeader, tensor_headers
from megalite.templates.render import guard_chat_templates

HUB_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")
"""What to download from the hub: no pickles, no code."""
PROBE = "A text, 1 2."
"""Encoded once after loading: some errors in a tokenizer's files only appear in use."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt")


def load_model(model: str) -> tuple[Any, Any]:
    """``(model, tokenizer)`` of a decoder, on the accelerator if there is one. Also reads a ``.gguf`` file.

    On the CPU the weights are converted to fp32; on an accelerator they keep their stored dtype.

    Raises: DataError, FileNotFoundError.
    """
    config = load_config(model)
    tokenizer = load_tokenizer(model, config)
    import torch

    device = _device()
    dtype = "auto" if device.type != "cpu" else torch.float32
    return load_weights(model, config, dtype=dtype).to(device).eval(), tokenizer


def load_config(model: str) -> Any:
    """The config of a decoder, after checking that all weights exist in the right shapes. No weight is read.

    Raises: DataError, FileNotFoundError.
    """
    check_model_folder(model)
    folder, file = _local_path(model)
    headers: dict[str, TensorHeader] = {}
    if file:
        _check_gguf(model)
    else:
        headers = tensor_headers(folder)
        values = read_config(folder)
        check_bounds(folder / CONFIG, values, len(headers), sum(header.elements for header in headers.values()))
    quiet_libraries()
    import transformers

    with loading(model):
        config = transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False, **file)
        if type(config) not in transformers.AutoModelForCausalLM._model_mapping:
            raise DataError(f"{model}: a '{config.model_type}' model, which does not generate text")
        if headers:
            _check_quantization(model, config)
            check_architecture(folder, config, headers)
    return config


def load_tokenizer(model: str, config: Any | None = None) -> Any:
    """The tokenizer alone.

    Args:
        config: the model's config, to check that the model embeds all ids of the tokenizer.

    Raises: DataError, FileNotFoundError.
    """
    check_model_folder(model)
    quiet_libraries()
    import transformers

    guard_chat_templates()
    folder, file = _local_path(model)
    if not file and not any((folder / name).is_file() for name in TOKENIZERS):
        raise DataError(
            f"{model}: contains no tokenizer (none of {', '.join(TOKENIZERS)}); copy the tokenizer's files there"
        )
    with loading(model, "its tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **file)
        largest = max(tokenizer.get_vocab().values(), default=-1)
        tokenizer.decode(tokenizer(PROBE)["input_ids"])
    if config is not None and largest >= (rows := config.get_text_config().vocab_size):
        raise DataError(
            f"{model}: its tokenizer has ids up to {largest:,}, but the model embeds {rows:,}; they do not match"
        )
    return tokenizer


def load_weights(model: str, config: Any | None = None, **options: Any) -> Any:
    """The model with its weights.

    Args:
        config: the result of ``load_config``, if already called.
        options: ``dtype``, ``attn_implementation``, ``quantization_config``, ``device_map`` of ``from_pretrained``.

    Raises: DataError for a tensor that is missing, unexpected, of another shape, or contains NaN or infinity.
    """
    config = load_config(model) if config is None else config
    import transformers

    folder, file = _local_path(model)
    if not file:
        _check_memory(model, tensor_headers(folder), options)
    with loading(model):
        opened: Any = transformers.AutoModelForCausalLM.from_pretrained(  # a pair, because of output_loading_info
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **file,
            **options,
        )
    loaded, report = opened
    differences = (sorted(report[key], key=str) for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    refuse_differences(model, config.model_type, *differences)
    if report["error_msgs"]:
        raise DataError(f"{model}: cannot be loaded: {in_one_line(report['error_msgs'][0])}")
    check_finite(model, loaded)
    return loaded


def check_finite(model: str, loaded: Any) -> None:
    """Refuse weights and rotary frequencies that are NaN or infinite. Raises: DataError."""
    buffers = [(name, buffer) for name, buffer in loaded.named_buffers() if name.endswith("inv_freq")]
    for name, tensor in [*loaded.named_parameters(), *buffers]:
        held = getattr(tensor, "ds_tensor", tensor)  # this rank's part under ZeRO-3
        if not held.numel() or not held.is_floating_point() or held.is_meta or type(held.data).__name__ != "Tensor":
            continue  # another rank's partition, a quantized tensor, or not materialized
        low, high = held.detach().aminmax()  # NaN if any value is; ten times faster on CPU than isfinite().all()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(
                f"{model}: '{name}' contains NaN or infinity; the model is damaged, download the folder again"
            )


@contextmanager
def loading(model: str, what: str = "") -> Iterator[None]:
    """Turns whatever a library raises for a damaged or unknown folder into a DataError of one line."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{model}: {what + ' ' if what else ''}cannot be loaded: {in_one_line(error)}") from None


def start_of_text(tokenizer: Any) -> int:
    """The token that precedes a document, as in pretraining: bos, or else eos. Raises: DataError."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise DataError("the tokenizer has neither a bos nor an eos token; set one in its tokenizer_config.json")
    return int(start)


def _local_path(model: str) -> tuple[Path, dict[str, str]]:
    """The local folder, and ``gguf_file`` for a GGUF file. A model on the hub is downloaded and checked like any other."""
    path = Path(model)
    if is_gguf(model):
        return path.parent, {"gguf_file": path.name}
    if path.exists():
        return path, {}
    import huggingface_hub

    with loading(model):
        got = huggingface_hub.snapshot_download(
            model, allow_patterns=list(HUB_FILES), ignore_patterns=["*/*", "consolidated*"]
        )
    check_model_folder(got)
    return Path(got), {}


def _check_quantization(model: str, config: Any) -> None:
    """Refuse a quantization method that transformers would ignore. Raises: DataError."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    given = getattr(config, "quantization_config", None)
    method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
    if given is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise DataError(f"{model}: is quantized by {method!r}, which transformers does not support; use another format")


def _check_gguf(model: str) -> None:
    """Refuse a file with more layers than tensors. Raises: DataError."""
    import gguf

    with loading(model):
        reader = gguf.GGUFReader(model)
        layers = [int(f.contents()) for name, f in reader.fields.items() if name.endswith(".block_count")]
    check_bounds(Path(model), {"num_hidden_layers": max(layers, default=0)}, len(reader.tensors), 0)


def _check_memory(model: str, headers: dict[str, TensorHeader], options: dict[str, Any]) -> None:
    """Refuse weights that do not fit into this machine's memory: a file can claim any size. Raises: DataError."""
    if _device().type != "cpu" or not hasattr(os, "sysconf"):
        return
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    width = 4 if "32" in str(options.get("dtype")) else 1
    if (needed := width * sum(header.elements for header in headers.values())) > memory:
        raise DataError(
            f"{model}: its weights take {needed:,} bytes, this machine has {memory:,}; use a larger machine"
        )


def _device() -> Any:
    """This rank's accelerator, or the CPU."""
    import torch

    if not torch.accelerator.is_available():
        return torch.device("cpu")
    kind = torch.accelerator.current_accelerator()
    return torch.device(str(kind), int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else kind
