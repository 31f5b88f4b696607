"""README, CI and the shims say the same."""

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.DOTALL)


def test_the_first_blocks_are_the_quickstart_and_the_tests() -> None:
    assert BLOCKS[0].strip().endswith("bash examples/tiny/run.sh")
    assert "constraints.txt" in BLOCKS[0]
    assert BLOCKS[1].strip().endswith("pytest")


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert BLOCKS[1].strip() in (REPOSITORY / ".ci/run").read_text()


def test_every_file_that_a_command_names_exists() -> None:
    for path in re.findall(r"(?:tools|ds_configs|examples|benchmarks)/[\w/.-]+\.\w+", README):
        assert (REPOSITORY / path).is_file(), path


@pytest.mark.parametrize("shim", sorted((REPOSITORY / "tools").glob("*.py")), ids=lambda path: path.name)
def test_a_tool_is_a_shim(shim: Path) -> None:
    assert len(shim.read_text().splitlines()) <= 12
    assert "from megalite.cli import run" in shim.read_text()


def test_every_room_of_the_readme_exists() -> None:
    rooms = {path.name for path in (REPOSITORY / "megalite").iterdir() if (path / "__init__.py").is_file()}
    for room in rooms:
        assert f"  {room}/" in README, f"README's tree does not name {room}/"


def test_no_module_is_longer_than_400_lines() -> None:
    for path in [*(REPOSITORY / "megalite").rglob("*.py"), *(REPOSITORY / "tests").rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 400, path


def test_every_module_says_what_it_does() -> None:
    import ast

    for path in (REPOSITORY / "megalite").rglob("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text())), path
