"""The export as a process: memory does not grow with the model, and a kill leaves no folder that looks complete."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from megalite.export.exported_folder import ExportOptions, export_checkpoint

REPOSITORY = Path(__file__).parents[3]
VICTIMS = ("cast_pieces", "model_card")
WRITING, MEASURING = 24 * 1024**2, 64 * 1024**2  # pieces; 256 rows of activations and the allocator's reserve
PROCESS = """
import json, os, signal, sys
from pathlib import Path
import megalite.export.exported_folder as module

status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")
small, large, outs = map(Path, sys.argv[1:])

def export_until(victim):
    original, calls = getattr(module, victim), []

    def kills(*arguments):
        calls.append(arguments)
        if len(calls) == (5 if victim == "cast_pieces" else 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*arguments)

    setattr(module, victim, kills)
    module.export_checkpoint(small, outs / victim, module.ExportOptions("bf16", measures=False))

def mark(*arguments):
    peaks.append(1024 * int(status.read_text().split("VmHWM:")[1].split()[0]))
    clear.write_text("5")  # resets the peak
    return original(*arguments) if arguments else None

codes = []
for victim in ("cast_pieces", "model_card"):  # children of this process, which has imported torch but runs no threads yet
    if not (child := os.fork()):
        export_until(victim)
        os._exit(0)
    codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

peaks, original = [], module.measure_logit_error
if clear.exists():
    module.export_checkpoint(small, outs / "small")
    mark()
    mark()
    module.measure_logit_error = mark
    module.export_checkpoint(large, outs / "large", module.ExportOptions(verifies=False))
    mark()
print(json.dumps({"codes": codes, "peaks": peaks[1:]}))
"""


class Outcome(NamedTuple):
    """What one process did: exports that were killed, and the peak memory of others. It takes seconds to start."""

    checkpoint: Path
    outs: Path
    codes: list[int]
    peaks: list[int]
    tensor_bytes: list[int]
    """In fp32, of the large model."""


@pytest.fixture(scope="module")
def outcome(make_checkpoint_in: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    folder = tmp_path_factory.mktemp("process")
    small, _ = make_checkpoint_in(folder / "small")
    wide = {"hidden_size": 256, "intermediate_size": 4096, "num_hidden_layers": 8}
    large, model = make_checkpoint_in(folder / "large", with_moments=False, model=wide)
    sizes = [parameter.numel() * 4 for parameter in model.parameters()]
    (outs := folder / "outs").mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", PROCESS, small, large, outs]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=True)
    return Outcome(small, outs, **json.loads(done.stdout.splitlines()[-1]), tensor_bytes=sizes)


def test_export_memory_depends_on_the_largest_tensor(outcome: Outcome) -> None:
    if not outcome.peaks:
        pytest.skip("resetting the peak memory of a process needs /proc of Linux")
    largest, whole = max(outcome.tensor_bytes), sum(outcome.tensor_bytes)
    baseline, exporting, measuring = outcome.peaks
    assert exporting - baseline < 2.5 * largest / 2 + WRITING  # the largest tensor is written in bf16
    assert measuring - baseline < 2.5 * largest + MEASURING < 0.75 * whole  # otherwise the test would prove nothing


def test_a_killed_export_leaves_no_folder_and_can_be_repeated(outcome: Outcome) -> None:
    assert outcome.codes == [-signal.SIGKILL] * 2
    for victim in VICTIMS:
        out, left = outcome.outs / victim, outcome.outs / f"{victim}.partial"
        assert not out.exists()
        assert (left / "new/model.safetensors").stat().st_size > 0  # the kill came while it was writing
        export_checkpoint(outcome.checkpoint, out, ExportOptions(measures=False))
        assert (out / "README.md").is_file()
        assert not left.exists()
