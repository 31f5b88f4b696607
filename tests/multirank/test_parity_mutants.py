"""The matrix sees planted bugs: each mutant breaks one thing on every rank, and the layout must fall out of tolerance."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig
from megalite.parity.case import PIPELINED, Case
from megalite.parity.matrix import DEFAULT_CONFIG, NAMED, STEPS
from megalite.parity.verdict import REFERENCE_FEATURES, make_reference, out_of_tolerance, run_case


def no_all_reduce_of_the_input_gradient() -> None:
    from megalite.parallel import collectives

    collectives.copy_to_tensor_axis = lambda x, group: x


def no_all_reduce_of_the_partial_outputs() -> None:
    from megalite.parallel import collectives

    collectives.reduce_from_tensor_axis = lambda x, group: x


def replicated_gradients_counted_twice() -> None:
    """A norm's gradient, whole on every rank already, is summed over the tensor axis nevertheless."""
    _with_groups_of("of_whole", lambda groups, mesh: replace(groups, backward=mesh.split_group))


def gradients_of_norms_not_summed_over_the_split_sequence() -> None:
    _with_groups_of("of_whole", lambda groups, mesh: replace(groups, backward=None))


def replicated_key_value_heads_not_summed() -> None:
    _with_groups_of("of_slice", lambda groups, mesh: replace(groups, backward=None))


def mean_of_means() -> None:
    """Each micro-batch divides by its own tokens, as a mean loss and plain accumulation do."""
    from megalite.training.engine import Engine

    plain = Engine._loss_sum

    def mean(self: Any, batch: Any) -> Any:
        own = (batch["labels"] != -100).sum()
        share = 136 / 4  # the counted tokens of a step by its micro-batches: right on average
        return plain(self, batch) / own * share

    Engine._loss_sum = mean


def no_scale_for_the_micro_batches_of_the_pipeline() -> None:
    from megalite.training.pipeline_engine import StageLoss

    plain = StageLoss.__call__

    def unscaled(self: Any, loss: Any, labels: Any) -> Any:
        whole, self.scale = self.scale, self.scale / PIPELINED
        scaled = plain(self, loss, labels)
        self.scale = whole
        return scaled

    StageLoss.__call__ = unscaled


def slices_not_marked_for_the_norm() -> None:
    _with_groups_of("of_slice", lambda groups, mesh: replace(groups, counts_in_norm=mesh.tensor_rank == 0))


def replicas_counted_in_the_norm() -> None:
    _with_groups_of("of_slice", lambda groups, mesh: replace(groups, counts_in_norm=True))


def vocabulary_padding_in_the_softmax() -> None:
    from megalite.model import head

    plain = head.cross_entropy_sum

    def padded(logits: Any, labels: Any, vocab_size: int, mesh: Any) -> Any:
        return plain(logits, labels, logits.shape[-1] * mesh.tensor_size, mesh)

    head.cross_entropy_sum = padded


def stale_tied_embeddings() -> None:
    from deepspeed.runtime.pipe.engine import PipelineEngine

    PipelineEngine._exec_reduce_tied_grads = lambda self: None
    PipelineEngine._INSTRUCTION_MAP = {
        kind: PipelineEngine._exec_reduce_tied_grads if kind.__name__ == "ReduceTiedGrads" else run
        for kind, run in PipelineEngine._INSTRUCTION_MAP.items()
    }


def positions_of_the_first_context_rank_everywhere() -> None:
    from megalite.model.rope import RopeTables

    plain = RopeTables.up_to
    RopeTables.up_to = lambda self, length, *rest: [x[:16].repeat(2, 1)[:length] for x in plain(self, 8, *rest)]


def attention_across_documents() -> None:
    from megalite.model import layer_execution

    layer_execution.attention_product = functools.partial(
        lambda plain, q, k, v, documents: plain(q, k, v, None), layer_execution.attention_product
    )


def no_weight_decay() -> None:
    _with_groups(lambda groups: [group | {"weight_decay": 0.0} for group in groups])


def decay_on_norms_and_biases() -> None:
    _with_groups(lambda groups: [group | {"weight_decay": groups[0]["weight_decay"]} for group in groups])


def decay_on_biases() -> None:
    from megalite.training.optimizers import groups

    groups.is_norm_or_bias = lambda name: name.endswith("norm.weight")


def betas_swapped() -> None:
    _with_groups(lambda groups: [group | {"betas": group["betas"][::-1]} for group in groups])


def weights_that_never_move() -> None:
    from megalite.training.engine import Engine

    plain = Engine.train_step
    Engine.train_step = lambda self, micro_batches, lr: plain(self, micro_batches, 0.0)


def the_rate_of_the_step_before() -> None:
    from megalite.training.engine import Engine

    plain, rates = Engine.train_step, [0.0]

    def late(self: Any, micro_batches: Any, lr: float) -> Any:
        rates.append(lr)
        return plain(self, micro_batches, rates[-2])

    Engine.train_step = late


def a_schedule_one_step_early() -> None:
    from megalite.parity import on_ranks

    plain = on_ranks.learning_rate
    on_ranks.learning_rate = lambda schedule, peak, step, total: plain(schedule, peak, step + 1, total)


