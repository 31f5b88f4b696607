"""A fused loss is a change of the head alone: every engine trains with a head that never holds all logits."""

from pathlib import Path
from typing import Any

import pytest

from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.model.head import Head
from megalite.parity.case import Case
from megalite.parity.matrix import DEFAULT_CONFIG, STEPS
from megalite.parity.verdict import make_reference, out_of_tolerance, run_case

CHUNK = 3


def head_in_chunks(skipped: int = 0) -> None:
    """Logits exist for ``CHUNK`` positions at a time; ``skipped`` positions at the end lose their loss."""
    plain = Head.forward

    def forward(self: Any, x: Any, labels: Any = None) -> Any:
        if labels is None:
            assert x.is_meta, "an engine asked for logits"  # on the meta device their FLOPs are counted
            return plain(self, x)
        ends = range(0, x.shape[1] - skipped, CHUNK)
        return sum(plain(self, x[:, at : at + CHUNK], labels[:, at : at + CHUNK]) for at in ends)

    Head.forward = forward  # type: ignore[method-assign]


def all_but_the_last_chunk() -> None:
    head_in_chunks(skipped=CHUNK)


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return load_run_config(DEFAULT_CONFIG, [])


@pytest.fixture(scope="module")
def reference(base: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_reference(base, STEPS, tmp_path_factory.mktemp("reference"), frozenset())


@pytest.mark.parametrize("layout", ["d1 zero0", "d2 zero3", "t2 zero1", "p2 zero1", "c2 zero0"])
def test_every_engine_trains_with_a_fused_head(layout: str, base: RunConfig, reference: Path) -> None:
    case = Case.parse(layout)
    errors = run_case(base, case, STEPS, reference, timeout_seconds=120, sabotage=head_in_chunks)
    assert not out_of_tolerance(case, errors)


@pytest.mark.parametrize("layout", ["d2 zero3", "p2 zero1"])
def test_a_fused_head_that_loses_its_last_chunk_is_seen(layout: str, base: RunConfig, reference: Path) -> None:
    case = Case.parse(layout)
    errors = run_case(base, case, STEPS, reference, timeout_seconds=120, sabotage=all_but_the_last_chunk)
    assert out_of_tolerance(case, errors)
