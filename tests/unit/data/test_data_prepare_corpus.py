"""The command that runs a recipe, and its scripts for a Slurm cluster."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from small_corpus import files, recipe, write_corpus

from megalite.config.errors import ConfigError, DataError
from megalite.corpus.prepare.prepare import prepare_corpus, prepare_on_slurm
from megalite.data.corpus_tokens import plan_corpus_tokens
from megalite.data.prepare_corpus import main
from megalite.data.preprocess.command import preprocess
from megalite.jobs import run_task
from megalite.jobs.slurm import Script

QUIET = Console(quiet=True)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two files with copies and near-copies, in units and buckets so small that there are some of each."""
    return write_corpus(tmp_path, monkeypatch)


def test_slurm_scripts_are_shell_with_the_right_arrays(corpus: Path) -> None:
    wishes = {"partition": "cpu", "time": "01:00:00", "memory_gb": 3, "cpus": 4, "max_array_size": 3, "running": 2}
    asked = recipe(corpus, slurm={**wishes, "setup": ["module load python"], "options": {"qos": "low"}})
    prepare_on_slurm(
        asked, corpus / "out", QUIET, lambda _: [Script("finish", ["echo", "it is done"])], render_only=True
    )
    folder = corpus / "out.slurm"
    scripts = sorted(folder.glob("*.sbatch"))
    for script in (*scripts, folder / "submit.sh"):
        subprocess.run(["bash", "-n", str(script)], check=True, timeout=20)
    texts = {script.stem.partition("-")[2]: script.read_text() for script in scripts}
    arrays = {name: re.findall("--array=(.*)", text) for name, text in texts.items()}
    assert arrays["filter"] == arrays["dedup-hash"] == ["0-2%2"]  # of more than three units
    assert arrays["dedup-join"] == arrays["publish"] == ["0-0%2"]
    assert arrays["finish"] == []
    for name, text in texts.items():
        for line in ("--partition=cpu", "--time=01:00:00", "--mem=3G", "--qos=low"):
            assert f"#SBATCH {line}\n" in text
        assert f"--cpus-per-task={4 if name == 'finish' else 1}\n" in text
        assert "module load python\n" in text
    assert "--elements 3" in texts["filter"]
    assert '--element "$SLURM_ARRAY_TASK_ID"' in texts["filter"]
    order = re.search("for script in (.*); do", (folder / "submit.sh").read_text())
    assert order is not None
    assert order[1].split() == [script.name for script in scripts]
    assert not (corpus / "out").exists()


def test_jobs_that_wait_or_run_are_not_disturbed(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (corpus / "out.slurm").mkdir()
    (corpus / "out.slurm/jobs").write_text("7\n8\n")
    for waiting, starts in (("8", False), ("", True)):
        program(corpus, "squeue", f"echo {waiting}", monkeypatch)
        if starts:
            prepare_corpus(recipe(corpus), corpus / "out", QUIET)
        else:
            for run in (
                lambda: prepare_corpus(recipe(corpus), corpus / "out", QUIET),
                lambda: prepare_on_slurm(recipe(corpus), corpus / "out", QUIET, lambda _: []),
            ):
                with pytest.raises(DataError, match=r"jobs for this output are queued or running; .*scancel 7 8"):
                    run()


def program(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "programs").mkdir(exist_ok=True)
    (folder / "programs" / name).write_text(f"#!/bin/bash\n{script}\n")
    (folder / "programs" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder / 'programs'}:{os.environ['PATH']}")


def test_jobs_are_handed_over_each_after_the_one_before(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(
        corpus, "sbatch", f'echo "$@" >>{corpus}/calls; echo "$((100 + $(wc -l <{corpus}/calls)));main"', monkeypatch
    )
    prepare_on_slurm(recipe(corpus), corpus / "out", QUIET, lambda _: [])
    calls = (corpus / "calls").read_text().splitlines()
    assert [call.split()[-1] for call in calls] == sorted(path.name for path in (corpus / "out.slurm").glob("*.sbatch"))
    assert "dependency" not in calls[0]
    for number, call in enumerate(calls[1:], start=101):
        assert f"--dependency=afterok:{number} " in call
    assert (corpus / "out.slurm/jobs").read_text().split() == [str(101 + n) for n in range(len(calls))]


def test_a_job_that_slurm_does_not_take_is_told_in_one_line(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(corpus, "sbatch", "echo 'sbatch: error: invalid partition specified' >&2; exit 1", monkeypatch)
    with pytest.raises(
        DataError, match=r"submit\.sh: sbatch: error: invalid partition specified; see the slurm section"
    ):
        prepare_on_slurm(recipe(corpus), corpus / "out", QUIET, lambda _: [])


def test_without_ray_the_engine_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from megalite.jobs.ray_pool import RayPool

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'megalite\[cluster\]'"):
        RayPool(2)


def test_planned_tokens_are_encoded_by_tasks_and_joined_after(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = recipe(corpus, tokenize={"train": {"vocab_size": 300}})
    (corpus / "r.yaml").write_text(asked.model_dump_json())
    command = ["x", "--recipe", str(corpus / "r.yaml"), "--output", str(corpus / "out"), "--workers", "1"]
    prepare_corpus(asked, corpus / "out", QUIET)
    plan_corpus_tokens(asked, corpus / "out", QUIET)
    for side in ("train", "valid"):
        monkeypatch.setattr(sys, "argv", ["x", str(corpus / f"out/{side}.partial"), "--step", "encode", "--if_planned"])
        run_task.main()
        assert not (corpus / f"out/{side}.bin").exists()
    with monkeypatch.context() as patch:
        patch.setattr("megalite.data.preprocess.job.encode_unit", lambda *_: pytest.fail("encoded already"))
        patch.setattr(sys, "argv", command)
        main()
    by_tasks = {side: (corpus / f"out/{side}.bin").read_bytes() for side in ("train", "valid")}
    run_task.main()  # nothing is planned any more
    for side, content in by_tasks.items():
        preprocess([f"{corpus}/out/{side}-*.jsonl.zst"], corpus / "out/tokenizer", corpus / side, QUIET)
        assert (corpus / f"{side}.bin").read_bytes() == content


def test_the_command_makes_text_and_tokens_once(
    corpus: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = recipe(corpus, tokenize={"train": {"vocab_size": 300}}).model_dump(mode="json")
    (corpus / "r.yaml").write_text(json.dumps(asked))
    command = ["x", "--recipe", str(corpus / "r.yaml"), "--output", str(corpus / "out"), "--workers", "1"]
    monkeypatch.setattr(sys, "argv", command)
    main()
    made = {name: (corpus / "out" / name).stat().st_mtime_ns for name in files(corpus / "out")}
    assert {"train.bin", "train.idx", "valid.bin", "tokenizer/tokenizer.json", "ledger.html"} <= made.keys()
    capsys.readouterr()
    main()
    assert capsys.readouterr().out.count("is finished already, nothing to do") == 3
    assert {name: (corpus / "out" / name).stat().st_mtime_ns for name in made} == made
    asked["tokenize"] = {"tokenizer": str(corpus / "none")}
    (corpus / "r.yaml").write_text(json.dumps(asked))
    with pytest.raises(SystemExit, match="2"):
        main()
    assert re.search(r"none.*", capsys.readouterr().err)
