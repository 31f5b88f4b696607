"""Open and check a checkpoint for export, and find the most precise copy of every tensor."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Size, Tensor

from megalite.config.errors import ConfigError, DataError
from megalite.config.load import read_yaml
from megalite.config.model import ModelConfig
from megalite.config.text_files import read_json_object
from megalite.model.hf_config import model_config_from_hf
from megalite.model.layer_shapes import hf_parameter_shapes
from megalite.training.checkpoint.manifest import MANIFEST
from megalite.training.checkpoint.tensor_files import TensorFiles
from megalite.training.run_folder import checkpoints


class StreamedTensors(TensorFiles):
    """Reads tensors by name, also a few rows at a time.

    Every call maps the file again, because pages that were read count as memory of the process until they are unmapped.
    """

    def __contains__(self, name: str) -> bool:
        return name in self._files

    def shape(self, name: str) -> Size:
        """The shape of a tensor, without reading it."""
        with safe_open(self._files[name], framework="pt") as opened:
            return Size(opened.get_slice(name).get_shape())

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows ``[start, stop)`` of the first dim."""
        with safe_open(self._files[name], framework="pt") as opened:
            return opened.get_slice(name)[start:stop]


class BestTensors:
    """Reads every tensor of a checkpoint from its most precise copy: the fp32 master weight, else ``hf/``.

    Raises: DataError if files are missing or damaged.
    """

    def __init__(self, folder: Path) -> None:
        try:
            weights = StreamedTensors(folder / "hf", "model")
            self.origin = dict.fromkeys(weights.names(), weights)
            if any((folder / "optimizer").glob("master*.safetensors")):
                masters = StreamedTensors(folder / "optimizer", "master")
                self.origin |= {name: masters for name in weights.names() if name in masters}
            self.shapes = {name: files.shape(name) for name, files in self.origin.items()}
        except (SafetensorError, json.JSONDecodeError, KeyError) as error:
            raise DataError(f"{folder}: the tensor files are damaged ({error}); export another checkpoint") from None
        self.from_masters = sum(files is not weights for files in self.origin.values())

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Rows ``[start, stop)`` of the first dim of a tensor."""
        return self.origin[name].rows(name, start, stop)

    def read(self, name: str) -> Tensor:
        return self.origin[name].read(name)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that passed the checks.

    ``run`` is the YAML without validation, because the checkpoint may come from a version with other keys.
    """

    folder: Path
    hf_config: dict[str, Any]
    model: ModelConfig
    state: dict[str, Any]
    run: dict[str, Any]
    ds_config: dict[str, Any]
    tensors: BestTensors


def check_checkpoint_folder(folder: Path) -> None:
    """Raises: FileNotFoundError, or ConfigError if the folder is not a ``runs/NAME/step-NNNNNN``."""
    if not folder.exists():
        raise FileNotFoundError(f"{folder}: no such checkpoint; give a runs/NAME/step-* folder")
    if (folder / MANIFEST).is_file():
        return
    if (folder.parent / MANIFEST).is_file():
        hint = f"; did you mean {folder.parent}?"
    elif found := checkpoints(folder):
        hint = f"; did you mean its newest checkpoint, {found[-1]}?"
    else:
        hint = "; give a runs/NAME/step-* folder"
    raise ConfigError(f"{folder}: not a checkpoint folder (no {MANIFEST} in it){hint}")


def open_checkpoint(folder: Path) -> Checkpoint:
    """Open all files of an export.

    Raises: ConfigError or DataError if a file is missing or damaged, or if the tensors do not match ``config.json``.
    """
    hf_config = _read_json(folder / "hf" / "config.json")
    model = model_config_from_hf(hf_config)
    tensors = BestTensors(folder)
    _check_tensors(folder, tensors.shapes, model)
    return Checkpoint(
        folder=folder,
        hf_config=hf_config,
        model=model,
        state=_read_json(folder / "state.json"),
        run=read_yaml(folder / "run.yaml"),
        ds_config=_read_json(folder / "ds_config.json"),
        tensors=tensors,
    )


def _check_tensors(folder: Path, found: dict[str, Size], model: ModelConfig) -> None:
    expected = hf_parameter_shapes(model)
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            described, held = (
                "no such tensor" if at is None else tuple(at) for at in (expected.get(name), found.get(name))
            )
            raise DataError(
                f"{folder}: '{name}': hf/config.json describes {described}, the files contain {held}; export another "
                f"checkpoint"
            )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except (ConfigError, FileNotFoundError) as error:
        raise DataError(f"{error}; export another checkpoint") from None
