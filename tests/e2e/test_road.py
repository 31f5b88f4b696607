"""The commands as a user types them: prepare, train under every launcher, resume, load by transformers; and mistakes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from megalite.parity.launch import free_port
from megalite.training.shared_memory import PATTERN, SHARED_MEMORY

REPOSITORY = Path(__file__).parents[2]
SECONDS = 240


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository root, with the virtual environment's programs first on the path."""
    variables = os.environ | {"OMP_NUM_THREADS": "1", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(
        words, cwd=REPOSITORY, env=variables | environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def deepspeed(*words: str) -> subprocess.CompletedProcess[str]:
    return command("deepspeed", "--num_gpus", "2", "--master_port", str(free_port()), "pretrain.py", *words)


def python(*words: str) -> subprocess.CompletedProcess[str]:
    return command(sys.executable, "pretrain.py", *words)


def succeeded(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("road")


@pytest.fixture(scope="module")
def config(folder: Path) -> str:
    """A tiny run that prepares its own data, from two megabytes of the installed packages' documentation."""
    recipe = {"sources": [{"kind": "installed_docs", "max_bytes": 2_000_000}], "valid_fraction": 0.05}
    (folder / "corpus.yaml").write_text(yaml.safe_dump(recipe))
    values = yaml.safe_load((REPOSITORY / "examples/tiny/pretrain.yaml").read_text())
    values["run"] |= {"output_dir": str(folder / "runs"), "name": "first"}
    values["model"] |= {"vocab_size": 512, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    values["data"] = {
        "train": str(folder / "data/train"),
        "valid": str(folder / "data/valid"),
        "tokenizer": str(folder / "data/tokenizer"),
        "sequence_length": 32,
        "prepare": {"recipe": str(folder / "corpus.yaml"), "corpus_dir": str(folder / "data/corpus"), "workers": 2},
    }
    values["batch"] = {"micro_batch_size": 4, "global_batch_size": 16}
    values["schedule"]["warmup_steps"] = 2
    values["training"] |= {"steps": 6}
    values["checkpoint"]["every_steps"] = 3
    values["validation"] = {"every_steps": 3, "max_samples": 10}
    values["logging"]["every_steps"] = 1
    (folder / "run.yaml").write_text(yaml.safe_dump(values))
    return str(folder / "run.yaml")


@pytest.fixture(scope="module")
def trained(config: str, folder: Path) -> Path:
    """The first run: the DeepSpeed launcher, ZeRO-3, bf16, two ranks; prepares the data."""
    output = succeeded(deepspeed("--config", config, "--ds_config", "ds_configs/zero3.json"))
    assert output.count("data is missing: preparing it") == 1
    assert "2 ranks on cpu (pipe 1 x data 2 x context 1 x tensor 1), bf16, ZeRO stage 3" in output
    assert "validation loss" in output
    assert "training finished" in output
    return folder / "runs/first"


def losses(run: Path) -> dict[int, float]:
    lines = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return {line["step"]: line["loss"] for line in lines if line["event"] == "train"}


def test_the_run_folder_holds_what_the_readme_says(trained: Path) -> None:
    for name in ("run.yaml", "ds_config.json", "metrics.jsonl", "tensorboard"):
        assert (trained / name).exists()
    checkpoint = trained / "step-000006"
    for name in ("state.json", "run.yaml", "ds_config.json", "manifest.json", "hf/config.json", "hf/tokenizer.json"):
        assert (checkpoint / name).is_file()
    assert (trained / "step-000003").is_dir()
    assert list((trained / "tensorboard").glob("events*"))
    assert sorted(losses(trained)) == [1, 2, 3, 4, 5, 6]


def test_transformers_loads_and_continues_the_export(trained: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(trained / "step-000006/hf")
    tokenizer = AutoTokenizer.from_pretrained(trained / "step-000006/hf")
    assert model.dtype == torch.bfloat16
    assert len(tokenizer) == model.config.vocab_size == 512
    assert model.config.eos_token_id == tokenizer.eos_token_id == 1
    inputs = tokenizer("The function returns", return_tensors="pt")
    continued = model.generate(**inputs, max_new_tokens=5, do_sample=False)
    assert continued.shape == (1, inputs["input_ids"].shape[1] + 5)


@pytest.mark.parametrize("launcher", ["torchrun", "python"])
def test_other_launchers_train_the_same_model(trained: Path, config: str, folder: Path, launcher: str) -> None:
    words = ["--config", config, "--ds_config", "ds_configs/zero1.json", f"run.name={launcher}"]
    if launcher == "torchrun":
        port = f"--master-port={free_port()}"
        succeeded(command("torchrun", "--nproc-per-node", "2", port, "pretrain.py", *words))
    else:
        succeeded(python(*words))
    got, expected = losses(folder / "runs" / launcher), losses(trained)
    assert got == pytest.approx(expected, rel=0.02)  # bf16, another stage


def test_resume_goes_on_bitwise_and_nothing_is_silently_reused(trained: Path, config: str, folder: Path) -> None:
    words = ["--config", config, "--ds_config", "ds_configs/zero3.json"]
    again = deepspeed(*words)
    assert again.returncode == 2
    assert "exists; continue it with --resume" in again.stderr
    assert again.stderr.count("megalite: error:") == 1
    assert "Traceback" not in again.stderr
    words += [f"--resume={trained / 'step-000003'}", "run.name=resumed"]
    succeeded(deepspeed(*words))
    expected = losses(trained)
    assert losses(folder / "runs/resumed") == {step: expected[step] for step in (4, 5, 6)}
    done = python("--config", config, "--resume")
    assert done.returncode == 2
    assert "nothing is left to train" in done.stderr


def test_evaluation_commands_take_the_export(trained: Path, folder: Path) -> None:
    model = str(trained / "step-000006/hf")
    held_out = str(folder / "data/corpus/valid-*.jsonl.zst")
    output = folder / "bpb.json"
    words = ["tools/bits_per_byte.py", model, "--input", held_out, "--max_documents", "3", "--output", str(output)]
    succeeded(command(sys.executable, *words))
    assert 1 < json.loads(output.read_text())["bits_per_byte"] < 8
    succeeded(command(sys.executable, "tools/generate.py", model, "The function", "--max_new_tokens", "5"))
    task = str(folder / "cloze")
    words = ["tools/make_cloze_task.py", "--input", held_out, "--output", task, "--max_items", "4"]
    succeeded(command(sys.executable, *words))
    results = folder / "results.json"
    words = ["tools/evaluate.py", model, "--tasks", f"{task}/cloze.yaml", "--output", str(results)]
    assert "cloze" in succeeded(command(sys.executable, *words))
    assert 0 <= json.loads(results.read_text())["cloze"]["acc,none"] <= 1


def test_check_prints_the_plan_and_trains_nothing(config: str, folder: Path) -> None:
    words = ["--config", config, "--ds_config", "ds_configs/zero3.json", "--check", "run.name=planned"]
    output = succeeded(python(*words, "hardware.world_size=4", "hardware.peak_tflops=100"))
    for part in (
        "parameters",
        "6NP",
        "exact",
        "compute-optimal",
        "micro 4 x accumulation 1 x data-parallel 4",
        "minutes",
    ):
        assert part in output
    assert not (folder / "runs/planned").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["model.num_layer=3"], "command line: unknown key 'model.num_layer'; did you mean 'model.num_hidden_layers'?"),
        (["batch.global_batch_size=6"], "batch.global_batch_size=6 is not a multiple of batch.micro_batch_size=4"),
        (["data.train=/none/x", "data.prepare=null"], "/none/x.bin: missing"),
        (["model.vocab_size=300"], "was tokenized with a vocabulary of 512, model.vocab_size=300 is smaller"),
        (["--ds_config", "/none.json"], "/none.json: no such DeepSpeed config"),
        (["--config", "/none.yaml"], "/none.yaml: no such config file"),
        (["--resume", "/none"], "--resume /none: not a checkpoint folder"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_one_line_and_exit_code_2(
    trained: Path, config: str, folder: Path, words: list[str], message: str
) -> None:
    result = python("--config", config, "run.name=mistake", *words)
    assert result.returncode == 2
    assert result.stderr.startswith("megalite: error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (folder / "runs/mistake").exists()


def test_damaged_data_is_refused(trained: Path, config: str, folder: Path) -> None:
    tokens = folder / "data/train.bin"
    content = tokens.read_bytes()
    try:
        tokens.write_bytes(content[:-10])
        result = python("--config", config, "run.name=mistake")
        assert result.returncode == 2
        assert "train.bin: has" in result.stderr
        assert "truncated" in result.stderr
    finally:
        tokens.write_bytes(content)


def test_the_cli_lists_and_runs_its_verbs() -> None:
    assert "pretrain" in succeeded(command("megalite"))
    unknown = command("megalite", "pretain")
    assert unknown.returncode == 2
    assert "unknown verb 'pretain'" in unknown.stderr
    assert "--check" in succeeded(command("megalite", "pretrain", "--help"))


def test_no_shared_memory_is_left_behind(trained: Path) -> None:
    assert not list(SHARED_MEMORY.glob(PATTERN))
