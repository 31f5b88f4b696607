"""The part of a run that both commands share: ranks, training, export, and the table at the end."""

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
from megalite.posttraining.mask.encoder import ChatEncoder
from megalite.posttraining.run.export import export_model
from megalite.posttraining.run.folder import write_run_files
from megalite.posttraining.run.samples import Counts
from megalite.posttraining.settings import Settings
from megalite.training.distributed import end_ranks, start_ranks
from megalite.training.run_folder import undo_records
from megalite.training.run_lock import locked_run
from megalite.training.supervision.stop import Stop


def is_first_rank() -> bool:
    """Whether this process speaks and writes for all."""
    return read_launch().is_first


def run_session(
    settings: Settings[Any],
    ds_config: dict[str, Any] | None,
    run: Path,
    checkpoint: Path | None,
    encoder: ChatEncoder,
    make_trainer: Callable[[], Any],
    console: Console,
) -> Any:
    """Start the ranks, build the trainer, train and export; returns the ``Reporter`` of the run.

    Raises: Stopped, after a last checkpoint, where one of the ranks was asked to end.
    """
    import torch
    import transformers

    from megalite.posttraining.run.callbacks import Reporter, StopVote

    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(run / "tensorboard"))  # where pretraining writes it
    # transformers 5 renamed gradient_checkpointing, TRL's configs still have it under the old name
    logging.getLogger("accelerate").setLevel(logging.ERROR)  # says on every launch that DeepSpeed accumulates
    warnings.filterwarnings("ignore", message="`(is_)?gradient_checkpointing` is deprecated", category=FutureWarning)
    first = is_first_rank()
    with Stop()() as stop, locked_run(run, stop.ask) if first else nullcontext():
        starts = (settings.world_size > 1 or ds_config is not None) and not torch.distributed.is_initialized()
        if starts:
            start_ranks()
        trainer = make_trainer()
        trainer.schedule = settings.config.schedule
        if first:
            undo_records(run, -1 if checkpoint is None else int(checkpoint.name.removeprefix("checkpoint-")))
            write_run_files(run, settings.config, ds_config)
        reporter, vote = Reporter(run, console), StopVote(stop)
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.add_callback(reporter)
        trainer.add_callback(vote)
        with stop.until_the_step_ends():
            trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
        if vote.agreed and trainer.state.global_step < trainer.state.max_steps:
            steps = trainer.state.global_step
            raise stop.stopped(f"all {steps:,} steps are saved in {run / f'checkpoint-{steps}'}: go on with --resume")
        folder = export_model(trainer, settings.config, run, encoder)
        print_outcome(trainer, reporter, folder, console)
        if starts:
            end_ranks()
        return reporter


def print_rows(counts: Counts, train: int, valid: int | None, console: Console) -> None:
    """What became of the rows, before the training begins."""
    table = Table(title="rows", show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column()
    table.add_row("read", f"{counts.read.documents:,}")
    if counts.read.malformed:
        table.add_row("broken, left out", f"{counts.read.malformed:,}, the first: {counts.read.examples[0]}")
    if counts.too_long:
        table.add_row("too long, left out", f"{counts.too_long:,}, the first: {counts.longest}")
    if counts.spelled:
        table.add_row("special tokens", f"{counts.spelled:,} spelled in the turns, which {counts.rule}")
    table.add_row("for training", f"{train:,}")
    table.add_row("held out", "none" if valid is None else f"{valid:,}")
    console.print(table)


def print_outcome(trainer: Any, reporter: Any, folder: Path, console: Console) -> None:
    """The table at the end of a run: validation before and after, and where the model is."""
    table = Table(title="tuning finished", title_justify="left")
    table.add_column("", style="bold")
    table.add_column("before")
    table.add_column("after")
    names = {"loss": "validation loss", "rewards/accuracies": "reward accuracy", "reward": "mean reward"}
    names |= {"rewards/margins": "reward margin", "mean_token_accuracy": "token accuracy"}
    for key, name in names.items():
        if key in reporter.last:
            before = f"{reporter.first[key]:.4f}" if key in reporter.first else ""
            table.add_row(name, before, f"{reporter.last[key]:.4f}{error_bar(key, reporter.last[key], trainer)}")
    table.add_row("training loss", *(f"{loss:.4f}" for loss in _ends(list(reporter.losses.values()))))
    table.add_row("steps", "", f"{trainer.state.global_step:,} ({trainer.state.epoch:.2f} epochs)")
    console.print(table)
    console.print(f"the model is in {folder}  (AutoModelForCausalLM.from_pretrained loads it)", highlight=False)


def error_bar(key: str, value: float, trainer: Any) -> str:
    """`` ± standard error (n rows)`` of a reward accuracy, a mean of n independent zeros and ones; else nothing."""
    if key != "rewards/accuracies":
        return ""
    rows = len(trainer.eval_dataset)
    return f" ± {math.sqrt(value * (1 - value) / rows):.4f} ({rows} rows)"


def _ends(losses: list[float]) -> tuple[float, float]:
    return (losses[0], losses[-1]) if losses else (float("nan"), float("nan"))
