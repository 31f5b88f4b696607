"""From a checked config to a trained model: ranks, mesh, engine, loader, loop, in this order."""

import datetime
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import yaml
from rich.console import Console

from megalite.config.schema import RunConfig
from megalite.data.loader import BatchLoader
from megalite.data.prepare import TrainingData
from megalite.parallel.mesh import Mesh
from megalite.training.checkpoint_load import load_checkpoint
from megalite.training.checkpoint_state import TrainingState
from megalite.training.engine import DTYPES
from megalite.training.loop import Outcome, Reckoning, train
from megalite.training.metrics import Metrics
from megalite.training.peak import measure_peak_tflops
from megalite.training.pipeline_engine import build_engine
from megalite.training.precision import refuse_different_choices
from megalite.training.progress import Progress
from megalite.training.ranks import end_ranks, start_ranks
from megalite.training.watch import Watch


def run_session(
    config: RunConfig,
    ds_config: dict[str, Any],
    data: TrainingData,
    run: Path,
    start: TrainingState,
    checkpoint: Path | None,
    flops_per_token: float,
    console: Console,
) -> Outcome:
    """Train on the ranks that the launcher has started, from ``checkpoint`` or from the beginning."""
    # The watch names a rank that hangs; the process groups' own time-out, which names none, comes after it.
    device = start_ranks(datetime.timedelta(seconds=2 * config.training.timeout_seconds))
    try:
        refuse_different_choices(config.training.precision, device)
        is_first = torch.distributed.get_rank() == 0
        if is_first:
            _open_run_folder(run, config, ds_config)
        progress = Progress()
        with _watched(progress, run / ".ranks", is_first, config.training.timeout_seconds):
            mesh = Mesh.create(config.parallel)
            engine = build_engine(config, ds_config, mesh, device, progress)
            if checkpoint is not None:
                load_checkpoint(engine, config, checkpoint, start)
            batch = config.batch
            loader = BatchLoader(
                data.train,
                batch.micro_batch_size,
                batch.global_batch_size,
                mesh.data_rank,
                mesh.data_size,
                config.data.mask_documents,
                data.verification,
            )
            peak = _peak_flops(config, device)
            named = "measured" if config.hardware.peak_tflops is None else "named"
            console.print(
                f"{mesh.shape.world_size} ranks on {device.type} ({mesh.shape}), {config.training.precision}, ZeRO stage "
                f"{engine.stage}, peak {peak / 1e12:.3g} TFLOP/s ({named})",
                highlight=False,
            )
            with Metrics(run, config.training.steps, start.step, is_first, config.logging.tensorboard) as metrics:
                if checkpoint is not None:
                    metrics.log_event(start.step, "resume", f"resumed from {checkpoint}")
                reckoning = Reckoning(flops_per_token, peak, is_measured=config.hardware.peak_tflops is None)
                return train(engine, config, ds_config, loader, data.valid, start, run, reckoning, metrics)
    finally:
        end_ranks()


@contextmanager
def _watched(progress: Progress, positions: Path, is_first: bool, timeout_seconds: float) -> Iterator[None]:
    """Watch over the ranks while the block runs; their position files go when all have left it in order. Collective."""
    if is_first:
        shutil.rmtree(positions, ignore_errors=True)
        positions.mkdir()
    torch.distributed.barrier()
    with Watch(progress, positions, torch.distributed.get_world_size(), timeout_seconds)():
        yield
    torch.distributed.barrier()
    if is_first:
        shutil.rmtree(positions)


def _open_run_folder(run: Path, config: RunConfig, ds_config: dict[str, Any]) -> None:
    run.mkdir(parents=True, exist_ok=True)
    (run / "run.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False))
    (run / "ds_config.json").write_text(json.dumps(ds_config, indent=2) + "\n")


def _peak_flops(config: RunConfig, device: torch.device) -> float:
    """Of all devices together, a second: named in the config, or measured on every rank at the same time."""
    world_size = torch.distributed.get_world_size()
    if config.hardware.peak_tflops is not None:
        return config.hardware.peak_tflops * 1e12 * world_size
    torch.distributed.barrier()
    peak = torch.tensor(measure_peak_tflops(device, DTYPES[config.training.precision]), device=device)
    torch.distributed.all_reduce(peak)
    return float(peak) * 1e12
