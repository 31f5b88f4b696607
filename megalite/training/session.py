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
from megalite.parallel.mesh import Mesh
from megalite.training.checkpoint.changes import changes
from megalite.training.checkpoint.load import load_checkpoint
from megalite.training.checkpoint.manifest import verify_files
from megalite.training.distributed import end_ranks, start_ranks
from megalite.training.engine import DTYPES, Engine
from megalite.training.loop import Outcome, TrainingLoop
from megalite.training.metrics import Metrics
from megalite.training.peak import measure_peak_tflops
from megalite.training.pipeline_engine import build_engine
from megalite.training.precision import refuse_different_choices
from megalite.training.prepared_run import PreparedRun
from megalite.training.run_folder import HEARTBEATS, how_to_resume, open_run_folder
from megalite.training.save_or_stop import Requests
from megalite.training.supervision.heartbeat import PATIENCE, Heartbeat
from megalite.training.supervision.watch import Watch
from megalite.training.utilization import Utilization


def run_session(run: PreparedRun, flops_per_token: float, console: Console, requests: Requests) -> Outcome:
    """Train on the ranks that the launcher has started.

    Nothing in the run folder is replaced before every rank has accepted the checkpoint. Raises: Stopped.
    """
    config, checkpoint = run.config, run.checkpoint
    # The watch names a rank that hangs; the process groups' own time-out, which names none, comes after it.
    device = start_ranks(datetime.timedelta(seconds=2 * PATIENCE * config.training.timeout_seconds))
    try:
        refuse_different_choices(config.training.precision, device)
        rank, world_size = torch.distributed.get_rank(), torch.distributed.get_world_size()
        heartbeat = Heartbeat()
        with _watched(heartbeat, run, rank == 0, requests):
            _agree_on(checkpoint)
            mesh = Mesh.create(config.parallel)
            engine = build_engine(config, run.ds_config, mesh, device, heartbeat)
            if checkpoint is not None:
                heartbeat.at("loading")
                verify_files(checkpoint, heartbeat.tick, rank, world_size)
                load_checkpoint(engine, config, checkpoint, run.start)
            changed = [] if checkpoint is None else changes(checkpoint, config, run.ds_config)
            torch.distributed.barrier()
            if rank == 0:
                open_run_folder(run.folder, config, run.ds_config, run.start.step)
            batch = config.batch
            loader = BatchLoader(
                run.data.train,
                batch.micro_batch_size,
                batch.global_batch_size,
                mesh.data_rank,
                mesh.data_size,
                config.data.mask_documents,
                run.data.verification,
            )
            utilization = _utilization(config, device, flops_per_token)
            _print_devices(engine, utilization, console)
            step = run.start.step
            with Metrics(run.folder, config.training.steps, step, rank == 0, config.logging.tensorboard) as metrics:
                if checkpoint is not None:
                    metrics.log_event(step, "resume", f"resumed from {checkpoint}")
                for line in changed:
                    metrics.log_event(step, "change", line)
                with requests.decided_by_vote():
                    return TrainingLoop(engine, run, loader, utilization, metrics, requests).train()
    finally:
        end_ranks()


def _print_devices(engine: Engine, utilization: Utilization, console: Console) -> None:
    shape, device = engine.mesh.shape, engine.device.type
    source = "measured" if utilization.is_measured else "named"
    console.print(
        f"{shape.world_size} ranks on {device} ({shape}), {engine.config.training.precision}, ZeRO stage "
        f"{engine.zero_stage}, peak {utilization.peak_flops / 1e12:.3g} TFLOP/s ({source})",
        highlight=False,
    )
    if device == "cpu" and shape.world_size == 1 and "CROSS_SIZE" in os.environ:
        console.print(
            "deepspeed has started 1 rank: it counts accelerators, and this machine has none; start more with --num_gpus N",
            highlight=False,
        )


@contextmanager
def _watched(heartbeat: Heartbeat, run: PreparedRun, is_first: bool, requests: Requests) -> Iterator[None]:
    """Watch the ranks while the block runs. The heartbeats are removed once all ranks have left it in order. Collective."""
    folder = run.folder / HEARTBEATS
    if is_first:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    torch.distributed.barrier()
    watch = Watch(heartbeat, folder, run.config.training.timeout_seconds, requests, lambda: how_to_resume(run.folder))
    try:
        with watch():
            yield
    except Stopped:
        if requests.all_stop:
            _remove_together(folder, is_first)
        raise
    _remove_together(folder, is_first)


def _remove_together(folder: Path, is_first: bool) -> None:
    torch.distributed.barrier()  # nobody watches any more
    if is_first:
        shutil.rmtree(folder)


def _agree_on(checkpoint: Path | None) -> None:
    """Raises: ConfigError where the machines see other checkpoints, as a slow shared file system may show them."""
    seen: list[Any] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(seen, checkpoint and checkpoint.name)
    if len(set(seen)) > 1:
        raise ConfigError(
            f"the ranks see different newest checkpoints ({', '.join(sorted(map(str, set(seen))))}); is the run folder on a "
            f"file system that all machines share? name one with --resume CHECKPOINT"
        )


def _utilization(config: RunConfig, device: torch.device, flops_per_token: float) -> Utilization:
    """With the peak from the config, or measured on all ranks at the same time. Collective."""
    if config.hardware.peak_tflops is not None:
        return Utilization(flops_per_token, config.hardware.peak_tflops * 1e12 * torch.distributed.get_world_size())
    torch.distributed.barrier()
    peak = torch.tensor(measure_peak_tflops(device, DTYPES[config.training.precision]), device=device)
    torch.distributed.all_reduce(peak)
    return Utilization(flops_per_token, float(peak) * 1e12, is_measured=True)
