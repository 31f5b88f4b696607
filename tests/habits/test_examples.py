"""Every shipped config is what its schema takes, plans at its stated size, and says in its README what the plan says."""

import importlib.util
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from megalite.config.ds_config import merge_ds_config, read_ds_config, zero_stage
from megalite.config.errors import ConfigError
from megalite.config.explain import validate
from megalite.config.grid import grid_shape
from megalite.config.layout import check_layout
from megalite.config.load import load_run_config, read_yaml
from megalite.config.schema import RunConfig
from megalite.corpus.prepare.recipe import Recipe
from megalite.evaluation.tasks.benchmarks import BENCHMARKS, TASK_FILES, split_of
from megalite.evaluation.tasks.local_benchmark import shipped_task
from megalite.planning.plan_table import print_plan
from megalite.planning.training_plan import assume_precision, make_plan
from megalite.posttraining.schema import PreferenceRun, SftRun
from megalite.posttraining.settings import Settings, deepspeed_dict, read_settings

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "examples"
YAMLS = {path: read_yaml(path) for path in sorted(EXAMPLES.rglob("*.yaml"))}
JSONS = sorted((REPOSITORY / "ds_configs").glob("*.json"))
SCRIPTS = [path for kind in ("*.sh", "*.sbatch") for path in sorted(REPOSITORY.glob(f"examples/**/{kind}"))]
GPUS_OF_TUNING = {"tiny": 2, "llama-125m": 1}
"""Ranks that the READMEs start; eight where nothing is said."""


def schema_of(values: dict[str, Any]) -> type:
    """What a YAML is, by the sections that only it has."""
    if "sources" in values:
        return Recipe
    if "preference" in values:
        return PreferenceRun
    return SftRun if "path" in values.get("model", {}) else RunConfig


def of_schema(schema: type) -> list[Path]:
    return [path for path, values in YAMLS.items() if schema_of(values) is schema]


