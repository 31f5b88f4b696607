"""Every command of every bash block in the READMEs is one that its program would take.

bash itself runs the blocks, loops and variables and all, in a folder where every program is a stub that writes down what it
was called with; then the real parser of the real program reads that.
"""

import argparse
import importlib
import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from megalite.cli import VERBS
from megalite.config.command_line import CommandParser
from megalite.config.explain import validate
from megalite.config.load import apply_overrides, load_run_config, read_yaml
from megalite.config.schema import RunConfig
from megalite.posttraining.schema import PreferenceRun, SftRun

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [
    REPOSITORY / "README.md",
    REPOSITORY / "CONTRIBUTING.md",
    *sorted(REPOSITORY.glob("docs/*.md")),
    *sorted(REPOSITORY.glob("examples/*/README.md")),
]
BLOCK = re.compile(r"```bash\n(.*?)```|`([a-z][^`\n]* (?:tools/|benchmarks/|pretrain\.py)[^`\n]+)`", re.DOTALL)
"""A block, or a command in the running text."""
SHIPPED = re.compile(r"(?<![\w/.-])(?:tools|ds_configs|examples|benchmarks|megalite)/[\w/.-]+\.\w+")
LAUNCHERS = ("deepspeed", "accelerate", "torchrun")
PROGRAMS = ("python", "python3", "pip", "pytest", "bash", "sbatch", "pre-commit", "megalite", *LAUNCHERS)
SCHEMAS = {
    "megalite.pretrain": RunConfig,
    "megalite.posttraining.sft": SftRun,
    "megalite.posttraining.preferences": PreferenceRun,
}
ANY_CONFIG = {
    RunConfig: "examples/tiny/pretrain.yaml",
    SftRun: "examples/tiny/sft.yaml",
    PreferenceRun: "examples/tiny/dpo.yaml",
}
"""Stands for the reader's own ``my.yaml``."""


def blocks() -> list[Any]:
    return [
        pytest.param(block or command, id=f"{document.relative_to(REPOSITORY)}:{number}")
        for document in DOCUMENTS
        for number, (block, command) in enumerate(BLOCK.findall(document.read_text()), start=1)
    ]


class Parsed(BaseException):
    """Carries what a command's own parser made of its arguments out of its ``main``."""

    def __init__(self, namespace: argparse.Namespace) -> None:
        self.namespace = namespace


