"""The reference of all layouts: one plain PyTorch process without DeepSpeed or groups, the whole batch at once."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from megalite.config.labels import IGNORE
from megalite.config.schema import RunConfig
from megalite.model.build import build_model
from megalite.model.causal_lm import CausalLM
from megalite.model.hf_names import named_hf_parameters
from megalite.parallel.mesh import Mesh
from megalite.parity.case import DECAYED_STEPS, MIN_LR_RATIO, PEAK_LR, WARMUP_STEPS, step_data


@dataclass(frozen=True)
class Trace:
    """Results of a training run of a few steps."""

    losses: list[float]
    """Mean over the tokens with a label, at every step."""
    norms: list[float]
    """Global gradient norm before clipping, at every step."""
    rates: list[float]
    """Learning rate at every step."""
    gradients: dict[str, Tensor]
    """Of the first step, by Hugging Face name."""
    weights: dict[str, Tensor]
    """After the last step."""

    def write(self, folder: Path) -> None:
        """Writes the trace into an existing folder."""
        numbers = {key: value for key, value in asdict(self).items() if key in ("losses", "norms", "rates")}
        (folder / "trace.json").write_text(json.dumps(numbers))
        save_file(self.gradients, folder / "gradients.safetensors")
        save_file(self.weights, folder / "weights.safetensors")

    @classmethod
    def read(cls, folder: Path) -> "Trace":
        """Reads what ``write`` wrote."""
        numbers = json.loads((folder / "trace.json").read_text())
        gradients, weights = (load_file(folder / f"{key}.safetensors") for key in ("gradients", "weights"))
        return cls(**numbers, gradients=gradients, weights=weights)


def train_plainly(config: RunConfig, steps: int) -> Trace:
    """Trains with the mean loss over the labelled tokens of the global batch, clipping and AdamW."""
    model = build_model(config.model, Mesh.single(), seed=config.run.seed)
    optimizer = torch.optim.AdamW(
        _groups(model, config), lr=1.0, betas=config.optimizer.betas, eps=config.optimizer.eps
    )
    trace = Trace([], [], [], {}, {})
    for step in range(steps):
        batch = step_data(config, step)
        rate = PEAK_LR * _share_of_peak(step)
        for group in optimizer.param_groups:
            group["lr"] = rate
        logits = model(batch["input_ids"], batch.get("positions"))
        loss = F.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten(), ignore_index=IGNORE)
        loss.backward()
        if step == 0:
            for name, parameter in named_hf_parameters(model):
                trace.gradients[name] = torch.empty(0) if parameter.grad is None else parameter.grad.clone()
        # In fp64: PyTorch's fp32 norm of a million numbers is off by up to 3e-4 on a CPU.
        norm = sum(p.grad.double().square().sum() for p in model.parameters() if p.grad is not None) ** 0.5
        limit = config.optimizer.gradient_clipping or float("inf")
        torch.nn.utils.clip_grads_with_norm_(model.parameters(), limit, torch.as_tensor(norm).float())
        optimizer.step()
        optimizer.zero_grad()
        trace.losses.append(loss.item())
        trace.norms.append(float(norm))
        trace.rates.append(rate)
    trace.weights.update((name, parameter.detach().clone()) for name, parameter in named_hf_parameters(model))
    return trace


def _share_of_peak(step: int) -> float:
    """Returns the warm-up and linear decay of all cases, independent of the product's schedule."""
    decayed = (step - WARMUP_STEPS) / (DECAYED_STEPS - 1 - WARMUP_STEPS)
    return min((step + 1) / (WARMUP_STEPS + 1), max(MIN_LR_RATIO, 1 - (1 - MIN_LR_RATIO) * decayed))


def _groups(model: CausalLM, config: RunConfig) -> list[dict[str, object]]:
    """Matrices decay, vectors do not: by shape here, by name in ``megalite.training.optimizers.groups``."""
    matrices = [parameter for parameter in model.parameters() if parameter.ndim == 2]
    vectors = [parameter for parameter in model.parameters() if parameter.ndim == 1]
    return [
        {"params": matrices, "weight_decay": config.optimizer.weight_decay},
        {"params": vectors, "weight_decay": 0.0},
    ]