def no_clipping() -> None:
    from megalite.training import engine, gradient_norm

    gradient_norm.GradientClipping._scale = lambda self, gradients: None
    plain = engine.Engine.build_model

    def build(self: Any, ds_config: Any, dtype: Any) -> Any:
        ds_config["gradient_clipping"] = 0.0
        return plain(self, ds_config, dtype)

    engine.Engine.build_model = build


def _with_groups_of(kind: str, change: Callable[[Any, Any], Any]) -> None:
    from megalite.parallel.gradient_groups import GradientGroups

    plain = getattr(GradientGroups, kind)
    setattr(GradientGroups, kind, staticmethod(lambda mesh, *copies: change(plain(mesh, *copies), mesh)))


def _with_groups(change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    from megalite.training.optimizers.adamw import AdamW

    plain = AdamW.build

    def changed(self: Any, named: Any, config: Any) -> Any:
        optimizer = plain(self, named, config)
        optimizer.param_groups[:] = change(optimizer.param_groups)
        return optimizer

    AdamW.build = changed


MUTANTS = [
    (no_all_reduce_of_the_input_gradient, "t2 zero1"),
    (no_all_reduce_of_the_partial_outputs, "t2 zero0"),
    (replicated_gradients_counted_twice, "t2 zero0"),
    (gradients_of_norms_not_summed_over_the_split_sequence, "t2 sp zero0"),
    (replicated_key_value_heads_not_summed, "t4 zero0"),
    (mean_of_means, "d2 zero1"),
    (no_scale_for_the_micro_batches_of_the_pipeline, "p2 zero0"),
    (slices_not_marked_for_the_norm, "t2 zero1"),
    (slices_not_marked_for_the_norm, "t2 zero0"),
    (replicas_counted_in_the_norm, "t4 zero1"),
    (vocabulary_padding_in_the_softmax, "t2 zero0"),
    (stale_tied_embeddings, "p2 zero1"),
    (positions_of_the_first_context_rank_everywhere, "c2 zero0"),
    (attention_across_documents, "t2 documents zero0"),
]


OPTIMIZER_MUTANTS = [
    (no_weight_decay, "d1 zero0"),
    (no_weight_decay, "d2 zero3"),
    (decay_on_norms_and_biases, "d2 zero1"),
    (decay_on_biases, "d1 zero0"),
    (betas_swapped, "d2 zero1"),
    (weights_that_never_move, "d1 zero0"),
    (the_rate_of_the_step_before, "d1 zero0"),
    (the_rate_of_the_step_before, "d2 zero3"),
    (a_schedule_one_step_early, "d1 zero0"),
    (no_clipping, "d1 zero0"),
    (no_clipping, "d2 zero1"),
]


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return load_run_config(DEFAULT_CONFIG, [])


@pytest.fixture(scope="module")
def reference(base: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Case], Path]]:
    @functools.cache
    def made(features: frozenset[str]) -> Path:
        return make_reference(base, STEPS, tmp_path_factory.mktemp("reference"), features)

    yield lambda case: made(case.features & REFERENCE_FEATURES)


@pytest.mark.parametrize(("mutant", "layout"), MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_the_matrix_fails_on(mutant: Callable[[], None], layout: str, base: RunConfig, reference: Any) -> None:
    case = Case.parse(layout)
    errors = run_case(base, case, STEPS, reference(case), timeout_seconds=120, sabotage=mutant)
    assert out_of_tolerance(case, errors)


@pytest.mark.parametrize("layout", sorted({layout for _, layout in MUTANTS} | set(NAMED)))
def test_the_matrix_passes_without_a_mutant_on(layout: str, base: RunConfig, reference: Any) -> None:
    case = Case.parse(layout)
    errors = run_case(base, case, STEPS, reference(case), timeout_seconds=120)
    assert not out_of_tolerance(case, errors)


LONG_RUN = [
    "optimizer.lr=1e-6",
    "optimizer.weight_decay=1e-3",
    "optimizer.gradient_clipping=0",
    "schedule.warmup_steps=5000",
    "training.steps=1000000",
    "model.initializer_range=0.02",
]
"""In its first steps such a run moves its weights by less than rounding does."""


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunConfig, Path]:
    config = load_run_config(DEFAULT_CONFIG, LONG_RUN)
    return config, make_reference(config, STEPS, tmp_path_factory.mktemp("long"), frozenset())


@pytest.mark.parametrize(("mutant", "layout"), OPTIMIZER_MUTANTS, ids=lambda value: getattr(value, "__name__", value))
def test_a_long_warm_up_and_a_small_rate_show_a_wrong_optimizer(
    mutant: Callable[[], None], layout: str, long_run: tuple[RunConfig, Path]
) -> None:
    case = Case.parse(layout)
    errors = run_case(long_run[0], case, STEPS, long_run[1], timeout_seconds=120, sabotage=mutant)
    assert out_of_tolerance(case, errors)


@pytest.mark.parametrize("layout", ["d1 zero0", "d2 zero1", "d2 zero3", "p4 d2 zero1"])
def test_a_config_with_a_long_warm_up_passes_without_a_mutant(layout: str, long_run: tuple[RunConfig, Path]) -> None:
    case = Case.parse(layout)
    assert not out_of_tolerance(case, run_case(long_run[0], case, STEPS, long_run[1], timeout_seconds=120))
