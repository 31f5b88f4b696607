"""The only place that opens models, tokenizers and configs by transformers; what it does not report as wrong is checked.

``from_pretrained`` fills a missing tensor with random numbers and only logs it, asks on standard input whether to run a
folder's own code, and takes numbers that are none. None of that passes here.
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
"""What is got from the hub: no pickles, and no code."""

PROBE = "A text, 1 2."
"""What a tokenizer must take at least: some mistakes in its files only show when it is used."""
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json", "vocab.txt")


def load_model(model: str) -> tuple[Any, Any]:
    """``(model, tokenizer)`` for a decoder, on the accelerator where there is one; a ``.gguf`` file is read too.

    On the CPU the weights are fp32, whatever the folder has; on an accelerator they are as stored.

    Raises: DataError, FileNotFoundError.
    """
    config = load_config(model)
    tokenizer = load_tokenizer(model, config)
    import torch

    device = _device()
    dtype = "auto" if device.type != "cpu" else torch.float32
    return load_weights(model, config, dtype=dtype).to(device).eval(), tokenizer


def load_config(model: str) -> Any:
    """The config of a decoder whose weights are all there, in the shapes that it describes; no weight is read.

    Raises: DataError, FileNotFoundError.
    """
    check_model_folder(model)
    folder, file = _place(model)
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
            raise DataError(f"{model}: a '{config.model_type}' model, which does not continue text")
        if headers:
            _check_quantization(model, config)
            check_architecture(folder, config, headers)
    return config


def load_tokenizer(model: str, config: Any | None = None) -> Any:
    """The tokenizer alone.

    Args:
        config: of the model that will get its ids; one that has no embedding for all of them is refused.

    Raises: DataError, FileNotFoundError.
    """
    check_model_folder(model)
    quiet_libraries()
    import transformers

    guard_chat_templates()
    folder, file = _place(model)
    if not file and not any((folder / name).is_file() for name in TOKENIZERS):
        raise DataError(
            f"{model}: holds no tokenizer (none of {', '.join(TOKENIZERS)}); copy its tokenizer's files there"
        )
    with loading(model, "its tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False, **file)
        largest = max(tokenizer.get_vocab().values(), default=-1)
        tokenizer.decode(tokenizer(PROBE)["input_ids"])
    if config is not None and largest >= (rows := config.get_text_config().vocab_size):
        raise DataError(
            f"{model}: its tokenizer has ids up to {largest:,}, the model embeds {rows:,}; they do not belong together"
        )
    return tokenizer


def load_weights(model: str, config: Any | None = None, **options: Any) -> Any:
    """The model with its weights.

    Args:
        config: as ``load_config`` gives it, where that was called already.
        options: ``dtype``, ``attn_implementation``, ``quantization_config``, ``device_map`` of ``from_pretrained``.

    Raises: DataError for a tensor that is missing, unexpected, of another shape, or holds NaN or infinity.
    """
    config = load_config(model) if config is None else config
    import transformers

    folder, file = _place(model)
    if not file:
        _check_memory(model, tensor_headers(folder), options)
    with loading(model):
        loaded, told = transformers.AutoModelForCausalLM.from_pretrained(
            folder,
            config=config,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
            **file,
            **options,
        )
    differences = (sorted(told[key], key=str) for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    refuse_differences(model, config.model_type, *differences)
    if told["error_msgs"]:
        raise DataError(f"{model}: cannot be loaded: {in_one_line(told['error_msgs'][0])}")
    check_finite(model, loaded)
    return loaded


def check_finite(model: str, loaded: Any) -> None:
    """Refuse weights that are NaN or infinite, and rotary frequencies that the config makes so. Raises: DataError."""
    buffers = [(name, buffer) for name, buffer in loaded.named_buffers() if name.endswith("inv_freq")]
    for name, tensor in [*loaded.named_parameters(), *buffers]:
        held = getattr(tensor, "ds_tensor", tensor)  # this rank's part under ZeRO-3
        if not held.numel() or not held.is_floating_point() or held.is_meta or type(held.data).__name__ != "Tensor":
            continue  # another rank's, a code of a quantised one, or nowhere yet
        low, high = held.detach().aminmax()  # NaN where any value is; ten times as fast on CPU as isfinite().all()
        if not (math.isfinite(low) and math.isfinite(high)):
            raise DataError(f"{model}: '{name}' holds NaN or infinity; the model is damaged, get the folder again")


@contextmanager
def loading(model: str, what: str = "") -> Iterator[None]:
    """Whatever a library raises over a folder that is damaged, or that it does not know, as a DataError of one line."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        raise DataError(f"{model}: {what + ' ' if what else ''}cannot be loaded: {in_one_line(error)}") from None


def start_of_text(tokenizer: Any) -> int:
    """The token that a document begins after, as in pretraining: bos, or else eos. Raises: DataError."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise DataError("the tokenizer names neither a bos nor an eos token; name one in its tokenizer_config.json")
    return int(start)


def _place(model: str) -> tuple[Path, dict[str, str]]:
    """The folder on this machine, and ``gguf_file`` for a file in it; a model of the hub is got, and checked like others."""
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
    """Refuse a quantisation that transformers would pass over. Raises: DataError."""
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    given = getattr(config, "quantization_config", None)
    method = given.get("quant_method") if isinstance(given, dict) else getattr(given, "quant_method", None)
    if given is not None and method not in AUTO_QUANTIZATION_CONFIG_MAPPING:
        raise DataError(
            f"{model}: is quantised by {method!r}, which transformers does not know; get another form of it"
        )


def _check_gguf(model: str) -> None:
    """Refuse a file that asks for more layers than it holds tensors. Raises: DataError."""
    import gguf

    with loading(model):
        reader = gguf.GGUFReader(model)
        layers = [int(f.contents()) for name, f in reader.fields.items() if name.endswith(".block_count")]
    check_bounds(Path(model), {"num_hidden_layers": max(layers, default=0)}, len(reader.tensors), 0)


def _check_memory(model: str, headers: dict[str, TensorHeader], options: dict[str, Any]) -> None:
    """Refuse weights that this machine's memory cannot hold: a file may claim any size. Raises: DataError."""
    if _device().type != "cpu" or not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    width = 4 if "32" in str(options.get("dtype")) else 1
    if (needed := width * sum(header.elements for header in headers.values())) > there:
        raise DataError(f"{model}: its weights take {needed:,} bytes, this machine has {there:,}; take a larger one")


def _device() -> Any:
    """This rank's accelerator, or the CPU."""
    import torch

    if not torch.accelerator.is_available():
        return torch.device("cpu")
    kind = torch.accelerator.current_accelerator()
    return torch.device(str(kind), int(os.environ["LOCAL_RANK"])) if "LOCAL_RANK" in os.environ else kind
