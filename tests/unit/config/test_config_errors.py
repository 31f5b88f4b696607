import io
import socket
import sys
import tempfile
from pathlib import Path

import pytest

from megalite.config.errors import (
    SECONDS_FOR_RANK_0,
    ConfigError,
    DataError,
    Stopped,
    one_line_errors,
    print_error,
)


@pytest.mark.parametrize("error", [ConfigError("a: b; c"), DataError("a: b; c"), FileNotFoundError("a: b; c")])
def test_a_users_mistake_is_one_line_and_exit_code_2(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 2
    assert capsys.readouterr().err == "megalite: error: a: b; c\n"


@pytest.mark.parametrize(("local_rank", "waits"), [("0", 1), ("3", 2)])
def test_another_rank_prints_an_error_that_rank_0_has_not(
    local_rank: str, waits: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slept: list[float] = []
    monkeypatch.setenv("RANK", "11")
    monkeypatch.setenv("WORLD_SIZE", "16")
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    monkeypatch.setattr("megalite.config.errors.time.sleep", slept.append)

    @one_line_errors
    def command() -> None:
        raise ConfigError("a")

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"megalite: error: rank 11 ({socket.gethostname()}): a\n"
    assert slept == [waits * SECONDS_FOR_RANK_0]


def test_a_stopped_run_says_so_and_exits_with_its_signals_code(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def command() -> None:
        raise Stopped("stopped by SIGTERM; all is saved", 143)

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 143
    assert capsys.readouterr().err == "megalite: stopped by SIGTERM; all is saved\n"


def test_an_unexpected_error_is_one_line_and_a_traceback_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    @one_line_errors
    def command() -> None:
        raise ValueError("a\nbug")

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 1
    (report,) = tmp_path.iterdir()
    line = f"megalite: error: ValueError: a bug; this is a bug of megalite, please report it with {report}\n"
    assert capsys.readouterr().err == line
    assert "raise ValueError" in report.read_text()


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def command() -> None:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        command()
    assert caught.value.code == 130
    assert capsys.readouterr().err == "megalite: error: interrupted; run the same command again to resume\n"


def test_a_bare_os_error_keeps_its_path(capsys: pytest.CaptureFixture[str]) -> None:
    @one_line_errors
    def command() -> None:
        open("/nonexistent/file").close()  # noqa: PTH123

    with pytest.raises(SystemExit):
        command()
    assert capsys.readouterr().err == "megalite: error: /nonexistent/file: No such file or directory; check the path\n"


@pytest.mark.parametrize(("no_color", "is_red"), [(False, True), (True, False)])
def test_on_a_terminal_the_line_stands_out_among_a_launchers(
    monkeypatch: pytest.MonkeyPatch, no_color: bool, is_red: bool
) -> None:
    terminal = io.StringIO()
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    print_error("a: b; c")
    assert terminal.getvalue() == (
        "\x1b[1;31mmegalite: error:\x1b[0m a: b; c\n" if is_red else "megalite: error: a: b; c\n"
    )
