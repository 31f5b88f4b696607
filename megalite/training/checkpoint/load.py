"""Put a portable checkpoint into a fresh engine, under any layout."""

from pathlib import Path

import torch
from torch import Tensor, nn

from megalite.config.schema import RunConfig
from megalite.parallel.slicing import take_slice
from megalite.training.checkpoint.manifest import MOMENTS
from megalite.training.checkpoint.state_access import set_adam_steps, set_master_weight, set_moment
from megalite.training.checkpoint.tensor_files import TensorFiles
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import Engine


def load_checkpoint(engine: Engine, config: RunConfig, folder: Path, state: TrainingState) -> None:
    """Put weights, moments and Adam's step counter into a fresh engine. Collective."""
    _make_optimizer_state(engine, config)
    # A run in fp32 has its master weights in hf/ already; one in bf16 keeps them beside the moments.
    has_master = any((folder / "optimizer").glob("master*.safetensors"))
    weights = TensorFiles(folder / "optimizer", "master") if has_master else TensorFiles(folder / "hf", "model")
    moments = {moment: TensorFiles(folder / "optimizer", moment) for moment in MOMENTS}
    for name, parameter in engine.named_parameters:
        engine.heartbeat.at("loading")
        set_master_weight(parameter, _slice_of_this_rank(engine, weights, name, parameter))
        for moment, files in moments.items():
            set_moment(engine.deepspeed, parameter, moment, _slice_of_this_rank(engine, files, name, parameter))
    set_adam_steps(engine.deepspeed, state.step)


def _make_optimizer_state(engine: Engine, config: RunConfig) -> None:
    """Let the optimizer create its moments by one step on nonsense; all that it touches is overwritten afterwards."""
    shape = (config.batch.micro_batch_size, config.data.sequence_length)
    keys = ("input_ids", "labels", "positions") if config.data.mask_documents else ("input_ids", "labels")
    batch = {key: torch.zeros(shape, dtype=torch.long) for key in keys}
    engine.train_step([batch] * engine.deepspeed.gradient_accumulation_steps(), lr=0.0)
    engine.deepspeed.global_steps = engine.deepspeed.micro_steps = engine.deepspeed.global_samples = 0


def _slice_of_this_rank(engine: Engine, files: TensorFiles, name: str, parameter: nn.Parameter) -> Tensor:
    return take_slice(files.read(name).float(), parameter, engine.mesh).to(engine.device)
