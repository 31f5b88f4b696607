"""What the matrix tries, and what it says of a case that is off, hangs, fails or has nothing to compare."""

import itertools
import math
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console

from megalite.config.errors import ConfigError
from megalite.config.load import load_run_config
from megalite.config.schema import RunConfig, ScheduleSection
from megalite.model.pipeline_split import stage_layers
from megalite.parity import matrix, reference, verdict
from megalite.parity.case import DECAYED_STEPS, PEAK_LR, Case, allowed_cases, fits
from megalite.parity.launch import RankError, RankTimeoutError
from megalite.parity.matrix import DEFAULT_CONFIG, NAMED, STEPS, run_matrix
from megalite.parity.on_ranks import Errors, largest
from megalite.parity.reference import Trace
from megalite.parity.verdict import Status, make_reference, out_of_tolerance
from megalite.training.schedule import learning_rate

NAN = float("nan")


@pytest.fixture(scope="module")
def base() -> RunConfig:
    return load_run_config(DEFAULT_CONFIG, [])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("p2 p3", "'p' occurs twice"),
        ("d2 zero1 zero1", "'zero' occurs twice"),
        ("t2 sp sp", "'sp' occurs twice"),
        ("", "is empty"),
        ("p0", "axes are 1 or more"),
        ("zero4", "ZeRO stages 0 to 3"),
        ("x2", "unknown 'x2'; use p2 d2 c2 t2 zero1"),
        ("t-2", "unknown 't-2'"),
        ("t99999999999999999999", "; use p2"),
    ],
)
def test_layouts_that_say_nothing_or_two_things_are_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Case.parse(text)


@pytest.mark.parametrize("text", [*NAMED, "d1 zero0", "p2 d2 c2 t2 zero1"])
def test_a_case_is_told_in_the_words_that_it_is_read_from(text: str) -> None:
    assert sorted(str(Case.parse(text)).split()) == sorted(text.split())


def test_the_matrix_has_every_pipeline_up_to_eight_stages(base: RunConfig) -> None:
    cases = [*allowed_cases(base, 8), *map(Case.parse, NAMED)]
    for pipe in range(2, 9):
        assert {0, 1} <= {case.zero_stage for case in cases if case.pipe == pipe}
    assert all(fits(case, base) for case in cases)
    assert max(case.world_size for case in cases) == 8
    config = Case.parse("p7 vocabulary zero1").config(base)
    assert stage_layers(config.model, config.parallel) == [1, 1, 1, 1, 1, 2, 1]
    large = config.model.vocab_size * config.model.hidden_size
    assert large > 4 * 2 * (config.model.hidden_size**2)
    assert any("vocabulary" in case.features and case.tensor > 1 for case in cases)
    assert any("vocabulary" in case.features and "untied" in case.features for case in cases)


def test_a_users_rates_are_replaced_but_not_the_model(base: RunConfig) -> None:
    words = ["optimizer.lr=1e-9", "optimizer.weight_decay=0", "schedule.warmup_steps=5000", "training.steps=100000"]
    words += ["model.hidden_size=32", "optimizer.betas=[0.8, 0.99]", "schedule.decay=cosine"]
    theirs = load_run_config(DEFAULT_CONFIG, words)
    ours = Case().config(theirs)
    assert ours.model == theirs.model
    assert ours.optimizer.betas == (0.8, 0.99)
    assert ours.optimizer.lr * ours.optimizer.weight_decay > 1e-4
    rates = [learning_rate(ours.schedule, ours.optimizer.lr, step, ours.training.steps) for step in range(STEPS)]
    assert min(rates) >= 0.1 * PEAK_LR
    assert all(abs(a - b) > 0.1 * PEAK_LR for a, b in itertools.pairwise(rates))


def test_a_users_split_is_used_for_its_number_of_stages(base: RunConfig) -> None:
    words = ["parallel.pipeline_parallel_size=2", "parallel.pipeline_split=[5, 3]"]
    theirs = load_run_config(DEFAULT_CONFIG, words)
    splits = [Case(pipe=pipe).config(theirs).parallel.pipeline_split for pipe in (1, 2, 4)]
    assert splits == [None, (5, 3), None]
    assert [*allowed_cases(theirs, 8)] == [*allowed_cases(base, 8)]


def test_the_references_rates_equal_the_schedule() -> None:
    schedule = ScheduleSection(warmup_steps=2, decay="linear", min_lr_ratio=0.1)
    for step in range(DECAYED_STEPS + 3):
        assert reference._share_of_peak(step) == pytest.approx(learning_rate(schedule, 1.0, step, DECAYED_STEPS))


@pytest.mark.parametrize(
    ("samples", "layout", "micro"), [(16, "p2", 4), (16, "d4", 2), (14, "p2", 2), (3, "p4", 1), (10, "d2", 1)]
)
def test_micro_batches_divide_each_ranks_share(samples: int, layout: str, micro: int, base: RunConfig) -> None:
    config = Case.parse(layout).config(load_run_config(DEFAULT_CONFIG, [f"batch.global_batch_size={samples}"]))
    assert config.batch.micro_batch_size == micro


