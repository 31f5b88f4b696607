"""A parity case: one model, optimizer and data under one layout, written as ``p2 t2 d2 zero1``."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from megalite.config.errors import ConfigError
from megalite.config.grid import GridShape, grid_shape
from megalite.config.labels import IGNORE
from megalite.config.layout import check_layout
from megalite.config.schema import RunConfig
from megalite.model.layer_shapes import layers_on_meta

FEATURES = ("sp", "documents", "selective", "full", "untied", "vocabulary", "bf16")
"""``vocabulary``: a large one, whose head has as many parameters as LARGE_HEAD decoder layers."""
LARGE_HEAD = 5
PEAK_LR, WARMUP_STEPS, DECAYED_STEPS, MIN_LR_RATIO = 1e-3, 2, 6, 0.1
"""A different rate at every step, large enough to move the weights."""
WEIGHT_DECAY = 1.0
"""Large enough to matter within a few steps; usual values are lost in rounding differences."""
CLIPPING = 0.1
"""Below the gradient norm of any new model, so that every step is clipped."""
LEAST_EPS = 1e-5
"""Adam normalizes gradients; this keeps it from turning rounding differences near zero into whole steps."""
ACCUMULATED, PIPELINED = 2, 4
"""Micro-batches of a rank in a step, without and with a pipeline, if its share of the batch divides."""


@dataclass(frozen=True)
class Case:
    """A layout, and the features that are enabled."""

    pipe: int = 1
    data: int = 1
    context: int = 1
    tensor: int = 1
    zero_stage: int = 0
    features: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Case":
        """Parses ``p2 d2 c2 t2 zero1`` and any of FEATURES. Raises: ConfigError."""
        axes = {"p": "pipe", "d": "data", "c": "context", "t": "tensor", "zero": "zero_stage"}
        sizes: dict[str, int] = {}
        seen, features, words = set(), set(), text.split()
        if not words:
            raise ConfigError(f"layout '{text}' is empty; one process is 'd1 zero0'")
        for word in words:
            found = re.fullmatch(r"(zero|[pdct])(\d{1,6})", word)
            kind = found[1] if found else word
            if kind in seen:
                raise ConfigError(f"layout '{text}': '{kind}' occurs twice; quote each layout: 'p2 zero1' 'p3 zero1'")
            seen.add(kind)
            if found:
                sizes[axes[found[1]]] = int(found[2])
            elif word in FEATURES:
                features.add(word)
            else:
                raise ConfigError(
                    f"layout '{text}': unknown '{word}'; use p2 d2 c2 t2 zero1 (with any numbers) {' '.join(FEATURES)}"
                )
        case = cls(**sizes, features=frozenset(features))
        if min(case.shape) < 1 or case.zero_stage > 3:
            raise ConfigError(f"layout '{text}': axes are 1 or more, ZeRO stages 0 to 3")
        return case

    def __str__(self) -> str:
        sizes = {"p": self.pipe, "d": self.data, "c": self.context, "t": self.tensor}
        words = [f"{axis}{size}" for axis, size in sizes.items() if size > 1] or ["d1"]
        return " ".join([*words, f"zero{self.zero_stage}", *sorted(self.features)])

    @property
    def shape(self) -> GridShape:
        return GridShape(self.pipe, self.data, self.context, self.tensor)

    @property
    def world_size(self) -> int:
        return self.shape.world_size

    def config(self, base: RunConfig) -> RunConfig:
        """Returns ``base`` under this layout, with a few micro-batches per step, and the optimizer settings of all cases.

        Raises: ConfigError if the layout is invalid.
        """
        split = base.parallel.pipeline_split
        changes: dict[str, Any] = {
            "parallel": {
                "pipeline_parallel_size": self.pipe,
                "pipeline_split": split if split is not None and len(split) == self.pipe else None,
                "context_parallel_size": self.context,
                "tensor_parallel_size": self.tensor,
                "sequence_parallel": "sp" in self.features,
            },
            "batch": {"micro_batch_size": self._micro_batch_size(base.batch.global_batch_size)},
            "optimizer": {
                "lr": PEAK_LR,
                "weight_decay": WEIGHT_DECAY,
                "gradient_clipping": CLIPPING,
                "eps": max(LEAST_EPS, base.optimizer.eps),
            },
            "schedule": {"warmup_steps": WARMUP_STEPS, "decay": "linear", "min_lr_ratio": MIN_LR_RATIO},
            "data": {"mask_documents": "documents" in self.features},
            "training": {
                "activation_checkpointing": next((f for f in ("selective", "full") if f in self.features), "none"),
                "precision": "bf16" if "bf16" in self.features else "fp32",
                "steps": DECAYED_STEPS,
            },
            "model": {},
        }
        if "untied" in self.features:
            changes["model"]["tie_word_embeddings"] = False
        if "vocabulary" in self.features:
            layer = sum(p.numel() for p in layers_on_meta(base.model)[1].parameters())
            rows = LARGE_HEAD * layer // base.model.hidden_size
            changes["model"]["vocab_size"] = max(base.model.vocab_size, rows | 1)  # odd: no tensor axis divides it
        values = base.model_dump()
        for section, keys in changes.items():
            values[section].update(keys)
        config = RunConfig.model_validate(values)
        check_layout(config, grid_shape(self.world_size, config.parallel), self.zero_stage)
        return config

    def check_batch(self, base: RunConfig) -> None:
        """Raises: ConfigError if the global batch does not divide among the data ranks."""
        samples = base.batch.global_batch_size
        if samples % self.data:
            fitting = max(self.data, samples // self.data * self.data)
            raise ConfigError(
                f"batch.global_batch_size={samples} is not a multiple of {self.data} data-parallel ranks; "
                f"use {fitting} or {fitting + self.data}"
            )

    def _micro_batch_size(self, global_batch_size: int) -> int:
        share = global_batch_size // self.data
        most = max(1, share // (PIPELINED if self.pipe > 1 else ACCUMULATED))
        return next(size for size in range(most, 0, -1) if size == 1 or share % size == 0)


def fits(case: Case, base: RunConfig) -> bool:
    """Returns whether the case is valid for ``base``."""
    try:
        case.config(base)
    except ConfigError:
        return False
    return True


def allowed_cases(base: RunConfig, most_ranks: int) -> Iterator[Case]:
    """Yields every valid layout: any number of pipeline stages, powers of two on other axes, with and without sp."""
    sizes = [2**power for power in range(most_ranks.bit_length()) if 2**power <= most_ranks]
    for pipe, data, context, tensor in itertools.product(range(1, most_ranks + 1), sizes, sizes, sizes):
        if pipe * data * context * tensor > most_ranks:
            continue
        for stage, sequence_parallel in itertools.product(range(4), (False, True)):
            case = Case(pipe, data, context, tensor, stage, frozenset({"sp"} if sequence_parallel else ()))
            if fits(case, base):
                yield case


def step_data(config: RunConfig, step: int) -> dict[str, Tensor]:
    """Returns the global batch of a step: random tokens, uneven numbers of labels, several documents per row."""
    rows, length, vocabulary = config.batch.global_batch_size, config.data.sequence_length, config.model.vocab_size
    generator = torch.Generator().manual_seed(step)
    tokens = torch.randint(0, vocabulary, (rows, length + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    positions = torch.arange(length).repeat(rows, 1)
    for row in range(rows):
        labels[row, : (row * 5 + step) % length] = IGNORE
        for start in torch.randint(1, length, (2,), generator=generator).sort().values.tolist():
            positions[row, start:] = torch.arange(length - start)
    batch = {"input_ids": tokens[:, :-1], "labels": labels}
    return batch | {"positions": positions} if config.data.mask_documents else batch
