"""From a checked config to a trained model: ranks, mesh, engine, loader, loop, in this order."""

import datetime
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from megalite.config.errors import ConfigError, Stopped
from megalite.config.schema import RunConfig
from megalite.data.samples.loader import BatchLoader
from megalite.data.training_data import TrainingData
from megalite.parallel.mesh import Mesh
from megalite.training.checkpoint.changes import changes
from megalite.training.checkpoint.load import load_checkpoint
from megalite.training.checkpoint.training_state import TrainingState, verify_files
from megalite.training.distributed import end_ranks, start_ranks
from megalite.training.engine import DTYPES
from megalite.training.loop import Outcome, Reckoning, train
from megalite.training.metrics import Metrics
from megalite.training.peak import measure_peak_tflops
from megalite.training.pipeline_engine import build_engine
from megalite.training.precision import refuse_different_choices
from megalite.training.run_folder import POSITIONS, how_to_go_on, open_run_folder
from megalite.training.supervision.heartbeat import PATIENCE, Heartbeat
from megalite.training.supervision.stop import Stop
from megalite.training.supervision.watch import Watch


def run_session(
    config: RunConfig,
    ds_config: dict[str, Any],
    data: TrainingData,
    run: Path,
    start: TrainingState,
    checkpoint: Path | None,
    flops_per_token: float,
    console: Console,
    stop: Stop,
) -> Outcome:
    """Train on the ranks that the launcher has started, from ``checkpoint`` or from the beginning.

    Nothing in ``run`` is replaced before every rank has accepted the checkpoint. Raises: Stopped as ``stop`` asks.
    """
    # The watch names a rank that hangs; the process groups' own time-out, which names none, comes after it.
    device = start_ranks(datetime.timedelta(seconds=2 * PATIENCE * config.training.timeout_seconds))
    try:
        refuse_different_choices(config.training.precision, device)
        is_first = torch.distributed.get_rank() == 0
        heartbeat = Heartbeat()
        with _watched(heartbeat, run, is_first, config.training.timeout_seconds, stop):
            _agree_on(checkpoint)
            mesh = Mesh.create(config.parallel)
            engine = build_engine(config, ds_config, mesh, device, heartbeat)
            told: list[str] = []
            if checkpoint is not None:
                heartbeat.at("loading")
                verify_files(
                    checkpoint, heartbeat.tick, torch.distributed.get_rank(), torch.distributed.get_world_size()
                )
                load_checkpoint(engine, config, checkpoint, start)
                told = changes(checkpoint, config, ds_config)
            torch.distributed.barrier()
            if is_first:
                open_run_folder(run, config, ds_config, start.step)
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
                f"{engine.zero_stage}, peak {peak / 1e12:.3g} TFLOP/s ({named})",
                highlight=False,
            )
            if device.type == "cpu" and mesh.shape.world_size == 1 and "CROSS_SIZE" in os.environ:
                console.print(
                    "deepspeed has started 1 rank: it counts accelerators, and here are none; start more with --num_gpus N",
                    highlight=False,
                )
            with Metrics(run, config.training.steps, start.step, is_first, config.logging.tensorboard) as metrics:
                if checkpoint is not None:
                    metrics.log_event(start.step, "resume", f"resumed from {checkpoint}")
                for line in told:
                    metrics.log_event(start.step, "change", line)
                reckoning = Reckoning(flops_per_token, peak, is_measured=config.hardware.peak_tflops is None)
                with stop.until_the_step_ends():
                    return train(engine, config, ds_config, loader, data.valid, start, run, reckoning, metrics, stop)
    finally:
        end_ranks()


@contextmanager
def _watched(heartbeat: Heartbeat, run: Path, is_first: bool, timeout_seconds: float, stop: Stop) -> Iterator[None]:
    """Watch over the ranks while the block runs; their position files go when all have left it in order. Collective."""
    positions = run / POSITIONS
    if is_first:
        shutil.rmtree(positions, ignore_errors=True)
        positions.mkdir(parents=True)
    torch.distributed.barrier()
    world = torch.distributed.get_world_size()
    try:
        with Watch(heartbeat, positions, world, timeout_seconds, stop, lambda: how_to_go_on(run))():
            yield
    except Stopped:
        if stop.is_agreed:
            _remove_together(positions, is_first)
        raise
    _remove_together(positions, is_first)


def _remove_together(positions: Path, is_first: bool) -> None:
    torch.distributed.barrier()  # nobody watches any more
    if is_first:
        shutil.rmtree(positions)


def _agree_on(checkpoint: Path | None) -> None:
    """Raises: ConfigError where the machines see other checkpoints, as a slow shared file system may show them."""
    seen: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(seen, checkpoint and checkpoint.name)
    if len(set(seen)) > 1:
        raise ConfigError(
            f"the ranks see different newest checkpoints ({', '.join(sorted(map(str, set(seen))))}); is the run folder on a "
            f"file system that all machines share? name one with --resume CHECKPOINT"
        )


def _peak_flops(config: RunConfig, device: torch.device) -> float:
    """Of all devices together, a second: named in the config, or measured on every rank at the same time."""
    world_size = torch.distributed.get_world_size()
    if config.hardware.peak_tflops is not None:
        return config.hardware.peak_tflops * 1e12 * world_size
    torch.distributed.barrier()
    peak = torch.tensor(measure_peak_tflops(device, DTYPES[config.training.precision]), device=device)
    torch.distributed.all_reduce(peak)
    return float(peak) * 1e12
