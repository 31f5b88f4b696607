"""The command line of parity: an empty or senseless proof is refused before the first process starts."""

import sys

import pytest

from megalite.parity import matrix


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max_ranks", "0"], "--max_ranks 0: give at least 1"),
        (["--max_ranks", "-3"], "--max_ranks -3: give at least 1"),
        (["--max_ranks", "1000000000"], "give at most 64"),
        (["--steps", "0"], "--steps 0: give at least 1"),
        (["--steps", "1000000000"], "give at most"),
        (["--sequence_length", "0"], "--sequence_length 0: give at least 1"),
        (["--timeout_seconds", "0"], "give at least 1"),
        (["--layouts"], "--layouts: expected at least one argument"),
        (["--layouts", "model.hidden_size=64"], "nothing to compare"),
        (["--layouts", ""], "is empty"),
        (["--layouts", "p2p3"], "unknown 'p2p3'"),
        (["--layouts", "p2 p3 zero1"], "'p' occurs twice"),
        (["--layouts", "d0 zero1"], "axes are 1 or more"),
        (["--layouts", "d2 zero4"], "ZeRO stages 0 to 3"),
        (["--layouts", "d999999 zero1"], "needs 999,999 processes; at most 64"),
        (["t2 zero3"], "'t2 zero3' is not section.key=value; layouts come after --layouts"),
        (["a.b=1"], "command line: unknown key 'a'"),
    ],
)
def test_a_proof_of_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a process was to be started")

    monkeypatch.setattr(matrix, "try_case", never)
    monkeypatch.setattr(matrix, "make_reference", never)
    monkeypatch.setattr(sys, "argv", ["parity.py", *words])
    with pytest.raises(SystemExit) as ended:
        matrix.main()
    error = capsys.readouterr().err
    assert ended.value.code == 2 and message in error and error.count("\n") == 1, error
