import pytest

from megalite.config.command_line import CommandParser, number_of_workers, real_number, whole_number


def parser() -> CommandParser:
    parser = CommandParser(prog="tool")
    parser.add_argument("model", nargs="+")
    parser.add_argument("--tasks", nargs="+")
    parser.add_argument("--workers", type=number_of_workers, default=1)
    parser.add_argument("--documents", type=whole_number(), default=1)
    parser.add_argument("--threshold", type=real_number(0, 1), default=0.5)
    parser.add_argument("--keep", choices=("first", "best"))
    return parser


def error_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(words)
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    return told


def test_options_and_values_stand_in_any_order() -> None:
    for words in (
        ["a", "b", "--tasks", "x", "y", "--workers", "2"],
        ["--workers", "2", "a", "b", "--tasks", "x", "y"],
        ["--tasks", "x", "y", "--workers", "2", "a", "b"],
    ):
        given = parser().parse_args(words)
        assert (given.model, given.tasks, given.workers) == (["a", "b"], ["x", "y"], 2), words


def test_a_value_that_a_list_has_taken_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    told = error_of(capsys, "--tasks", "x", "y", "MODEL")
    assert "are required: model; --tasks accepts every value up to the next option: put 'model' before it" in told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--workers", "0"], "--workers 0: give at least 1"),
        (["--workers", "-1"], "--workers -1: give at least 1"),
        (["--workers", "1000000000"], "--workers 1000000000: give at most 1,024"),
        (["--workers", "1e9"], "--workers 1e9: give a whole number"),
        (["--workers", "two"], "--workers two: give a whole number"),
        (["--workers", ""], "--workers : give a whole number"),
        (["--documents", "9" * 5000], "give a whole number"),
        (["--documents", "9" * 30], "give at most 1,000,000,000,000"),
        (["--threshold", "nan"], "--threshold nan: give a number"),
        (["--threshold", "inf"], "--threshold inf: give a number"),
        (["--threshold", "1.5"], "--threshold 1.5: give at most 1"),
        (["--keep", "last"], "error: --keep: invalid choice: 'last'"),
        (["--wrokers", "2"], "unknown option '--wrokers'; did you mean '--workers'?"),
        (["--training.steps=5"], "write training.steps=5 without the dashes"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = error_of(capsys, "model", *words)
    assert told in line
    assert len(line) < 300


def test_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("megalite ")
