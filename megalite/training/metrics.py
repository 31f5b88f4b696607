"""What a run tells while it trains: lines and a bar on the console, ``metrics.jsonl``, TensorBoard."""

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
    """Rank 0's reporter; on the other ranks every call is a no-op."""

    def __init__(self, run: Path, total_steps: int, first_step: int, is_writer: bool, tensorboard: bool) -> None:
        """Open the files; ``first_step`` is where a resumed run goes on."""
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
        """Show the bar."""
        if self._is_writer:
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the bar and the files."""
        if self._is_writer:
            self._progress.stop()
            self._file.close()
            if self._board is not None:
                self._board.close()

    def advance(self) -> None:
        """One optimizer step is done."""
        if self._is_writer:
            self._progress.advance(self._task)

    def log_step(self, step: int, values: dict[str, Any]) -> None:
        """One logged step; ``values`` holds at least the keys of ``TITLES``."""
        if self._is_writer:
            self._record("train", step, values)
            shown = "  ".join(f"{title} {values[key]:{style}}" for key, (title, style) in TITLES.items())
            self.console.print(f"step {step:>6}  {shown}", highlight=False)

    def log_validation(self, step: int, result: ValidationResult) -> None:
        """Loss and bits per byte on the validation data after ``step``."""
        if self._is_writer:
            self._record("valid", step, {"loss": result.loss, "bits_per_byte": result.bits_per_byte})
            self.console.print(
                f"step {step:>6}  validation loss {result.loss:.4f}  bits per byte {result.bits_per_byte:.4f}"
                f"  ({result.tokens:,} tokens)",
                highlight=False,
            )

    def log_event(self, step: int, event: str, text: str, shown: bool = True) -> None:
        """Something that happened once: a checkpoint, a resume; ``shown`` on the console too."""
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
