"""Opening a Hugging Face folder, with a plain word where it is not one."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalite.config.errors import DataError
from megalite.export.quiet_libraries import quiet_libraries

GGUF = ".gguf"


def check_model_folder(model: str) -> None:
    """Refuse a path that is no model folder; a name of the hub (``owner/name``) passes. Raises: DataError."""
    path = Path(model)
    if path.suffix == GGUF and path.is_file():
        return
    if path.is_dir() and not (path / "config.json").is_file():
        hint = f"; did you mean {path / 'hf'}?" if (path / "hf" / "config.json").is_file() else ""
        raise DataError(f"{model}: is no model folder (no config.json in it){hint}")
    if not path.exists() and (path.is_absolute() or len(path.parts) > 2):
        raise FileNotFoundError(f"{model}: no such model folder")


def load_model(model: str) -> tuple[Any, Any]:
    """``(model, tokenizer)`` by transformers' Auto classes, on the accelerator where there is one.

    A ``.gguf`` file is read too; its weights are used as they round, in the precision of the model.

    Raises: DataError, FileNotFoundError.
    """
    tokenizer = load_tokenizer(model)
    import torch
    import transformers

    device = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else "cpu"
    dtype = "auto" if str(device) != "cpu" else torch.float32
    where, file = _place(model)
    with loading(model):
        loaded: Any = transformers.AutoModelForCausalLM.from_pretrained(where, dtype=dtype, **file)
        return loaded.to(device).eval(), tokenizer


def load_tokenizer(model: str) -> Any:
    """The tokenizer alone, before the weights are read. Raises: DataError, FileNotFoundError."""
    check_model_folder(model)
    quiet_libraries()
    import transformers

    where, file = _place(model)
    with loading(model):
        return transformers.AutoTokenizer.from_pretrained(where, **file)


def _place(model: str) -> tuple[str | Path, dict[str, str]]:
    """Where ``from_pretrained`` looks, and for which file."""
    path = Path(model)
    return (path.parent, {"gguf_file": path.name}) if path.suffix == GGUF and path.is_file() else (model, {})


@contextmanager
def loading(model: str) -> Iterator[None]:
    """What transformers raises for a model that is not there or not one, as a DataError of one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise DataError(f"{model}: cannot be loaded: {(str(error).splitlines() or [''])[0]}") from None


def start_of_text(tokenizer: Any) -> int:
    """The token that a document begins after, as in pretraining: bos, or else eos. Raises: DataError."""
    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise DataError("the tokenizer names neither a bos nor an eos token; name one in its tokenizer_config.json")
    return int(start)