def shown(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@pytest.mark.parametrize("path", YAMLS, ids=shown)
def test_every_yaml_is_what_its_schema_takes(path: Path) -> None:
    if schema_of(YAMLS[path]) is RunConfig:
        load_run_config(path)
    else:
        validate(schema_of(YAMLS[path]), YAMLS[path], shown(path))


def test_the_examples_are_whole() -> None:
    for name in ("llama-125m", "llama-1b", "llama-7b-tp2-pp2"):
        kinds = {schema_of(YAMLS[path]) for path in YAMLS if path.parent.name == name}
        assert kinds >= {Recipe, RunConfig, SftRun}, name
        assert (EXAMPLES / name / "README.md").is_file()


@pytest.mark.parametrize("path", sorted(TASK_FILES.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_task_file_is_read(path: Path) -> None:
    assert path.stem in BENCHMARKS
    assert shipped_task(path.stem)["output_type"] in ("multiple_choice", "loglikelihood", "generate_until")
    lm_eval = importlib.util.find_spec("lm_eval")
    assert lm_eval is not None and lm_eval.origin is not None
    for name in re.findall(r"!function ([\w.]+)", path.read_text()):
        module, function = name.rsplit(".", 1)
        source = Path(lm_eval.origin).parents[1] / f"{module.replace('.', '/')}.py"
        assert f"def {function}(" in source.read_text(), f"{name} is not there"


@pytest.mark.parametrize("json_path", JSONS, ids=lambda path: path.stem)
@pytest.mark.parametrize("path", of_schema(RunConfig), ids=shown)
def test_every_deepspeed_json_merges_with_every_run(path: Path, json_path: Path) -> None:
    config, values = load_run_config(path), read_ds_config(json_path)
    shape = grid_shape(config.hardware.world_size or 2, config.parallel)
    if shape.pipe > 1 and zero_stage(values) > 1:
        with pytest.raises(ConfigError, match="pipeline_parallel_size=2"):
            check_layout(config, shape, zero_stage(values))
        return
    check_layout(config, shape, zero_stage(values))
    merged = merge_ds_config(assume_precision(config), values, shape, shown(path), shown(json_path))
    together = merged["train_micro_batch_size_per_gpu"] * merged["gradient_accumulation_steps"] * shape.data
    assert together == config.batch.global_batch_size
    assert '"auto"' not in json.dumps(merged)
    assert make_plan(config, shape, zero_stage(values)).tokens > 0


@pytest.mark.parametrize("json_path", [path for path in JSONS if path.stem != "zero0"], ids=lambda path: path.stem)
@pytest.mark.parametrize("path", [*of_schema(SftRun), *of_schema(PreferenceRun)], ids=shown)
def test_every_deepspeed_json_merges_with_every_tuning(
    path: Path, json_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranks = GPUS_OF_TUNING.get(path.parent.name, 8)
    monkeypatch.setenv("WORLD_SIZE", str(ranks))
    settings: Settings[Any] = read_settings(
        schema_of(YAMLS[path]), "", ["--config", str(path), "--ds_config", str(json_path)]
    )
    merged = deepspeed_dict(settings, hidden_size=576)
    assert merged is not None
    batch = settings.config.batch
    assert settings.accumulation_steps * batch.micro_batch_size * ranks == batch.global_batch_size


@pytest.mark.parametrize("readme", sorted(EXAMPLES.glob("*/README.md")), ids=shown)
def test_the_plan_of_a_readme_is_the_plan(readme: Path) -> None:
    """Every row; a plan that tells more than the README is no fault."""
    told = re.findall(r"```text\n(plan of .*?)```", readme.read_text(), re.DOTALL)
    assert len(told) == (readme.parent / "pretrain.yaml").exists()
    for text in told:
        config = load_run_config(readme.parent / "pretrain.yaml")
        assert config.hardware.world_size is not None
        shape = grid_shape(config.hardware.world_size, config.parallel)
        console = Console(width=400, record=True, quiet=False, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
        print_plan(config, make_plan(config, shape, 1), console)
        rows = {" ".join(line.split()) for line in console.export_text().splitlines() if "│" in line}
        for line in text.splitlines():
            assert "│" not in line or " ".join(line.split()) in rows, f"{shown(readme)}: the plan does not say: {line}"


def test_a_later_example_starts_where_the_earlier_one_ends() -> None:
    for path in of_schema(SftRun):
        run = load_run_config(path.parent / "pretrain.yaml")
        start = f"{run.run.output_dir}/{run.run.name}/step-{run.training.steps:06d}/hf"
        assert YAMLS[path]["model"]["path"] == start, shown(path)
    for path in of_schema(PreferenceRun):
        tuned = YAMLS[path.parent / "sft.yaml"]["run"]
        assert YAMLS[path]["model"]["path"] == f"{tuned['output_dir']}/{tuned['name']}/hf", shown(path)


def test_fetched_evaluation_sets_are_found_by_their_names() -> None:
    sets: dict[str, Any] = {}
    exec((EXAMPLES / "fetch_eval_sets.py").read_text(), sets)
    for file, (source, _) in sets["SETS"].items():
        named = [name for name, benchmark in BENCHMARKS.items() if benchmark.matches(f"data/eval/{file}.jsonl")]
        assert len(named) == 1 and BENCHMARKS[named[0]].source == source, file
        assert split_of(f"{file}.jsonl") == BENCHMARKS[named[0]].splits[0], file


@pytest.mark.parametrize("script", [*SCRIPTS, REPOSITORY / ".ci/run"], ids=shown)
def test_every_shell_script_is_sound(script: Path) -> None:
    subprocess.run(["bash", "-n", str(script)], check=True)
    if shutil.which("shellcheck"):
        found = subprocess.run(["shellcheck", "-S", "warning", str(script)], capture_output=True, text=True)
        assert found.returncode == 0, found.stdout


def slurm_job(folder: Path, restart: int, code: int = 0, check: int = 0) -> tuple[int, list[str]]:
    """Exit status of the job script on a cluster of stubs, and what it called."""
    stubs = folder / "bin"
    stubs.mkdir(exist_ok=True)
    log = folder / "calls"
    log.write_text("")
    for name, does in {"srun": f"exit {code}", "scontrol": "echo node-07", "python": f"exit {check}"}.items():
        (stubs / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {log}\n{does}\n')
        (stubs / name).chmod(0o755)
    (folder / "examples").exists() or (folder / "examples").symlink_to(EXAMPLES)
    job = {
        "SLURM_JOB_ID": "42",
        "SLURM_JOB_NAME": "llama-7b",
        "SLURM_NNODES": "8",
        "SLURM_JOB_NODELIST": "node-[07-14]",
    }
    ended = subprocess.run(
        ["bash", str(EXAMPLES / "multi-node/train.sbatch"), "optimizer.lr=2e-4"],
        cwd=folder,
        env={"PATH": f"{stubs}:/usr/bin:/bin", "SLURM_RESTART_COUNT": str(restart), **job},
        timeout=30,
    )
    return ended.returncode, log.read_text().splitlines()


def test_the_slurm_job_starts_resumes_and_stops_to_try(tmp_path: Path) -> None:
    code, calls = slurm_job(tmp_path, restart=0)
    assert code == 0
    assert "pretrain.py --check" in calls[0] and calls[0].endswith("hardware.world_size=64")
    begin = next(call for call in calls if call.startswith("srun"))
    assert "--nnodes 8 --nproc-per-node 8" in begin and "--rdzv-endpoint node-07:29500" in begin
    assert begin.endswith("run.output_dir=runs run.name=llama-7b optimizer.lr=2e-4")
    (tmp_path / "runs/llama-7b").mkdir(parents=True)
    code, calls = slurm_job(tmp_path, restart=1, code=1)
    assert code == 1 and calls[-1] == "scontrol requeue 42"
    code, calls = slurm_job(tmp_path, restart=5, code=1)
    assert code == 1 and "requeue" not in "".join(calls), "the fifth restart was the last"
    assert any(call.startswith("srun") and call.endswith(" --resume") for call in calls)
    code, calls = slurm_job(tmp_path, restart=0, check=2)
    assert code == 2 and len(calls) == 1, "a mistake is not tried again"


@pytest.mark.parametrize("script", [path for path in SCRIPTS if path.suffix == ".sh"], ids=shown)
def test_a_script_without_the_environment_says_so_in_one_line(script: Path, tmp_path: Path) -> None:
    for tool in ("bash", "dirname"):
        (tmp_path / tool).symlink_to(shutil.which(tool) or "")
    ended = subprocess.run(
        ["bash", str(script)], cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 2
    assert "megalite is not installed; create the environment" in ended.stderr
    assert (ended.stderr.count("\n"), ended.stdout) == (1, "")