def calls_of(block: str, folder: Path) -> list[list[str]]:
    """The programs that a block calls, with their arguments."""
    log, stubs = folder / "calls", folder / "bin"
    stubs.mkdir()
    for program in PROGRAMS:
        # bash's own printf; a record ends with an empty argument's mark that no command line can hold
        (stubs / program).write_text(f"#!/bin/bash\nprintf '%s\\0' {program} \"$@\" $'\\x1e' >> {log}\n")
        (stubs / program).chmod(0o755)
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/bin/activate").touch()
    ended = subprocess.run(
        ["/bin/bash", "-euc", block], cwd=folder, env={"PATH": str(stubs)}, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 0, f"bash does not take the block: {ended.stderr}"
    calls, call = [], []
    for word in log.read_text().split("\0")[:-1]:
        if word == "\x1e":
            calls.append(call)
            call = []
        else:
            call.append(word)
    return calls


def script_of(call: list[str]) -> list[str]:
    """A Python script and its arguments, without what starts it; empty where it is none of ours."""
    program, *arguments = call
    if program == "deepspeed":
        from deepspeed.launcher.runner import parse_args

        known = parse_args(arguments)
        return [known.user_script, *known.user_args]
    if program == "accelerate":
        from accelerate.commands.launch import launch_command_parser

        assert arguments[0] == "launch", call
        known = launch_command_parser().parse_args(arguments[1:])
        return [known.training_script, *known.training_script_args]
    if program == "torchrun":
        from torch.distributed.run import get_args_parser

        known = get_args_parser().parse_args(arguments)
        return [known.training_script, *known.training_script_args]
    if program in ("python", "python3") and arguments[0] != "-m":
        return arguments
    return []


def check_script(script: str, arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is there, its parser takes the arguments, and the overrides are keys of its schema."""
    path = REPOSITORY / script
    assert path.is_file(), f"{script} is not there"
    shim = re.search(r'^    run\("([\w-]+)"\)$', path.read_text(), re.MULTILINE)
    if shim is None:  # a benchmark: it may need a peer that is not installed, and is read instead
        flags = {*re.findall(r'add_argument\(\s*"(--\w+)"', path.read_text()), "--help"}
        unknown = [word for word in arguments if word.startswith("--") and word not in flags]
        assert not unknown, f"{script} refuses: {unknown}"
        return
    module = VERBS[shim[1]][0]
    main = importlib.import_module(module).main
    real = CommandParser.parse_args

    def stop(self: CommandParser, *given: Any, **more: Any) -> None:
        raise Parsed(real(self, *given, **more))

    monkeypatch.setattr(CommandParser, "parse_args", stop)
    monkeypatch.setattr(sys, "argv", [script, *arguments])
    try:
        main()
        pytest.fail(f"{script} parses no command line")
    except Parsed as parsed:
        namespace = parsed.namespace
    except SystemExit as end:
        if end.code == 0:  # --help
            return
        pytest.fail(f"{script} refuses: {' '.join(arguments)}")
    finally:
        monkeypatch.undo()
    if (overrides := getattr(namespace, "overrides", None)) and module in SCHEMAS:
        schema: type = SCHEMAS[module]
        given = namespace.config if namespace.config and namespace.config.exists() else Path(ANY_CONFIG[schema])
        values = read_yaml(REPOSITORY / given)
        written = apply_overrides(values, overrides)
        validate(schema, values, str(given), written)


@pytest.mark.parametrize("block", blocks())
def test_every_command_of_a_readme_is_taken_by_its_program(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    calls = calls_of(block, tmp_path)
    assert calls, "a block without a command"
    for call in calls:
        if call[0] == "megalite":
            assert call[1] in VERBS, f"megalite has no verb {call[1]}"
        elif script := script_of(call):
            with monkeypatch.context() as context:
                check_script(script[0], script[1:], context)
        elif call[0] in ("bash", "sbatch"):
            script = [word for word in call[1:] if not word.startswith("-")]
            assert (REPOSITORY / script[0]).is_file(), f"{script[0]} is not there"


@pytest.mark.parametrize("name", ["llama-125m", "llama-1b", "llama-7b-tp2-pp2"])
def test_the_commands_of_an_example_make_all_that_its_run_reads(name: str, tmp_path: Path) -> None:
    text = (REPOSITORY / "examples" / name / "README.md").read_text()
    calls = calls_of("\n".join(block for block, _ in BLOCK.findall(text)), tmp_path)
    made: list[str] = []
    for call in calls:
        flags = {flag: value for flag, value in pairwise(call) if flag.startswith("--")}
        if call[1] == "tools/prepare_corpus.py":
            recipe, output = read_yaml(REPOSITORY / flags["--recipe"]), flags["--output"]
            made.append(f"{output}/*.jsonl.zst")
            if tokenize := recipe.get("tokenize"):
                assert "train" in tokenize or tokenize["tokenizer"] in made, f"{output}: its tokenizer is made later"
                made += [f"{output}/train", f"{output}/valid", f"{output}/tokenizer"]
        elif call[1] == "tools/train_tokenizer.py":
            made.append(flags["--output"])
        elif call[1] == "tools/preprocess_data.py":
            assert flags["--tokenizer"] in made and f"{Path(flags['--input']).parent}/*.jsonl.zst" in made
            made.append(flags["--output"])
        elif call[1] == "pretrain.py":
            data = load_run_config(REPOSITORY / flags["--config"]).data
            needed = {*(source.prefix for source in data.train), str(data.valid), data.tokenizer}
            assert needed <= set(made), f"nothing makes {needed - set(made)}"
            return
    pytest.fail("the example trains nothing")


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, *sorted(REPOSITORY.glob("examples/**/*.y*ml"))], ids=lambda path: path.name
)
def test_every_file_of_the_repository_that_is_named_exists(document: Path) -> None:
    for path in SHIPPED.findall(document.read_text()):
        assert (REPOSITORY / path).exists(), f"{document.name} names {path}"


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ("python tools/dedup.py --inputt a --output b", "refuses"),
        ("python tools/deduplicate.py --input a", "is not there"),
        ("pythn tools/dedup.py", "not found"),
        ("deepspeed --num_gpus 2 pretrain.py optimizer.learning_rate=1", "learning_rate"),
        ("deepspeed --number_of_gpus 2 pretrain.py", ""),
        ("python benchmarks/model_step.py --round 3", "refuses"),
        ("bash examples/tiny/go.sh", "is not there"),
        ("for a in b; do echo", "unexpected end of file"),
        ("megalite pretrian", "no verb"),
    ],
)
def test_a_command_that_is_wrong_is_found(
    block: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises((AssertionError, ValueError, SystemExit, pytest.fail.Exception), match=reason):
        test_every_command_of_a_readme_is_taken_by_its_program(block, tmp_path, monkeypatch)
