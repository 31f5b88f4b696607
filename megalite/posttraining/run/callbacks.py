"""Trainer callbacks: log lines, progress bar and ``metrics.jsonl``; the mark of a complete checkpoint; the vote to stop."""

import json
import math
import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from megalite.config.errors import DivergenceError
from megalite.posttraining.run.folder import mark_complete
from megalite.training.save_or_stop import Request, Requests

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


class Reporter(TrainerCallback):
    """Logs from rank 0, validates after the last step, and ends the training if the loss is not finite.

    Attributes:
        first: metrics of the validation before the first step.
        last: metrics of the latest validation.
        losses: logged training loss by step.
    """

    def __init__(self, run: Path, console: Console) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.losses: dict[int, float] = {}
        self._path, self._console = run / "metrics.jsonl", console
        if self._path.is_file():  # a resumed run
            line = json.loads(self._path.read_text(encoding="utf-8").partition("\n")[0])
            self.first = line if line["event"] == "valid" else {}
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("training")

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.update(self._task, total=state.max_steps, completed=state.global_step)
        self._bar.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        self._bar.update(self._task, completed=state.global_step)
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
        """Record and show one line. Raises: DivergenceError if the loss is not finite."""
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
                f"step {state.global_step}: the loss is {loss}; lower optimizer.lr, or check the samples of this step"
            )

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Mark the checkpoint as complete once every rank has written its part."""
        import torch

        distributed = torch.distributed.is_initialized()
        if distributed:
            torch.distributed.barrier()
        if state.is_world_process_zero:
            world_size = torch.distributed.get_world_size() if distributed else 1
            checkpoint = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            mark_complete(checkpoint, state.global_step, world_size)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._bar.stop()

    def _record(self, event: str, step: int, logs: dict[str, float]) -> None:
        values = {key.removeprefix("eval_"): value for key, value in logs.items()}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"event": event, "step": step, **values, "time": time.time()}) + "\n")
        shown = "  ".join(
            f"{title} {float(values[key]):{style}}" for key, (title, style) in SHOWN.items() if key in values
        )
        self._console.print(f"step {step:>6}  {'validation ' if event == 'valid' else ''}{shown}", highlight=False)


class StopVote(TrainerCallback):
    """Saves a checkpoint or ends the training after a step, as the ranks agree."""

    def __init__(self, requests: Requests) -> None:
        self._requests = requests

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> TrainerControl:
        if agreed := self._requests.vote(args.device):
            control.should_save = True
            control.should_training_stop = control.should_training_stop or Request.STOP in agreed
        return control
