"""No command can bypass the place that turns failures into lines, and Ctrl-C is one line from its first import on."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

from megalite import cli
from megalite.config.command_line import CommandParser
from megalite.config.errors import one_line_errors

REPOSITORY = Path(__file__).parents[2]
SHIMS = [*sorted((REPOSITORY / "tools").glob("*.py")), REPOSITORY / "pretrain.py"]
GUARD = one_line_errors(lambda: None).__code__  # type: ignore[attr-defined]
IMPORTS = re.compile(r"^(?:from|import) .*$", re.MULTILINE)


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_command_is_guarded(verb: str) -> None:
    assert importlib.import_module(cli.VERBS[verb][0]).main.__code__ is GUARD


class Seen(BaseException):
    """Carries a command's parser out of its ``main``."""


@pytest.mark.parametrize("verb", cli.VERBS)
def test_every_option_has_a_help_text(verb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(self: CommandParser, *_: object, **__: object) -> None:
        raise Seen(self)

    monkeypatch.setattr(CommandParser, "parse_args", stop)
    with pytest.raises(Seen) as seen:
        importlib.import_module(cli.VERBS[verb][0]).main()
    parser = seen.value.args[0]
    assert parser.description.endswith(".")
    assert not [action.dest for action in parser._actions if not action.help]


def test_the_verbs_themselves_are_guarded() -> None:
    assert cli.main.__code__ is GUARD  # type: ignore[attr-defined]
    assert cli.run.__code__ is GUARD  # type: ignore[attr-defined]


def test_every_main_with_a_parser_is_guarded() -> None:
    for path in sorted((REPOSITORY / "megalite").rglob("*.py")):
        if "CommandParser" in (text := path.read_text()):
            assert not re.search(r"(?<!@one_line_errors\n)^def main\(", text, re.MULTILINE), path


@pytest.mark.parametrize("shim", SHIMS, ids=lambda path: path.name)
def test_a_tool_imports_nothing_before_the_guard(shim: Path) -> None:
    text = shim.read_text()
    assert IMPORTS.findall(text) == ["from megalite.cli import run"]
    verb = shim.stem.replace("_", "-")
    assert f'run("{verb}")' in text
    assert shim.parent.name != "tools" or text.startswith(f'"""{cli.VERBS[verb][1]}. See ``--help``."""')


def test_every_verb_is_the_name_of_its_tool() -> None:
    assert {shim.stem.replace("_", "-") for shim in SHIMS} == set(cli.VERBS)


def test_the_listing_groups_all_verbs_and_fits_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["megalite"])
    cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines if line.startswith("   ")] == list(cli.VERBS)
    assert set(cli.ROAD) <= set(lines)
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize("verb", ["export-hf", "quantize"])
def test_an_output_without_its_option_is_refused(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["megalite", verb, "model", "out"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    error = capsys.readouterr().err
    assert (ended.value.code, error.count("\n")) == (2, 1)
    assert "required: --output" in error


def test_the_guard_itself_imports_nothing_heavy() -> None:
    script = "import sys, megalite.cli; print(*(name.partition('.')[0] for name in sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert not {"numpy", "rich", "pydantic", "yaml", "torch", "transformers"} & set(loaded.stdout.split())


INTERRUPTED = """
import runpy, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name in ("rich", "numpy", "pydantic"):
            {interrupted}

sys.meta_path.insert(0, Finder())
sys.argv = ["tools/dedup.py"]
runpy.run_path("tools/dedup.py", run_name="__main__")
"""
WAYS = {
    "plain": "raise KeyboardInterrupt",
    "made into another error": "raise ImportError(name) from KeyboardInterrupt()",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_ctrl_c_while_libraries_are_imported_is_one_line(way: str) -> None:
    script = INTERRUPTED.format(interrupted=way)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=REPOSITORY)
    assert ended.returncode == 130
    assert ended.stderr == "megalite: error: interrupted; run the same command again to resume\n"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["prepair-corpus"], "unknown verb 'prepair-corpus'; did you mean 'prepare-corpus'?"),
        (["export_hf"], "did you mean 'export-hf'?"),
        (["merge"], "unknown verb 'merge'; it is now 'merge-datasets'"),
        (["preprocess"], "unknown verb 'preprocess'; it is now 'preprocess-data'"),
        (["--versoin"], "unknown verb '--versoin'; run megalite without arguments to list the verbs"),
    ],
)
def test_a_wrong_verb_is_one_line(
    words: list[str], told: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["megalite", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1


def test_the_version_and_the_verbs_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, told in ((["--version"], "megalite 0."), ([], "usage: megalite VERB"), (["--help"], "train-tokenizer")):
        monkeypatch.setattr(sys, "argv", ["megalite", *words])
        cli.main()
        assert told in capsys.readouterr().out
