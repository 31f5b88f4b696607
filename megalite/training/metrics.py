"""Metrics of a run: console lines and a progress bar, ``metrics.jsonl``, TensorBoard."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from megalite.config.screen import screen
from megalite.training.run_folder import METRICS
from megalite.training.validation import ValidationResult

TITLES = {
    "loss": ("loss", ".4f"),
    "grad_norm": ("norm", ".3f"),
    "lr": ("lr", ".2e"),
    "tokens_per_second": ("tokens/s", ",.0f"),
    "mfu": ("MFU", ".1%"),
}


class Metrics:
    """Reports on rank 0; on the other ranks every call is a no-op."""

    def __init__(self, run: Path, total_steps: int, first_step: int, is_writer: bool, tensorboard: bool) -> None:
        """Open the files. ``first_step`` is the number of steps already done by a resumed run."""
        self._is_writer = is_writer
        if not is_writer:
            return
        self.console = screen()
        self._file = (run / METRICS).open("a", encoding="utf-8")
        self._board = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step)
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self.console,
            disable=not self.console.is_terminal,
        )
        self._task = self._progress.add_task("training", total=total_steps, completed=first_step)

    def __enter__(self) -> Self:
        if self._is_writer:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_writer:
            self._progress.stop()
            self._file.close()
            if self._board is not None:
                self._board.close()

    def advance(self) -> None:
        """Count one finished optimizer step."""
        if self._is_writer:
            self._progress.advance(self._task)

    def log_step(self, step: int, values: dict[str, Any]) -> None:
        """Log a step. ``values`` has at least the keys of ``TITLES``."""
        if self._is_writer:
            self._record("train", step, values)
            shown = "  ".join(f"{title} {values[key]:{style}}" for key, (title, style) in TITLES.items())
            self.console.print(f"step {step:>6}  {shown}", highlight=False)

    def log_validation(self, step: int, result: ValidationResult) -> None:
        """Log the validation after ``step``."""
        if self._is_writer:
            self._record("valid", step, {"loss": result.loss, "bits_per_byte": result.bits_per_byte})
            self.console.print(
                f"step {step:>6}  validation loss {result.loss:.4f}  bits per byte {result.bits_per_byte:.4f}"
                f"  ({result.tokens:,} tokens)",
                highlight=False,
            )

    def log_event(self, step: int, event: str, text: str, shown: bool = True) -> None:
        """Log a single event, such as a checkpoint or a resume. ``shown``: on the console too."""
        if self._is_writer:
            self._write({"event": event, "step": step, "text": text, "time": time.time()})
            if shown:
                self.console.print(f"step {step:>6}  {text}", highlight=False)

    def _record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        self._write({"event": kind, "step": step, **values, "time": time.time()})
        if self._board is not None:
            for key, value in values.items():
                if isinstance(value, int | float):
                    self._board.add_scalar(f"{kind}/{key}", value, step)

    def _write(self, record: dict[str, Any]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
