"""What defines an optimizer: how it is built, and which state it keeps for every parameter.

``optimizer.name`` in the YAML names a module of this package, whose ``OPTIMIZER`` is the definition. Checkpoints, resharding
and the memory plan read the state from it, so a new optimizer is one new module and its name in ``OptimizerSection``.
"""

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, get_args

import torch
from torch import nn

from megalite.config.errors import DataError
from megalite.config.schema import OptimizerSection
from megalite.parallel.slicing import Slicing, slicing_of

NAMES: tuple[str, ...] = get_args(OptimizerSection.model_fields["name"].annotation)


@dataclass(frozen=True)
class StateTensor:
    """A tensor in ``optimizer.state[parameter]``, kept in fp32 and saved in ``optimizer/NAME.safetensors``."""

    name: str
    dims: tuple[int, ...] | None = None
    """Dims of the parameter that the tensor has; the others have size 1, as in torch's Adafactor. None is all of them."""
    belongs_to: Callable[[str], bool] = lambda name: True
    """Whether the parameter of this transformers name has the tensor."""

    def shape(self, parameter: torch.Size) -> torch.Size:
        """Its shape for a parameter of this shape."""
        return torch.Size(size if self.dims is None or dim in self.dims else 1 for dim, size in enumerate(parameter))

    def shapes(self, parameters: Mapping[str, torch.Size]) -> dict[str, torch.Size]:
        """Parameter name -> shape, for all parameters that have the tensor."""
        return {name: self.shape(shape) for name, shape in parameters.items() if self.belongs_to(name)}

    def slicing(self, parameter: nn.Parameter) -> Slicing | None:
        """How the tensor is cut over the tensor-parallel ranks: along the parameter's cut, if it has that dim."""
        cut = slicing_of(parameter)
        return cut if cut is None or self.dims is None or cut.dim in self.dims else None


class OptimizerDefinition(ABC):
    """One optimizer. Besides ``state``, torch's optimizers keep a scalar ``step`` for every parameter."""

    state: ClassVar[tuple[StateTensor, ...]]
    """In the order in which the files are written. ZeRO stages 1 to 3 need tensors in the parameter's shape."""

    @abstractmethod
    def build(self, named: Sequence[tuple[str, nn.Parameter]], config: OptimizerSection) -> torch.optim.Optimizer:
        """The optimizer over (transformers name, parameter).

        Group by name and not by ``p.ndim``: under ``zero.Init`` every parameter is one-dimensional.
        """

    def create_state(self, optimizer: torch.optim.Optimizer) -> None:
        """Give every parameter its state now, as the optimizer itself would at its first step.

        ZeRO 1 and 2 step one group at a time and link the state of all groups to the parameters after the first of them;
        the state of a second group would not exist yet, and could never be read (DeepSpeed 0.19.8).
        """
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                optimizer.state[parameter] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    **{tensor.name: torch.zeros_like(parameter) for tensor in self.state},
                }


def optimizer_definition(name: str) -> OptimizerDefinition:
    """The definition of ``optimizer.name``. Raises: DataError if this version has no such optimizer."""
    if name not in NAMES:
        raise DataError(f"optimizer '{name}' is unknown to this version, which has {', '.join(NAMES)}")
    found: OptimizerDefinition = importlib.import_module(f"megalite.training.optimizers.{name}").OPTIMIZER
    return found


def state_numel(name: str, parameters: Mapping[str, torch.Size]) -> int:
    """Numbers of fp32 state that the optimizer of this name keeps for the parameters, without step counters."""
    tensors = optimizer_definition(name).state
    return sum(shape.numel() for tensor in tensors for shape in tensor.shapes(parameters).values())
