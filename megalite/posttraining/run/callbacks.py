"""What a run tells while it trains, and the mark that makes a checkpoint one."""

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from megalite.config.errors import DivergenceError
from megalite.posttraining.run.folder import mark_whole
from megalite.training.supervision.stop import Stop

SHOWN = {
    "loss": ("loss", ".4f"),
    "grad_norm": ("norm", ".3f"),
    "learning_rate": ("lr", ".2e"),
    "mean_token_accuracy": ("token accuracy", ".3f"),
    "rewards/accuracies": ("reward accuracy", ".3f"),
    "rewards/margins": ("margin", ".3f"),
    "rewards/chosen": ("chosen", ".3f"),
    "rewards/rejected": ("rejected", ".3f"),
    "reward": ("reward", ".3f"),
    "kl": ("KL", ".4f"),
}
SUMMARIES = ("train_runtime", "eval_runtime")
"""Keys that only the line at the end of a training or a validation has."""


class Reporter(TrainerCallback):
    """Lines, a bar and ``metrics.jsonl`` from rank 0; a last validation; an end where the loss is no number."""

    def __init__(self, run: Path, console: Console) -> None:
        """``metrics.jsonl`` is appended to."""
        self.first: dict[str, float] = {}
        """Values of the validation before the first step (``loss``, ``rewards/accuracies`` ...)."""
        self.last: dict[str, float] = {}
        """Values of the newest validation."""
        self.losses: dict[int, float] = {}
        """Step -> logged training loss."""
        self._path, self._console = run / "metrics.jsonl", console
        if self._path.is_file():  # a run that goes on
            line = json.loads(self._path.read_text(encoding="utf-8").partition("\n")[0])
            self.first = line if line["event"] == "valid" else {}
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("training")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Show the bar."""
        self._progress.update(self._task, total=state.max_steps, completed=state.global_step)
        self._progress.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Advance the bar; after the last step, validate."""
        self._progress.update(self._task, completed=state.global_step)
        if state.global_step >= state.max_steps and args.eval_strategy != "no":
            control.should_evaluate = True
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Write and show one line. Raises: DivergenceError where the loss is not a finite number."""
        if not logs or "train_runtime" in logs:
            return
        is_validation = "eval_runtime" in logs
        if is_validation:
            self.last = {key.removeprefix("eval_"): value for key, value in logs.items()}
            if state.global_step == 0:
                self.first = self.last
        elif "loss" in logs:
            self.losses[state.global_step] = float(logs["loss"])
        if state.is_world_process_zero:
            self._record("valid" if is_validation else "train", state.global_step, logs)
        loss = logs.get("eval_loss" if is_validation else "loss", 0.0)
        if not math.isfinite(loss):
            raise DivergenceError(
                f"step {state.global_step}: the loss is {loss}; lower optimizer.lr, or look at the samples of this step"
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint, once every rank has written its part of it."""
        import torch

        if torch.distributed.is_initialized():
            torch.distributed.barrier()
        if state.is_world_process_zero:
            world = torch.distributed.get_world_size() if torch.distributed.is_initialized() else 1
            mark_whole(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", state.global_step, world)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Close the bar."""
        self._progress.stop()

    def _record(self, event: str, step: int, logs: dict[str, float]) -> None:
        values = {key.removeprefix("eval_"): value for key, value in logs.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "step": step, **values, "time": time.time()}) + "\n")
        shown = "  ".join(
            f"{title} {float(values[key]):{style}}" for key, (title, style) in SHOWN.items() if key in values
        )
        self._console.print(f"step {step:>6}  {'validation ' if event == 'valid' else ''}{shown}", highlight=False)


class StopVote(TrainerCallback):
    """Saves and ends the training after a step where one of the ranks was asked to end."""

    def __init__(self, stop: Stop) -> None:
        """Look at ``stop`` after every step."""
        self.agreed = False
        """Whether the ranks have voted to end."""
        self._stop = stop

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        """Vote. Collective."""
        import torch

        votes = torch.tensor(float(self._stop.reason is not None), device=args.device)
        if torch.distributed.is_initialized():
            torch.distributed.all_reduce(votes)
        if votes.item() > 0:
            self.agreed = control.should_save = control.should_training_stop = True
        return control
