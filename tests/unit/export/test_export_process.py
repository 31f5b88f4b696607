"""The export as a process: memory does not grow with the model, and a kill leaves nothing that looks whole."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from megalite.export.exported_folder import export_checkpoint

REPOSITORY = Path(__file__).parents[3]


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


MEASURE_PEAK = """
import json, sys
from pathlib import Path
import megalite.export.exported_folder as module

status, clear = Path("/proc/self/status"), Path("/proc/self/clear_refs")

def mark(*arguments):
    peaks.append(1024 * int(status.read_text().split("VmHWM:")[1].split()[0]))
    clear.write_text("5")  # the peak begins anew
    return original(*arguments) if arguments else None

peaks, original = [], module.measure_logit_error
small, large, out = map(Path, sys.argv[1:])
module.export_checkpoint(small, out / "small")
mark()
mark()
module.measure_logit_error = mark
module.export_checkpoint(large, out / "large", verifies=False)
mark()
print(json.dumps(peaks[1:]))
"""
WRITING, MEASURING = 24 * 1024**2, 64 * 1024**2  # pieces; and 256 rows of activations, the allocator's reserve


def test_export_memory_depends_on_the_largest_tensor(make_checkpoint: Callable[..., Any], tmp_path: Path) -> None:
    if not Path("/proc/self/clear_refs").exists():
        pytest.skip("the peak of a process's memory can be measured from a moment on only where /proc is Linux's")
    small, _ = make_checkpoint(runs=tmp_path / "small")
    wide = {"hidden_size": 256, "intermediate_size": 4096, "num_hidden_layers": 8}
    large, model = make_checkpoint(runs=tmp_path / "large", model=wide)
    sizes = [parameter.numel() * 4 for parameter in model.parameters()]
    largest, whole = max(sizes), sum(sizes)
    del model
    (tmp_path / "outs").mkdir()
    process = start(MEASURE_PEAK, small, large, tmp_path / "outs")
    output, _ = process.communicate(timeout=120)
    baseline, exporting, measuring = json.loads(output)
    assert exporting - baseline < 2.5 * largest / 2 + WRITING  # of the largest tensor as it is written, in bf16
    assert measuring - baseline < 2.5 * largest + MEASURING < 0.75 * whole  # else it would prove nothing


KILLED = """
import os, signal, sys
from pathlib import Path
import megalite.export.exported_folder as module

checkpoint, out, victim = sys.argv[1:]
original, calls = getattr(module, victim), []

def kills(*arguments):
    calls.append(arguments)
    if len(calls) == (5 if victim == "cast_pieces" else 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return original(*arguments)

setattr(module, victim, kills)
module.export_checkpoint(Path(checkpoint), Path(out), "bf16", measures=False)
"""


def test_a_killed_export_leaves_no_folder_and_can_be_repeated(
    make_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    checkpoint, _ = make_checkpoint()
    outs = {victim: tmp_path / victim for victim in ("cast_pieces", "model_card")}
    processes = {victim: start(KILLED, checkpoint, out, victim) for victim, out in outs.items()}
    for victim, process in processes.items():
        process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL
        assert not outs[victim].exists()
        left = outs[victim].with_name(f"{victim}.partial")
        assert (left / "new/model.safetensors").stat().st_size > 0  # it was at work
        export_checkpoint(checkpoint, outs[victim], measures=False)
        assert (outs[victim] / "README.md").is_file()
        assert not left.exists()