GOOD = Errors(loss=1e-7, gradient=1e-6, norm=1e-8, weight=1e-6)


@pytest.mark.parametrize("key", ["loss", "gradient", "norm", "weight"])
@pytest.mark.parametrize("bad", [NAN, math.inf, 1.0])
def test_nan_on_any_rank_is_out_of_tolerance(key: str, bad: float) -> None:
    off = replace(GOOD, **{key: bad})
    for order in ([GOOD, off, GOOD], [off, GOOD, GOOD], [GOOD, GOOD, off]):
        worst = order[0].worst(order[1]).worst(order[2])
        assert key in out_of_tolerance(Case(), worst)
    assert not out_of_tolerance(Case(), GOOD)


def test_nan_is_the_largest_error_and_nothing_is_no_proof() -> None:
    assert largest([1.0, 3.0, 2.0]) == 3.0
    for values in ([NAN, 1.0], [1.0, NAN], [0.0, NAN, 2.0]):
        assert math.isnan(largest(values))
    with pytest.raises(ValueError, match="empty"):
        largest([])


@pytest.mark.parametrize(("count", "steps"), [(0, 5), (1, 0), (1, -3)])
def test_nothing_to_compare_is_refused(count: int, steps: int, base: RunConfig) -> None:
    with pytest.raises(ConfigError, match="nothing to compare"):
        run_matrix(base, [Case()] * count, steps, 10, Console(quiet=True))


NAMES = frozenset({"a", "b"})
ANSWERS: dict[int, Any] = {
    2: [replace(GOOD, tensors=frozenset({"a"})), replace(GOOD, tensors=frozenset({"b"}))],
    3: [replace(GOOD, tensors=NAMES, loss=0.5)],
    4: RankTimeoutError("no answer within 10 s from ranks [0, 3]"),
    5: RankError("rank 1 raised:\nTraceback\nZeroDivisionError: planted"),
    6: [replace(GOOD, tensors=frozenset({"a"}))],
}


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The ranks answer by the number of stages; the reference holds two tensors."""

    def run_on_ranks(function: Any, world_size: int, *args: Any, timeout_seconds: float) -> Any:
        answer = ANSWERS[world_size]
        if isinstance(answer, Exception):
            raise answer
        return answer

    trace = Trace([1.0], [1.0], [0.1], {}, {name: torch.ones(1) for name in NAMES})
    monkeypatch.setattr(verdict, "run_on_ranks", run_on_ranks)
    monkeypatch.setattr(verdict, "train_plainly", lambda config, steps: trace)


def test_every_outcome_has_a_word_of_its_own(base: RunConfig, played: None) -> None:
    said = StringIO()
    cases = [Case(pipe=pipe) for pipe in (2, 3, 4, 5, 6)] + [Case(data=3)]
    results = run_matrix(base, cases, 5, 10, Console(file=said, width=200, soft_wrap=True))
    assert list(results.values()) == [
        Status.OK,
        Status.OFF,
        Status.HUNG,
        Status.FAILED,
        Status.FAILED,
        Status.UNDIVIDED,
    ]
    text = said.getvalue()
    for words in (
        "p2 zero0: ok (",
        "p3 zero0: out of tolerance: loss is off by 5.0e-01",
        "p4 zero0: hung: no answer within 10 s from ranks [0, 3]",
        "p5 zero0: failed: ZeroDivisionError: planted",
        "p6 zero0: failed: no rank holds b",
        "d3 zero0: batch does not divide: batch.global_batch_size=16 is not a multiple of 3 data-parallel ranks; use 15",
        "all runs use lr 0.001 after 2 steps of warm-up, weight decay 1, clipping 0.1",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("layouts", "told"),
    [
        (["p2"], None),
        (["p2", "p3"], "1 of 2 layouts did not pass: 1 out of tolerance: p3 zero0"),
        (["p4", "p5", "p6"], "3 of 3 layouts did not pass: 1 hung, 2 failed: p4 zero0, p5 zero0, p6 zero0"),
        (["p2", "d3"], "batch.global_batch_size=16 is not a multiple of 3 data-parallel ranks"),
        (["p2 p3"], "'p' occurs twice"),
        (["p2 zero2"], "use ZeRO stage 0 or 1"),
    ],
)
def test_the_exit_code_is_zero_only_where_all_is_proven(
    layouts: list[str],
    told: str | None,
    played: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["parity.py", "--layouts", *layouts])
    if told is None:
        matrix.main()
        return
    with pytest.raises(SystemExit) as ended:
        matrix.main()
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert told in line


def test_one_reference_serves_all_cases_with_the_same_model(
    tmp_path: Path,
) -> None:
    small = load_run_config(DEFAULT_CONFIG, ["model.num_hidden_layers=1", "batch.global_batch_size=2"])
    plain, untied = (make_reference(small, 2, tmp_path, frozenset(features)) for features in ((), ("untied",)))
    assert "lm_head.weight" not in Trace.read(plain).weights
    trace = Trace.read(untied)
    assert "lm_head.weight" in trace.weights
    assert len(trace.losses) == len(trace.norms) == len(trace.rates) == 2
    assert trace.gradients.keys() == trace.weights.keys()
