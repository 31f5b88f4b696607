"""The second part of every run: start the ranks, train, export, and print the results."""

import logging
import math
import os
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from megalite.config.launch import read_launch
from megalite.posttraining.run.export import export_model
from megalite.posttraining.run.folder import step_of, write_run_files
from megalite.posttraining.run.prepare import Preparation
from megalite.training.distributed import end_ranks, start_ranks
from megalite.training.run_folder import undo_records
from megalite.training.run_lock import locked_run
from megalite.training.save_or_stop import Request
from megalite.training.supervision.signals import listening

METRICS = {
    "loss": "validation loss",
    "rewards/accuracies": "reward accuracy",
    "reward": "mean reward",
    "rewards/margins": "reward margin",
    "mean_token_accuracy": "token accuracy",
}


def run_session(prepared: Preparation[Any, Any], make_trainer: Callable[[], Any]) -> Any:
    """Start the ranks, build the trainer, train and export; returns the ``Reporter`` of the run.

    Raises: Stopped after a last checkpoint, if a rank received a stop request.
    """
    import torch
    import transformers

    from megalite.posttraining.run.callbacks import Reporter, StopVote

    settings, checkpoint, run = prepared.settings, prepared.checkpoint, prepared.settings.config.folder
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run / "tensorboard"))  # where pretraining writes it
    logging.getLogger("accelerate").setLevel(logging.ERROR)  # it warns on every launch that DeepSpeed accumulates
    # transformers 5 renamed gradient_checkpointing; TRL's configs still use the old name.
    warnings.filterwarnings("ignore", message="`(is_)?gradient_checkpointing` is deprecated", category=FutureWarning)
    first = read_launch().is_first
    with (
        listening() as requests,
        locked_run(run, lambda reason: requests.ask(Request.STOP, reason)) if first else nullcontext(),
    ):
        distributed = settings.world_size > 1 or prepared.ds_config is not None
        starts = distributed and not torch.distributed.is_initialized()
        if starts:
            start_ranks()
        trainer = make_trainer()
        trainer.schedule = settings.config.schedule
        if first:
            undo_records(run, step_of(checkpoint))
            write_run_files(settings.config, prepared.ds_config)
        reporter = Reporter(run, prepared.console)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.add_callback(reporter)
        trainer.add_callback(StopVote(requests))
        with requests.decided_by_vote():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if requests.all_stop and trainer.state.global_step < trainer.state.max_steps:
            steps = trainer.state.global_step
            raise requests.stopped(
                f"all {steps:,} steps are saved in {run / f'checkpoint-{steps}'}: resume with --resume"
            )
        folder = export_model(trainer, settings.config, prepared.encoder)
        print_results(trainer, reporter, folder, prepared.console)
        if starts:
            end_ranks()
        return reporter


def print_results(trainer: Any, reporter: Any, folder: Path, console: Console) -> None:
    """Show the metrics before and after the training, and where the model is."""
    table = Table(title="tuning finished", title_justify="left")
    table.add_column("", style="bold")
    table.add_column("before")
    table.add_column("after")
    for key, name in METRICS.items():
        if key in reporter.last:
            before = f"{reporter.first[key]:.4f}" if key in reporter.first else ""
            table.add_row(name, before, f"{reporter.last[key]:.4f}{standard_error(key, reporter.last[key], trainer)}")
    losses = list(reporter.losses.values()) or [math.nan]
    table.add_row("training loss", f"{losses[0]:.4f}", f"{losses[-1]:.4f}")
    table.add_row("steps", "", f"{trainer.state.global_step:,} ({trainer.state.epoch:.2f} epochs)")
    console.print(table)
    console.print(f"model folder: {folder}  (load it with AutoModelForCausalLM.from_pretrained)", highlight=False)


def standard_error(key: str, value: float, trainer: Any) -> str:
    """`` ± standard error (n rows)`` of a reward accuracy, which is a mean of n independent zeros and ones; else empty."""
    if key != "rewards/accuracies":
        return ""
    rows = len(trainer.eval_dataset)
    return f" ± {math.sqrt(value * (1 - value) / rows):.4f} ({rows} rows)"
