import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
TABLE = """
from rich.table import Table
from megalite.config.screen import screen
table = Table(*(f"a column with a long name {number}" for number in range(9)), title="figures")
table.add_row(*(str(10**30 + number) for number in range(9)))
screen().print(table)
screen().print("word " * 100, highlight=False)
"""


def test_a_table_that_is_piped_keeps_its_numbers_and_its_width() -> None:
    told = subprocess.run(
        [sys.executable, "-c", TABLE], capture_output=True, text=True, check=True, cwd=REPOSITORY, env={"COLUMNS": "40"}
    ).stdout
    for number in range(9):
        assert str(10**30 + number) in told
    assert "word " * 100 in told
    assert max(map(len, told.splitlines())) < 520  # as wide as it needs to be


def test_every_command_prints_to_the_same_kind_of_console() -> None:
    for path in sorted((REPOSITORY / "megalite").rglob("*.py")):
        made = re.findall(r"(?<!def )\bConsole\((?!quiet=True\)|stderr=True\))", path.read_text())
        assert not made or path.name == "screen.py", path
