"""What is ours on top of TRL's trainers: the learning rate of pretraining, and validation that counts tokens once."""

from typing import Any

import torch
from trl import DPOTrainer, GRPOTrainer, KTOTrainer, SFTTrainer

from megalite.config.labels import IGNORE
from megalite.config.schema import ScheduleSection
from megalite.training.schedule import learning_rate


class _ScheduledTrainer:
    """A trainer whose learning rate is ``megalite.training.schedule``'s, as in pretraining."""

    schedule: ScheduleSection

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        """The rate as a function of the step; transformers calls this when the optimizer is there."""
        if getattr(self, "lr_scheduler", None) is None:

            def factor(step: int) -> float:
                return learning_rate(self.schedule, 1.0, min(step, num_training_steps - 1), num_training_steps)

            given = optimizer if optimizer is not None else self.optimizer  # type: ignore[attr-defined]
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(given, factor)
        return self.lr_scheduler


class ScheduledSFTTrainer(_ScheduledTrainer, SFTTrainer):
    """TRL's SFT; ``eval_loss`` is the mean over the tokens with loss of all ranks, not a mean of batches' means."""

    _held_out: torch.Tensor

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """The loop of transformers, its loss replaced by the exact one."""
        self._held_out = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        nats, tokens = self.accelerator.reduce(self._held_out, "sum").tolist()
        prefix = kwargs.get("metric_key_prefix", "eval")
        output.metrics[f"{prefix}_loss"] = nats / tokens
        output.metrics[f"{prefix}_tokens"] = int(tokens)
        return output

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        """TRL's step, its mean counted back into a sum."""
        result = super().prediction_step(model, inputs, prediction_loss_only, ignore_keys)
        tokens = (inputs["labels"][:, 1:] != IGNORE).sum().to(self._held_out)
        self._held_out += torch.stack([result[0].to(self._held_out) * tokens, tokens])
        return result


class ScheduledDPOTrainer(_ScheduledTrainer, DPOTrainer):
    """TRL's direct preference optimisation."""


class ScheduledKTOTrainer(_ScheduledTrainer, KTOTrainer):
    """TRL's Kahneman-Tversky optimisation, and a reward accuracy, which TRL has for pairs only.

    ``eval_rewards/accuracies`` is the share of held-out answers that the model finds more likely than the reference where
    they are wanted, and less likely where they are not: the sign of the implicit reward (Ethayarajh et al. 2024,
    arXiv:2402.01306, section 4.1). It costs a second forward pass of both models.
    """

    _right: torch.Tensor

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """The loop of transformers, the accuracy added."""
        self._right = torch.zeros(2, dtype=torch.float64, device=self.args.device)
        output = super().evaluation_loop(*args, **kwargs)
        right, answers = self.accelerator.reduce(self._right, "sum").tolist()
        output.metrics[f"{kwargs.get('metric_key_prefix', 'eval')}_rewards/accuracies"] = right / answers
        return output

    def prediction_step(self, model: Any, inputs: Any, prediction_loss_only: bool, ignore_keys: Any = None) -> Any:
        """TRL's step, and the signs of the rewards of its batch."""
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
        self._right += torch.stack([right, torch.full_like(right, len(gains))]).to(self._right)
        return result


class ScheduledGRPOTrainer(_ScheduledTrainer, GRPOTrainer):
    """TRL's group relative policy optimisation."""


def _answer_log_probabilities(model: Any, batch: Any) -> torch.Tensor:
    """``(B,)``: log p(answer | prompt) of each row."""
    logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False).logits
    targets = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, IGNORE)[:, 1:]
    nats = torch.nn.functional.cross_entropy(
        logits[:, :-1].flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE, reduction="none"
    )
    return -nats.view(targets.shape).sum(-1)
