"""TRL's trainers with the learning-rate schedule of pretraining and exact validation metrics."""

from abc import abstractmethod
from typing import Any

import torch
from transformers import Trainer
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, SFTTrainer

from megalite.config.labels import IGNORE
from megalite.config.schema import ScheduleSection
from megalite.training.schedule import learning_rate


class _ScheduledTrainer(Trainer):
    """A trainer with the learning rate of ``megalite.training.schedule``."""

    schedule: ScheduleSection

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if getattr(self, "lr_scheduler", None) is None:

            def factor(step: int) -> float:
                return learning_rate(self.schedule, 1.0, min(step, num_training_steps - 1), num_training_steps)

            given = optimizer if optimizer is not None else self.optimizer
            assert given is not None
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(given, factor)
        return self.lr_scheduler


class _SummingTrainer(_ScheduledTrainer):
    """Adds up two numbers over all batches and ranks of a validation."""

    _sums: torch.Tensor

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        self._sums = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        first, second = self.accelerator.reduce(self._sums, "sum").tolist()
        assert output.metrics is not None
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics.update({f"{prefix}_{name}": value for name, value in self.exact(first, second).items()})
        return output

    @abstractmethod
    def exact(self, first: float, second: float) -> dict[str, float]:
        """The metrics that follow from the two sums."""


class ScheduledSFTTrainer(_SummingTrainer, SFTTrainer):
    """SFT whose ``eval_loss`` is the mean over all tokens with loss; TRL averages the means of the batches."""

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        tokens = (inputs["labels"][:, 1:] != IGNORE).sum().to(self._sums)
        self._sums += torch.stack([result[0].to(self._sums) * tokens, tokens])
        return result

    def exact(self, first: float, second: float) -> dict[str, float]:
        return {"loss": first / second, "tokens": int(second)}


class ScheduledDPOTrainer(_ScheduledTrainer, DPOTrainer):
    """Direct preference optimization."""


class ScheduledKTOTrainer(_SummingTrainer, KTOTrainer):
    """Kahneman-Tversky optimization with a reward accuracy, which TRL reports for pairs only.

    ``eval_rewards/accuracies`` is the fraction of held-out answers whose implicit reward has the right sign: wanted answers
    are more likely than under the reference model, unwanted ones less likely (Ethayarajh et al. 2024, arXiv:2402.01306,
    section 4.1). It takes a second forward pass of both models.
    """

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        batch = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            gains = _answer_log_probabilities(model, batch)
            if self.ref_model is not None:
                gains -= _answer_log_probabilities(self.ref_model, batch)
            else:  # LoRA: the reference is the model without its adapter
                with self.accelerator.unwrap_model(model).disable_adapter():
                    gains -= _answer_log_probabilities(model, batch)
        wanted = torch.as_tensor(batch["label"], dtype=torch.bool, device=gains.device)
        right = torch.where(wanted, gains > 0, gains < 0).sum()
        self._sums += torch.stack([right, torch.full_like(right, len(gains))]).to(self._sums)
        return result

    def exact(self, first: float, second: float) -> dict[str, float]:
        return {"rewards/accuracies": first / second}


class ScheduledGRPOTrainer(_ScheduledTrainer, GRPOTrainer):
    """Group relative policy optimization."""


def _answer_log_probabilities(model: Any, batch: Any) -> torch.Tensor:
    """Log p(answer | prompt) of each row, ``(B,)``."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    targets = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORE)[:, 1:]
    nats = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return -nats.view(targets.shape).sum(-1)
