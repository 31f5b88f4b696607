"""The same bytes whoever does the work: this machine, a Slurm cluster (its sbatch played by a script), a Ray cluster."""

import functools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from small_corpus import WORDS, files, recipe, write_corpus

from megalite.config.errors import DataError
from megalite.corpus.prepare.prepare import prepare_corpus, prepare_on_slurm
from megalite.corpus.prepare.recipe import Tokenize, TrainTokenizer
from megalite.data.corpus_tokens import tokenize_corpus
from megalite.data.manifest import verify_manifest
from megalite.data.prepare_corpus import _last_scripts
from megalite.training.shared_memory import remove_stale_buffers

REPOSITORY = Path(__file__).parents[2]
QUIET = Console(quiet=True)
SBATCH = """#!{python}
# Plays sbatch: notes the call, then runs every element of the array at once, as Slurm would when the one before has ended.
import os, pathlib, re, subprocess, sys
calls = pathlib.Path("{calls}")
lines = calls.read_text().splitlines() if calls.exists() else []
script = pathlib.Path(sys.argv[-1])
calls.write_text("\\n".join([*lines, " ".join(sys.argv[1:])]) + "\\n")
array = re.search(r"#SBATCH --array=0-(\\d+)", script.read_text())
for element in range(int(array[1]) + 1) if array else [None]:
    more = {{}} if element is None else {{"SLURM_ARRAY_TASK_ID": str(element)}}
    done = subprocess.run(["bash", str(script)], env=os.environ | more, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{{script.name}}: {{done.stderr}}")
print(100 + len(lines))
"""


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files with copies and near-copies, in units and buckets so small that there are some of each."""
    return write_corpus(tmp_path, monkeypatch)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``sbatch`` in the PATH; gives the file with its calls."""
    programs, calls = tmp_path / "programs", tmp_path / "calls"
    programs.mkdir()
    (programs / "sbatch").write_text(SBATCH.format(python=sys.executable, calls=calls))
    (programs / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    return calls


def test_slurm_jobs_run_in_order_and_give_the_same_bytes(corpus: Path, cluster: Path) -> None:
    asked = recipe(
        corpus, tokenize={"train": {"vocab_size": 300}}, slurm={"max_array_size": 2, "partition": "cpu", "running": 1}
    )
    prepare_on_slurm(asked, corpus / "out", QUIET, functools.partial(_last_scripts, asked, corpus / "out"))
    calls = cluster.read_text().splitlines()
    assert "dependency" not in calls[0]
    for number, call in enumerate(calls[1:]):
        assert f"--dependency=afterok:{100 + number} " in call
    steps = [re.sub(r".*\d\d-(.*)\.sbatch", r"\1", call) for call in calls]
    assert steps[:4] == ["filter", "filter-close", "exact-find", "exact-write"]
    assert steps[-6:] == ["shuffle-close", "publish", "plan-tokens", "train-tokens", "valid-tokens", "finish"]
    assert not (corpus / "out.work").exists()
    prepare_corpus(asked, corpus / "local", QUIET)
    made = files(corpus / "out")
    assert {name: made[name] for name in files(corpus / "local")} == files(corpus / "local")
    assert verify_manifest(corpus / "out/train").documents > 0
    assert verify_manifest(corpus / "out/valid").documents > 0


def test_ray_gives_the_same_bytes_and_reports_failures(corpus: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed (pip install 'megalite[cluster]')")
    from megalite.jobs.ray_pool import RayPool

    prepare_corpus(recipe(corpus), corpus / "local", QUIET)
    with RayPool(2) as pool:
        prepare_corpus(recipe(corpus), corpus / "out", QUIET, pool=pool)
        assert files(corpus / "out") == files(corpus / "local")
        how = Tokenize(train=TrainTokenizer(vocab_size=300))
        for name, given in (("ray", pool), ("here", None)):
            tokenize_corpus(how, corpus / "out", corpus / "bpe", {"train": corpus / name}, QUIET, 1, given)
        assert (corpus / "ray.bin").read_bytes() == (corpus / "here.bin").read_bytes()
        with (corpus / "1.jsonl").open("a") as file:
            file.write("broken\n")
        with pytest.raises(DataError, match=r"1\.jsonl:\d+: not JSON") as caught:
            prepare_corpus(recipe(corpus, on_error="fatal"), corpus / "other", QUIET, pool=pool)
        assert "\n" not in str(caught.value)
        with pytest.raises(DataError, match="a Ray worker died"):
            list(pool.map(os._exit, [7]))


STAGES = ("filter", "exact", "dedup", "decontaminate", "shuffle")


def test_a_run_killed_in_every_stage_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL to the whole group, workers and all, as soon as each stage has left a file."""
    texts = [" ".join(WORDS[(n * 7919 + i * (n + 3) * 31) % len(WORDS)] for i in range(300)) for n in range(2000)]
    for number in range(4):
        rows = [json.dumps({"text": text}) + "\n" for text in (*texts[number::4], *texts[:50])]
        (tmp_path / f"{number}.jsonl").write_text("".join(rows))
    (tmp_path / "eval.jsonl").write_text(json.dumps({"question": texts[7]}) + "\n")
    asked = recipe(tmp_path, decontaminate={"against": [f"{tmp_path}/eval.jsonl"]}, filters={"min_stop_words": None})
    (tmp_path / "r.yaml").write_text(asked.model_dump_json())
    command = [sys.executable, "tools/prepare_corpus.py", "--recipe", str(tmp_path / "r.yaml"), "--workers", "2"]
    straight = [*command, "--output", str(tmp_path / "straight")]
    subprocess.run(straight, cwd=REPOSITORY, check=True, capture_output=True, timeout=300)
    work, killed = tmp_path / "out.work", []
    for stage in STAGES:
        process = subprocess.Popen(
            [*command, "--output", str(tmp_path / "out")], cwd=REPOSITORY, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while process.poll() is None:
            if any((work / stage).glob("*")):
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(timeout=30)
                killed.append(stage)
            time.sleep(0.001)
        assert not (tmp_path / "out").exists()
    remove_stale_buffers(pattern="sem.mp-*")  # a killed pool cannot remove its own
    assert killed == list(STAGES)
    subprocess.run(
        [*command, "--output", str(tmp_path / "out")], cwd=REPOSITORY, check=True, capture_output=True, timeout=300
    )
    assert files(tmp_path / "out") == files(tmp_path / "straight")
    assert not work.exists()
