"""The Slurm job of examples/multi-node on two nodes of one rank each, and going on after a stop. Only Slurm is a stub."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import yaml
from rich.console import Console

from megalite.corpus.sources.installed_docs import installed_documents
from megalite.data.preprocess.command import preprocess
from megalite.parity.launch import free_port
from megalite.tokenizer.train import train_tokenizer
from megalite.training.run_folder import checkpoints
from megalite.training.supervision.heartbeat import read_position

REPOSITORY = Path(__file__).parents[2]
SRUN = """#!/bin/bash
shift  # srun's own option; then torchrun, once a node
"$@" & one=$!
"$@" & two=$!
wait $one && wait $two
"""


def write_run(folder: Path) -> Path:
    """Token files, a tokenizer and the YAML of a run on them."""
    console = Console(quiet=True)
    (folder / "text.jsonl").write_text(
        "".join(json.dumps({"text": document.text[:2000]}) + "\n" for document in installed_documents(200_000))
    )
    train_tokenizer([str(folder / "text.jsonl")], folder / "tokenizer", 400, console)
    preprocess([str(folder / "text.jsonl")], folder / "tokenizer", folder / "train", console, 1)
    values = yaml.safe_load((REPOSITORY / "examples/tiny/pretrain.yaml").read_text())
    values["model"] |= {"vocab_size": 400, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    values["data"] = {"train": str(folder / "train"), "tokenizer": str(folder / "tokenizer"), "sequence_length": 32}
    values["training"] = {"steps": 4, "precision": "fp32"}
    values["schedule"] = {"warmup_steps": 1, "decay": "constant"}
    values["checkpoint"] = {"every_steps": 2}
    values["logging"] = {"every_steps": 1, "tensorboard": False}
    values["hardware"] = {"peak_tflops": 1.0}
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return folder / "run.yaml"


def submit(folder: Path, config: Path, *words: str) -> subprocess.Popen[str]:
    """Start the job as Slurm would on nodes that are this machine; what it asks of Slurm goes to ``folder/asked``."""
    stubs = folder / "bin"
    stubs.mkdir(exist_ok=True)
    for name, text in {"srun": SRUN, "scontrol": f"#!/bin/sh\necho $* >> {folder / 'asked'}\necho 127.0.0.1\n"}.items():
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    if not (folder / "examples").exists():
        shutil.copytree(REPOSITORY / "examples", folder / "examples")
        with (folder / "examples/multi-node/nccl.env").open("a") as file:
            file.write("OMP_NUM_THREADS=1\n")  # both nodes are this machine
        for name in ("pretrain.py", "ds_configs"):
            (folder / name).symlink_to(REPOSITORY / name)
    job = {
        "SLURM_SUBMIT_DIR": str(folder),
        "SLURM_JOB_ID": "7",
        "SLURM_JOB_NAME": "two-nodes",
        "SLURM_NNODES": "2",
        "SLURM_JOB_NODELIST": "node-[1-2]",
        "GPUS_PER_NODE": "1",
        "MASTER_PORT": str(free_port()),
        "CONFIG": str(config),
    }
    places = {"PATH": f"{stubs}:{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        ["bash", str(REPOSITORY / "examples/multi-node/train.sbatch"), *words],
        env=os.environ | job | places | {"DS_ACCELERATOR": "cpu"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def ended(job: subprocess.Popen[str]) -> str:
    """What a job has said that ended well."""
    said, _ = job.communicate(timeout=240)
    assert job.returncode == 0, said
    return said


def test_a_job_on_two_nodes_trains_and_a_second_one_goes_on(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    ended(submit(tmp_path, config))
    run = tmp_path / "runs/two-nodes"
    assert sorted(path.name for path in run.glob("step-*")) == ["step-000002", "step-000004"]
    assert json.loads((run / "step-000004/state.json").read_text())["step"] == 4
    ended(submit(tmp_path, config, "training.steps=6"))
    assert (run / "step-000006/hf/config.json").is_file()
    steps = [
        event["step"] for event in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in event
    ]
    assert steps == [1, 2, 3, 4, 5, 6], "each step once: the second job began where the first had ended"


def test_the_signal_before_the_time_limit_saves_and_requeues(tmp_path: Path) -> None:
    config = write_run(tmp_path)
    run = tmp_path / "runs/two-nodes"
    endless = ["training.steps=100000", "data.max_epochs=1000000", "checkpoint.every_steps=1000000"]
    job = submit(tmp_path, config, *endless)
    positions = [run / f".ranks/rank-{rank:05d}.json" for rank in range(2)]
    deadline = time.monotonic() + 240
    while not all((at := read_position(path)) is not None and at.step >= 3 for path in positions):
        assert job.poll() is None and time.monotonic() < deadline, job.communicate()
        time.sleep(0.05)
    job.send_signal(signal.SIGUSR1)  # to the script alone, as --signal=B:USR1 does
    said = ended(job)
    (saved,) = checkpoints(run)
    step = int(saved.name.removeprefix("step-"))
    words = f"{step:,} steps are saved in runs/two-nodes/{saved.name}: resume with --resume"
    assert said.count(f"megalite: stopped by the file runs/two-nodes/.ranks/stop; all {words}") == 1, said
    assert (tmp_path / "asked").read_text().splitlines()[-1] == "requeue 7"
    ended(submit(tmp_path, config, *endless, f"training.steps={step + 2}"))
    assert int(checkpoints(run)[-1].name.removeprefix("step-")) == step + 2
    assert (tmp_path / "asked").read_text().count("requeue") == 1
