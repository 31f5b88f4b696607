"""What is compared: one model, optimizer and data under one layout, told in a few words such as ``p2 t2 d2 zero1``."""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from megalite.config.errors import ConfigError
from megalite.config.grid import GridShape, grid_shape
from megalite.config.layout import check_layout
from megalite.config.schema import RunConfig
from megalite.parallel.cross_entropy import IGNORE

FEATURES = ("sp", "documents", "selective", "full", "untied", "bf16")
LEAST_EPS = 1e-5
"""Adam divides a gradient by its own size; this keeps it from making whole steps of rounding differences near zero."""
ACCUMULATED, PIPELINED = 2, 4
"""Micro-batches that a rank runs in a step, without and with a pipeline."""


@dataclass(frozen=True)
class Case:
    """A layout, and the features of the model that are switched on in it."""

    pipe: int = 1
    data: int = 1
    context: int = 1
    tensor: int = 1
    zero_stage: int = 0
    features: frozenset[str] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Case":
        """From words: ``p2 d2 c2 t2 zero1`` and any of FEATURES. Raises: ConfigError."""
        axes = {"p": "pipe", "d": "data", "c": "context", "t": "tensor", "zero": "zero_stage"}
        case = cls()
        for word in text.split():
            found = re.fullmatch(r"(zero|[pdct])(\d+)", word)
            if found:
                case = replace(case, **{axes[found[1]]: int(found[2])})
            elif word in FEATURES:
                case = replace(case, features=case.features | {word})
            else:
                raise ConfigError(
                    f"layout '{text}': '{word}' is none of p2 d2 c2 t2 zero1 (with any numbers) {' '.join(FEATURES)}"
                )
        if min(case.shape) < 1 or case.zero_stage > 3:
            raise ConfigError(f"layout '{text}': axes are 1 or more, ZeRO stages 0 to 3")
        return case

    def __str__(self) -> str:
        """The words that ``parse`` reads."""
        sizes = {"p": self.pipe, "d": self.data, "c": self.context, "t": self.tensor}
        words = [f"{axis}{size}" for axis, size in sizes.items() if size > 1] or ["d1"]
        return " ".join([*words, f"zero{self.zero_stage}", *sorted(self.features)])

    @property
    def shape(self) -> GridShape:
        """Sizes of the axes."""
        return GridShape(self.pipe, self.data, self.context, self.tensor)

    @property
    def world_size(self) -> int:
        """Ranks that it runs on."""
        return self.shape.world_size

    def config(self, base: RunConfig) -> RunConfig:
        """``base`` under this layout, its batch in a few micro-batches. Raises: ConfigError where the layout cannot be."""
        micro_batches = self.data * (PIPELINED if self.pipe > 1 else ACCUMULATED)
        changes: dict[str, Any] = {
            "parallel": {
                "pipeline_parallel_size": self.pipe,
                "context_parallel_size": self.context,
                "tensor_parallel_size": self.tensor,
                "sequence_parallel": "sp" in self.features,
            },
            "batch": {"micro_batch_size": max(1, base.batch.global_batch_size // micro_batches)},
            "optimizer": {"eps": max(LEAST_EPS, base.optimizer.eps)},
            "data": {"mask_documents": "documents" in self.features},
            "training": {
                "activation_checkpointing": next((f for f in ("selective", "full") if f in self.features), "none"),
                "precision": "bf16" if "bf16" in self.features else "fp32",
            },
        }
        if "untied" in self.features:
            changes["model"] = {"tie_word_embeddings": False}
        values = base.model_dump()
        for section, keys in changes.items():
            values[section].update(keys)
        config = RunConfig.model_validate(values)
        check_layout(config, grid_shape(self.world_size, config.parallel), self.zero_stage)
        return config


def fits(case: Case, base: RunConfig) -> bool:
    """Whether the config's checks let the case through."""
    try:
        case.config(base)
    except ConfigError:
        return False
    return True


def allowed_cases(base: RunConfig, most_ranks: int) -> Iterator[Case]:
    """Every layout of 1, 2, 4 ... ``most_ranks`` ranks that the config's checks let through, with and without sp."""
    sizes = [2**power for power in range(most_ranks.bit_length()) if 2**power <= most_ranks]
    for pipe, data, context, tensor in itertools.product(sizes, repeat=4):
        if pipe * data * context * tensor > most_ranks or base.batch.global_batch_size % data:
            continue
        for stage, sequence_parallel in itertools.product(range(4), (False, True)):
            case = Case(pipe, data, context, tensor, stage, frozenset({"sp"} if sequence_parallel else ()))
            if fits(case, base):
                yield case


def step_data(config: RunConfig, step: int) -> dict[str, Tensor]:
    """The global batch of a step: random tokens, very uneven numbers of counted labels, several documents a row."""
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
