"""The norm and the clipping of ZeRO stage 0, with every rank's view written out."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from megalite.parallel.gradient_groups import GradientGroups
from megalite.parallel.mesh import Mesh
from megalite.training import gradient_norm
from megalite.training.gradient_norm import GradientClipping


def parameters(*gradients: list[float] | None, norm: str | None = None, counts: bool = True) -> list[nn.Parameter]:
    made = []
    for gradient in gradients:
        parameter = nn.Parameter(torch.zeros(0 if gradient is None else len(gradient)))
        parameter.grad = None if gradient is None else torch.tensor(gradient)
        groups: Any = (None, None, norm, counts)
        parameter.gradient_groups = GradientGroups(*groups)  # type: ignore[attr-defined]
        made.append(parameter)
    return made


def gradients(given: list[nn.Parameter]) -> list[list[float]]:
    return [p.grad.tolist() for p in given if p.grad is not None]


def test_gradients_shrink_to_the_limit_of_their_global_norm() -> None:
    for limit in (6.5, 1.0, 0.13):
        given = parameters([3.0, 0.0], None, [0.0, 4.0, 12.0])
        clipping = GradientClipping(given, Mesh.single(), limit)
        clipping()
        assert float(clipping.norm) == 13.0
        scale = limit / 13
        assert gradients(given) == [pytest.approx([3 * scale, 0.0]), pytest.approx([0.0, 4 * scale, 12 * scale])]


@pytest.mark.parametrize("limit", [0.0, 5.5, 100.0])
def test_no_limit_or_a_higher_one_leaves_gradients_alone(limit: float) -> None:
    given = parameters([3.0], [4.0])
    clipping = GradientClipping(given, Mesh.single(), limit)
    clipping()
    assert float(clipping.norm) == 5.0
    assert gradients(given) == [[3.0], [4.0]]


@pytest.mark.parametrize("bad", [float("inf"), float("-inf"), float("nan"), 3e38])
def test_one_value_that_is_not_finite_makes_the_norm_so(bad: float) -> None:
    clipping = GradientClipping(parameters([1.0], [1.0, bad]), Mesh.single(), 1.0)
    clipping()
    assert not torch.isfinite(clipping.norm)


def test_a_norm_is_that_of_its_own_step() -> None:
    given = parameters([3.0, 4.0])
    clipping = GradientClipping(given, Mesh.single(), 0.0)
    clipping()
    given[0].grad = torch.tensor([0.0, 2.0])
    clipping()
    assert float(clipping.norm) == 2.0


def mesh(pipe: int = 1) -> Any:
    return SimpleNamespace(pipe_size=pipe, pipe_group="pipe")


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the other ranks of a group add to a sum; a group that is not in it must not be asked."""
    added: dict[str, float] = {}
    monkeypatch.setattr(gradient_norm.dist, "all_reduce", lambda x, group: x.add_(added.pop(group)))
    return added


@pytest.mark.parametrize(("rank", "own"), [(0, 9.0 + 16.0), (1, 9.0)])
def test_what_every_tensor_rank_holds_counts_on_the_first_only(rank: int, own: float, others: dict[str, float]) -> None:
    given = parameters([3.0], norm="tensor") + parameters([4.0], norm="tensor", counts=rank == 0)
    others["tensor"] = 144.0 - own + 25.0
    clipping = GradientClipping(given, mesh(), 6.5)
    clipping()
    assert float(clipping.norm) == 13.0
    assert gradients(given) == [
        pytest.approx([1.5]),
        pytest.approx([2.0]),
    ]  # what does not count is clipped all the same
    assert not others


def test_each_parameter_is_summed_over_its_own_norm_group(others: dict[str, float]) -> None:
    """What an expert needs: its gradients lie over other ranks than those of the layers around it."""
    others |= {"tensor": 7.0, "experts": 128.0, "pipe": 9.0}
    given = parameters([3.0], norm="tensor") + parameters([4.0], norm="experts", counts=False)
    clipping = GradientClipping(given, mesh(pipe=2), 0.0)
    clipping()
    assert float(clipping.norm) ** 2 == pytest.approx(9 + 7 + 128 + 9)
    assert not others


def test_a_tied_table_counts_on_the_first_of_its_stages(others: dict[str, float]) -> None:
    given = parameters([3.0], [100.0])
    given[1].ds_pipe_replicated = True
    others["pipe"] = 16.0
    clipping = GradientClipping(given, mesh(pipe=2), 2.5)
    clipping()
    assert float(clipping.norm) == 5.0
    assert gradients(given) == [pytest.approx([1.5]), pytest.approx([50.0])]
    assert not others


def test_tensor_and_pipe_axes_are_both_summed(others: dict[str, float]) -> None:
    others |= {"tensor": 7.0, "pipe": 9.0}
    clipping = GradientClipping(parameters([3.0], norm="tensor"), mesh(pipe=2), 0.0)
    clipping()
    assert float(clipping.norm) == 5.0
    assert not others


def test_half_precision_gradients_are_summed_in_fp32() -> None:
    (parameter,) = given = parameters([0.1] * 100_000)
    parameter.grad = None
    parameter.data = parameter.data.bfloat16()
    parameter.grad = torch.full((100_000,), 0.1, dtype=torch.bfloat16)
    clipping = GradientClipping(given, Mesh.single(), 0.0)
    clipping()
    exact: Tensor = parameter.grad.double().square().sum().sqrt()
    assert float(clipping.norm) == pytest.approx(float(exact), rel=1e-5)
