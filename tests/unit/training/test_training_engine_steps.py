"""What an engine makes of a step, over a DeepSpeed that is played by plain autograd."""

from collections import deque
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from megalite.parallel.mesh import Mesh
from megalite.training import engine as engine_module
from megalite.training.engine import Engine
from megalite.training.pipeline_engine import PipelineEngine, StageLoss
from megalite.training.supervision.heartbeat import Heartbeat

VOCAB, LENGTH, MICRO, ROWS = 11, 6, 2, 8


def loss_sum(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="sum")


class PlainDeepSpeed:
    """A table of logits, a backward pass, and one update when all micro-batches are through."""

    def __init__(self, micro_batches: int) -> None:
        self.table = nn.Parameter(torch.randn(VOCAB, VOCAB, generator=torch.Generator().manual_seed(0)))
        self.optimizer = SimpleNamespace(param_groups=[{"lr": None}, {"lr": None}])
        self.micro_batches, self.calls, self.positions = micro_batches, [], []

    def logits(self, ids: Tensor, positions: Tensor | None) -> Tensor:
        self.positions.append(positions)
        return F.embedding(ids, self.table)

    def __call__(self, ids: Tensor, positions: Tensor | None, labels: Tensor) -> Tensor:
        return loss_sum(self.logits(ids, positions), labels)

    def backward(self, loss: Tensor, scale_wrt_gas: bool = True) -> None:
        assert not scale_wrt_gas  # else DeepSpeed divides by the number of micro-batches
        loss.backward()
        self.calls.append("backward")

    def step(self) -> None:
        self.calls.append("step")

    def train(self) -> None:
        self.calls.append("train")

    def eval(self) -> None:
        self.calls.append("eval")

    def get_global_grad_norm(self) -> float:
        return 0.125


def engine_of(deepspeed: Any, mesh: Any, kind: type[Engine] = Engine) -> Any:
    made: Any = object.__new__(kind)
    made.deepspeed, made.mesh, made.device = deepspeed, mesh, torch.device("cpu")
    made.heartbeat, made.autocast, made.clipping = Heartbeat(), False, None
    return made


