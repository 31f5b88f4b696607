"""``training.precision: auto`` is bf16 exactly where the device has it, once and for the whole run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from megalite.training import peak, precision
from megalite.training.precision import choose_precision, device_type, has_bf16
from megalite.training.utilization import Utilization

X86 = "processor : 0\nflags : fpu sse avx2 avx512f avx512_bf16 amx_tile\n"
X86_WITHOUT = "processor : 0\nflags : fpu sse avx2 avx512f avx512_vnni\n"
ARM = "Features : fp asimd sve bf16 svebf16\n"
ARM_WITHOUT = "Features : fp asimd asimdhp\n"


@pytest.fixture
def on_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")


def machine(monkeypatch: pytest.MonkeyPatch, folder: Path, facts: str) -> None:
    file = folder / "cpuinfo"
    file.write_text(facts)
    monkeypatch.setattr(precision, "CPU_FACTS", file)


@pytest.mark.usefixtures("on_cpu")
@pytest.mark.parametrize(
    ("facts", "chosen", "words"),
    [
        (X86, "bf16", "which this CPU computes in hardware"),
        (ARM, "bf16", "which this CPU computes in hardware"),
        (X86_WITHOUT, "fp32", "as this CPU has no bf16 instructions"),
        (ARM_WITHOUT, "fp32", "as this CPU has no bf16 instructions"),
    ],
)
def test_auto_follows_the_instructions_of_the_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, facts: str, chosen: str, words: str
) -> None:
    machine(monkeypatch, tmp_path, facts)
    choice = choose_precision("auto")
    assert choice.precision == chosen
    assert choice.message == f"training.precision=auto: {chosen}, {words}"
    assert choose_precision("fp32") == ("fp32", "")


@pytest.mark.usefixtures("on_cpu")
def test_bf16_that_was_asked_for_stays_and_says_where_it_is_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine(monkeypatch, tmp_path, X86)
    assert choose_precision("bf16") == ("bf16", "")
    machine(monkeypatch, tmp_path, X86_WITHOUT)
    choice = choose_precision("bf16")
    assert choice.precision == "bf16"
    assert "bf16 is slow on this CPU" in choice.message and "\n" not in choice.message


@pytest.mark.usefixtures("on_cpu")
def test_a_resume_keeps_the_precision_of_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = tmp_path / "run.yaml"
    written.write_text("training: {precision: bf16}\n")
    machine(monkeypatch, tmp_path, X86_WITHOUT)
    choice = choose_precision("auto", written)
    assert choice.precision == "bf16"
    assert "as in the checkpoint" in choice.message and "slow" in choice.message
    written.write_text("training: {precision: fp32}\n")
    machine(monkeypatch, tmp_path, X86)
    assert choose_precision("auto", written) == ("fp32", "training.precision=auto: fp32, as in the checkpoint")
    assert choose_precision("bf16", written).precision == "bf16", "what is asked for by name wins"
    assert choose_precision("auto", tmp_path / "none.yaml").precision == "bf16"


@pytest.mark.parametrize(("bf16_seconds", "answer"), [(1.0, True), (1.4, True), (80.0, False)])
def test_where_the_cpu_says_nothing_it_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bf16_seconds: float, answer: bool
) -> None:
    monkeypatch.setattr(precision, "CPU_FACTS", tmp_path / "none")
    monkeypatch.setattr(precision, "_time_of_product", {torch.bfloat16: bf16_seconds, torch.float32: 1.0}.__getitem__)
    assert has_bf16("cpu") is answer


def test_the_measurement_itself_gives_seconds() -> None:
    assert 0 < precision._time_of_product(torch.float32) < 10


@pytest.mark.parametrize("capable", [True, False])
def test_a_gpu_is_asked_without_emulation(monkeypatch: pytest.MonkeyPatch, capable: bool) -> None:
    monkeypatch.delenv("DS_ACCELERATOR", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    asked = []

    def supported(including_emulation: bool = True) -> bool:
        asked.append(including_emulation)
        return capable

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", supported)
    assert device_type() == "cuda"
    assert choose_precision("auto").precision == ("bf16" if capable else "fp32")
    assert asked == [False]
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    assert device_type() == "cpu"


def test_the_operations_of_a_product_are_those_that_torch_counts() -> None:
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter:
        torch.nn.functional.linear(torch.ones(5, 7), torch.ones(3, 7))
    assert peak.operations((5, 3, 7)) == counter.get_total_flops()


def test_the_rate_of_a_shape_is_that_of_its_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    now, runs = [0.0], iter([9.0, 4e-3, 3e-3, 2e-3, 5e-3])  # the first is the warm-up

    def timed(device: Any, left: torch.Tensor, weight: torch.Tensor, times: int) -> float:
        assert (tuple(left.shape), tuple(weight.shape), times) == ((10, 30), (20, 30), 1)
        now[0] += 1
        return next(runs)

    monkeypatch.setattr(peak, "_timed", timed)
    monkeypatch.setattr(peak.time, "perf_counter", lambda: now[0])
    rate = peak.measure_tflops(torch.device("cpu"), torch.float32, (10, 20, 30), seconds=3)
    assert rate == pytest.approx(2 * 10 * 20 * 30 / 2e-3 / 1e12)


def test_the_peak_is_the_best_shape_that_was_fast_enough(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried: list[tuple[int, int, int]] = []

    def rate(tflops: dict[int, float], default: float) -> float:
        def measure(device: Any, dtype: Any, shape: tuple[int, int, int]) -> float:
            tried.append(shape)
            return tflops.get(len(tried), default)

        monkeypatch.setattr(peak, "measure_tflops", measure)
        tried.clear()
        return peak.measure_peak_tflops(torch.device("cpu"), torch.float32)

    assert rate({7: 40.0}, 5.0) == 40.0
    assert tried[:4] == [(128, 128, 128), (512, 128, 128), (128, 512, 128), (256, 256, 256)]
    assert (tried[-1], len(tried)) == ((2048, 8192, 2048), 15)
    every = list(tried)
    assert rate({}, 1e-3) == 1e-3
    most = peak.MOST_SECONDS * 1e9  # what a GFLOP/s can do in that time
    assert all(peak.operations(shape) <= most for shape in tried)
    assert tried == every[: len(tried)]
    assert peak.operations(every[len(tried)]) > most


def test_no_more_than_all_of_a_measured_peak_is_used() -> None:
    measured = Utilization(flops_per_token=10.0, peak_flops=100.0, is_measured=True)
    assert measured.mfu(5.0) == 0.5
    assert measured.mfu(34.0) == 1.0
    assert measured.mfu(17.0) == 0.5, "the better rate is the peak from then on"
    named = Utilization(flops_per_token=10.0, peak_flops=100.0)
    assert named.mfu(34.0) == pytest.approx(3.4), "a peak that was named too low is to be seen"
