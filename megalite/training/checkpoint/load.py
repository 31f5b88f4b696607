"""Load a portable checkpoint into a new engine, under any layout."""

from pathlib import Path

import torch

from megalite.config.schema import RunConfig
from megalite.parallel.slicing import cut_slice, full_shape
from megalite.training.checkpoint.state_access import MASTER_WEIGHT, set_step_counters, write_tensor
from megalite.training.checkpoint.tensor_files import TensorFiles
from megalite.training.checkpoint.training_state import TrainingState
from megalite.training.engine import Engine
from megalite.training.optimizers.definition import optimizer_definition


def load_checkpoint(engine: Engine, config: RunConfig, folder: Path, state: TrainingState) -> None:
    """Load weights, optimizer state and step counters into a new engine. Collective."""
    _make_optimizer_state(engine, config)
    # A run in fp32 has its master weights in hf/; a run in bf16 keeps them beside the optimizer's state.
    has_master = any((folder / "optimizer").glob("master*.safetensors"))
    weights = TensorFiles(folder / "optimizer", "master") if has_master else TensorFiles(folder / "hf", "model")
    kept = optimizer_definition(config.optimizer.name).state
    sources = [(MASTER_WEIGHT, weights), *((tensor, TensorFiles(folder / "optimizer", tensor.name)) for tensor in kept)]
    for name, parameter in engine.named_parameters:
        engine.heartbeat.at("loading")
        for tensor, files in sources:
            if tensor.belongs_to(name):
                full = files.read(name, tensor.shape(full_shape(parameter))).float()
                part = cut_slice(full, tensor.slicing(parameter)).to(engine.device)
                write_tensor(engine.deepspeed, parameter, tensor, part)
    set_step_counters(engine.deepspeed, state.step)


def _make_optimizer_state(engine: Engine, config: RunConfig) -> None:
    """Let the optimizer create its state by one step on zeros; everything that the step changes is overwritten later."""
    shape = (config.batch.micro_batch_size, config.data.sequence_length)
    keys = ("input_ids", "labels", "positions") if config.data.mask_documents else ("input_ids", "labels")
    batch = {key: torch.zeros(shape, dtype=torch.long) for key in keys}
    engine.train_step([batch] * engine.deepspeed.gradient_accumulation_steps(), lr=0.0)
    engine.deepspeed.global_steps = engine.deepspeed.micro_steps = engine.deepspeed.global_samples = 0