def batches(documents: bool = False) -> list[dict[str, Tensor]]:
    """Four micro-batches with 1 to 4 counted labels of 6 a row: means of means are far from the mean."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randint(0, VOCAB, (ROWS, LENGTH + 1), generator=generator)
    labels = tokens[:, 1:].clone()
    for row in range(ROWS):
        labels[row, row % 4 + 1 :] = -100
    batch = {"input_ids": tokens[:, :-1], "labels": labels}
    if documents:
        batch["positions"] = torch.arange(LENGTH).repeat(ROWS, 1)
    return [{key: value[at : at + MICRO] for key, value in batch.items()} for at in range(0, ROWS, MICRO)]


def by_hand(table: Tensor) -> tuple[Tensor, Tensor, int]:
    """Gradient of the mean over all counted tokens; the sum of the losses; their number."""
    leaf = table.detach().clone().requires_grad_()
    whole = {key: torch.cat([batch[key] for batch in batches()]) for key in ("input_ids", "labels")}
    total = torch.zeros(())
    for ids, labels in zip(whole["input_ids"], whole["labels"], strict=True):
        for token, label in zip(ids, labels, strict=True):
            if label != -100:
                total = total - leaf[token].log_softmax(-1)[label]
    count = int((whole["labels"] != -100).sum())
    (gradient,) = torch.autograd.grad(total / count, leaf)
    return gradient, total.detach(), count


def test_a_step_is_the_gradient_of_the_mean_over_all_tokens() -> None:
    deepspeed = PlainDeepSpeed(4)
    gradient, total, count = by_hand(deepspeed.table)
    result = engine_of(deepspeed, Mesh.single()).train_step(batches(), lr=0.25)
    assert torch.allclose(deepspeed.table.grad, gradient, atol=1e-6)
    assert float(result.loss_sum) == pytest.approx(float(total), rel=1e-6)
    assert (result.tokens, result.grad_norm) == (count, 0.125)
    assert deepspeed.optimizer.param_groups == [{"lr": 0.25}, {"lr": 0.25}]
    assert deepspeed.calls == ["train", *["backward", "step"] * 4]


def test_what_deepspeed_divides_by_the_replicas_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    deepspeed = PlainDeepSpeed(4)
    gradient, _, count = by_hand(deepspeed.table)
    mesh = SimpleNamespace(
        tensor_size=1,
        replicas=3,
        pipe_size=1,
        pipe_rank=0,
        data_parallel_group="replicas",
        context_size=1,
        context_rank=0,
    )
    mesh.split_group = None
    asked = []

    def all_reduce(value: Tensor, group: str) -> None:
        asked.append(group)
        value *= 3  # three ranks with the same rows

    monkeypatch.setattr(engine_module.torch.distributed, "all_reduce", all_reduce)
    result = engine_of(deepspeed, mesh).train_step(batches(), lr=0.25)
    assert asked == ["replicas"]
    assert result.tokens == 3 * count
    assert torch.allclose(deepspeed.table.grad, gradient, atol=1e-6)  # 3 / (3 n), before DeepSpeed's mean over three


def test_without_a_norm_from_deepspeed_it_is_that_of_clipping() -> None:
    made = engine_of(PlainDeepSpeed(4), Mesh.single())
    made.clipping = SimpleNamespace(norm=torch.tensor(7.5))
    assert made.train_step(batches(), lr=0.1).grad_norm == 7.5


def test_evaluation_sums_without_gradients() -> None:
    deepspeed = PlainDeepSpeed(4)
    _, total, count = by_hand(deepspeed.table)
    got = engine_of(deepspeed, Mesh.single()).evaluate(batches())
    assert got.dtype == torch.float64
    assert got.tolist() == [pytest.approx(float(total), rel=1e-6), count]
    assert deepspeed.calls == ["eval"]
    assert not got.requires_grad


def test_positions_reach_the_model_where_there_are_any() -> None:
    for documents in (False, True):
        deepspeed = PlainDeepSpeed(4)
        engine_of(deepspeed, Mesh.single()).train_step(batches(documents), lr=0.1)
        assert [given is not None for given in deepspeed.positions] == [documents] * 4


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_context_rank_has_its_part_of_tokens_and_all_positions(rank: int) -> None:
    made = engine_of(None, SimpleNamespace(context_size=3, context_rank=rank))
    (batch, *_) = batches(documents=True)
    own = made.own_tokens(batch)
    for key in ("input_ids", "labels"):
        assert own[key].tolist() == batch[key][:, 2 * rank : 2 * rank + 2].tolist()
    assert own["positions"].tolist() == batch["positions"].tolist()


def test_the_loss_is_on_the_last_stage() -> None:
    held = [engine_of(None, SimpleNamespace(pipe_rank=rank, pipe_size=3)).has_loss for rank in range(3)]
    assert held == [False, False, True]


def test_a_total_is_over_replicas_and_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    groups = {"data_parallel_group": 5.0, "pipe_group": 7.0}
    monkeypatch.setattr(engine_module.torch.distributed, "all_reduce", lambda value, group: value.mul_(group))
    for replicas, pipe, expected in ((1, 1, 2.0), (2, 1, 10.0), (1, 2, 14.0), (2, 2, 70.0)):
        mesh = SimpleNamespace(replicas=replicas, pipe_size=pipe, **groups)
        assert float(engine_of(None, mesh).total(torch.tensor(2.0))) == expected


class PlainPipeline(PlainDeepSpeed):
    """DeepSpeed's pipeline engine with one stage: the mean of the micro-batches' losses, then one update."""

    def __init__(self, loss: StageLoss, is_last: bool = True) -> None:
        super().__init__(4)
        self.loss, self.is_last = loss, is_last

    def train_batch(self, data_iter: Any) -> None:
        for _ in range(self.micro_batches):
            inputs, labels = next(data_iter)
            ids, positions = inputs if isinstance(inputs, tuple) else (inputs, None)
            if self.is_last:
                (self.loss(loss_sum(self.logits(ids, positions), labels), labels) / self.micro_batches).backward()
        assert next(data_iter, None) is None

    def eval_batch(self, data_iter: Any, bcast_loss: bool, reduce_output: None, num_micro_batches: int) -> None:
        assert not bcast_loss
        for _ in range(num_micro_batches):
            inputs, labels = next(data_iter)
            if self.is_last:
                self.loss(loss_sum(self.logits(inputs, None), labels), labels)


def pipeline_of(is_last: bool = True) -> tuple[PlainPipeline, Any]:
    loss = StageLoss()
    deepspeed = PlainPipeline(loss, is_last)
    mesh = SimpleNamespace(
        tensor_size=1, replicas=1, pipe_size=2, pipe_rank=int(is_last), pipe_group=None, context_size=1, context_rank=0
    )
    made = engine_of(deepspeed, mesh, PipelineEngine)
    made._loss, made._labels = loss, deque()
    return deepspeed, made


def test_a_pipeline_step_is_the_same_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module.torch.distributed, "all_reduce", lambda value, group: None)
    for documents in (False, True):
        deepspeed, made = pipeline_of()
        gradient, total, count = by_hand(deepspeed.table)
        result = made.train_step(batches(documents), lr=0.1)
        assert torch.allclose(deepspeed.table.grad, gradient, atol=1e-6)
        assert float(result.loss_sum) == pytest.approx(float(total), rel=1e-6)
        assert result.tokens == count
        assert [given is not None for given in deepspeed.positions] == [documents] * 4


def test_only_the_last_stage_evaluates_the_same_sums() -> None:
    deepspeed, made = pipeline_of()
    _, total, count = by_hand(deepspeed.table)
    for _ in range(2):  # nothing is carried over
        assert made.evaluate(batches()).tolist() == [pytest.approx(float(total), rel=1e-6), count]
    _, first = pipeline_of(is_last=False)
    assert first.evaluate(batches()).tolist() == [0.0, 0.0]


def test_a_stage_before_the_last_counts_no_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    def all_reduce(value: Tensor, group: Any) -> None:
        value += 9  # what the last stage has

    monkeypatch.setattr(engine_module.torch.distributed, "all_reduce", all_reduce)
    _, made = pipeline_of(is_last=False)
    result = made.train_step(batches(), lr=0.1)
    assert (float(result.loss_sum), result.tokens) == (0.0, 9)


def test_the_stage_loss_scales_gradients_and_keeps_the_plain_sum() -> None:
    loss = StageLoss()
    logits = torch.randn(2, 3, VOCAB, requires_grad=True)
    labels = torch.tensor([[1, -100, 2], [3, 4, -100]])
    plain = loss_sum(logits, labels)
    loss.scale = 0.25
    assert loss(plain, labels).item() == pytest.approx(plain.item() / 4)
    loss(plain, labels)
    assert float(loss.take_sum(torch.device("cpu"))) == pytest.approx(2 * plain.item())
    assert float(loss.take_sum(torch.device("cpu"))) == 0.0


def test_the_watch_is_told_every_micro_batch() -> None:
    made = engine_of(PlainDeepSpeed(4), Mesh.single())
    said: list[tuple[str, int]] = []
    made.heartbeat.at = lambda phase, number=0: said.append((phase, number))
    made.train_step(batches(), lr=0.1)
    phases = ("forward", "backward", "optimizer step")
    assert said == [(phase, number) for number in range(4) for phase in phases]


def test_the_watch_is_told_every_micro_batch_of_a_pipeline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_module.torch.distributed, "all_reduce", lambda value, group: None)
    deepspeed, made = pipeline_of()
    seen: list[tuple[str, int]] = []
    plain = deepspeed.loss

    def stage(*given: Any) -> Tensor:
        made._next_micro_batch()  # the hook before a stage's forward pass
        seen.append((made.heartbeat.phase, made.heartbeat.micro_batch))
        return plain(*given)

    deepspeed.loss = stage  # type: ignore[assignment]
    made.train_step(batches(), lr=0.1)
    made.evaluate(batches())
    assert seen == [("pipeline schedule", n) for n in range(4)] + [("validation", n) for n in range(4)]
