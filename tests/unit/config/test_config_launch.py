"""The launcher's environment and the command line of a run, however odd, are read or refused in a line."""

from pathlib import Path

import pytest

from megalite.config.errors import ConfigError, one_line_errors
from megalite.config.launch import Launch, read_launch
from megalite.config.run_arguments import RunArguments, parse_run_arguments

VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "LOCAL_SIZE")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def test_without_a_launcher_there_is_one_process() -> None:
    assert read_launch() == Launch(rank=0, world_size=1, local_rank=0, local_size=1)
    assert read_launch().is_first


@pytest.mark.parametrize("size_name", ["LOCAL_WORLD_SIZE", "LOCAL_SIZE"])
def test_torchruns_and_deepspeeds_variables_are_read(monkeypatch: pytest.MonkeyPatch, size_name: str) -> None:
    for name, value in {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", size_name: "4"}.items():
        monkeypatch.setenv(name, value)
    assert read_launch() == Launch(rank=5, world_size=8, local_rank=1, local_size=4)
    assert not read_launch().is_first


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE='two' is not a whole number from 1"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE='0' is not a whole number from 1"),
        ({"WORLD_SIZE": "-1"}, "WORLD_SIZE='-1'"),
        ({"WORLD_SIZE": "2.0"}, "WORLD_SIZE='2.0'"),
        ({"WORLD_SIZE": ""}, "WORLD_SIZE=''"),
        ({"WORLD_SIZE": "9" * 5000}, "WORLD_SIZE='9999"),
        ({"RANK": "abc"}, "RANK='abc'"),
        ({"RANK": "-1"}, "RANK='-1'"),
        ({"RANK": "٣", "WORLD_SIZE": "4"}, "RANK='٣'"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 with WORLD_SIZE=2: ranks are 0 to 1"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK=1 with WORLD_SIZE=1"),
        ({"LOCAL_SIZE": "x"}, "LOCAL_SIZE='x'"),
    ],
)
def test_an_environment_that_cannot_be_is_told_in_a_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], variables: dict[str, str], message: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=message):
        read_launch()

    @one_line_errors
    def command() -> None:
        read_launch()

    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def parse(*words: str) -> RunArguments:
    return parse_run_arguments("", "", needs_config=False, arguments=words)


def test_an_override_after_resume_is_an_override() -> None:
    assert parse("--resume", "training.steps=22") == RunArguments(None, None, "", False, ["training.steps=22"])
    assert parse("--resume", "training.steps=22", "a.b=1").overrides == ["training.steps=22", "a.b=1"]
    assert parse("--resume").resume == ""
    assert parse("a.b=1").resume is None
    assert parse("--resume", "runs/a/step-000005").resume == "runs/a/step-000005"


def test_a_checkpoint_path_may_hold_an_equals_sign(tmp_path: Path) -> None:
    folder = tmp_path / "lr=3" / "step-000001"
    folder.mkdir(parents=True)
    assert parse("--resume", str(folder)).resume == str(folder)
