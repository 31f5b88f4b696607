import signal
import subprocess
import sys
from pathlib import Path

import pytest

from megalite.config.errors import DataError
from megalite.files.own_folder import MARK
from megalite.files.whole_file import whole_file
from megalite.files.whole_folder import check_output, whole_folder
from megalite.jobs.work_folder import forget, held_folder, work_folder, work_folder_of

WRITTEN = ("books.json", "shard-*.jsonl", "tokenizer/*.json")


def tree(folder: Path) -> dict[str, str]:
    """Every path below ``folder`` with what is there, links not followed."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else path.read_text() if path.is_file() else "folder"
    return found


def write(output: Path, text: str = "new") -> None:
    with whole_folder(output) as folder:
        (folder / "books.json").write_text(text)


def test_an_output_gets_its_name_only_when_whole(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "out") as folder:
        (folder / "books.json").write_text("new")
        assert not (tmp_path / "out").exists()
    assert tree(tmp_path) == {"out": "folder", "out/books.json": "new"}


def test_an_old_output_stays_until_the_new_one_has_its_name(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(KeyboardInterrupt), whole_folder(tmp_path / "out") as folder:
        (folder / "books.json").write_text("new")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"out": "folder", "out/books.json": "old"}
    write(tmp_path / "out", "new")
    assert tree(tmp_path) == {"out": "folder", "out/books.json": "new"}


@pytest.mark.parametrize("renames", [0, 1, 2])
def test_an_old_output_survives_a_kill_at_any_rename(tmp_path: Path, renames: int) -> None:
    write(tmp_path / "out", "old")
    script = f"""
import os, pathlib, signal
from megalite.files.whole_folder import whole_folder
rename, done = pathlib.Path.rename, []
def killing(self, target):
    if len(done) == {renames}:
        os.kill(os.getpid(), signal.SIGKILL)
    done.append(target)
    return rename(self, target)
with whole_folder(pathlib.Path("out")) as folder:
    (folder / "books.json").write_text("new")
    pathlib.Path.rename = killing
if {renames} == 2:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, check=False)
    assert ended.returncode == -signal.SIGKILL
    check_output(tmp_path / "out", WRITTEN, overwrite=True)  # the next run looks before it works
    assert (tmp_path / "out/books.json").read_text() == ("new" if renames == 2 else "old")
    write(tmp_path / "out", "newer")
    assert tree(tmp_path) == {"out": "folder", "out/books.json": "newer"}


def test_an_output_that_appears_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="was created while this command was running"), whole_folder(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out/mine").write_text("mine")
    assert tree(tmp_path) == {"out": "folder", "out/mine": "mine"}


def foreign(path: Path, kind: str) -> None:
    """Something of the user's at ``path``."""
    home = path.parent / "home"
    home.mkdir(parents=True)
    (home / "plan.json").write_text("mine")
    if kind == "folder":
        home.rename(path)
    elif kind == "link to a folder":
        path.symlink_to(home)
    elif kind == "dangling link":
        path.symlink_to(home / "none")
    elif kind == "link to the mark":
        path.mkdir()
        (path / MARK).symlink_to(home / "plan.json")
    else:
        path.write_text("mine")


@pytest.mark.parametrize("kind", ["folder", "file", "link to a folder", "dangling link", "link to the mark"])
def test_foreign_files_at_a_temporary_name_are_refused(tmp_path: Path, kind: str) -> None:
    output = tmp_path / "out"
    for suffix, use in (
        (".partial", lambda: write(output)),
        (".partial", lambda: check_output(output, WRITTEN, overwrite=True)),
        (".work", lambda: work_folder(work_folder_of(output), "plan").__enter__()),
        (".work", lambda: held_folder(work_folder_of(output), "mine").__enter__()),
    ):
        foreign(tmp_path / f"out{suffix}", kind)
        before = tree(tmp_path)
        with pytest.raises(
            DataError, match=rf"out\{suffix}: was not created by megalite.*; rename it, or choose another"
        ):
            use()
        forget(work_folder_of(output))
        assert tree(tmp_path) == before
        subprocess.run(["rm", "-rf", *tmp_path.iterdir()], check=True)


def test_an_empty_folder_of_that_name_is_taken(tmp_path: Path) -> None:
    (tmp_path / "out.partial").mkdir()
    write(tmp_path / "out")
    assert tree(tmp_path) == {"out": "folder", "out/books.json": "new"}


def test_a_work_folder_resumes_only_the_same_plan(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    with pytest.raises(KeyboardInterrupt), work_folder(tmp_path / "out.work", "plan") as work:
        (work / "done").write_text("done")
        (work / "link").symlink_to(precious)
        raise KeyboardInterrupt
    with held_folder(tmp_path / "out.work", "plan") as work:
        assert (work / "done").read_text() == "done"
        with pytest.raises(DataError, match="is in use by another run"):
            forget(work)
    with work_folder(tmp_path / "out.work", "another plan") as work:
        assert not (work / "done").exists()
    assert tree(tmp_path) == {"precious": "mine"}


def test_a_single_file_is_written_beside_a_file_of_the_user_s(tmp_path: Path) -> None:
    (tmp_path / "a.json.partial").write_text("mine")
    (tmp_path / "a.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.json") as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert tree(tmp_path) == {"a.json": "old", "a.json.partial": "mine"}
    with whole_file(tmp_path / "a.json") as file:
        file.write(b"new")
    assert tree(tmp_path) == {"a.json": "new", "a.json.partial": "mine"}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({"books.json": "", "shard-1.jsonl": "", "mine.txt": ""}, "contains 'mine.txt'"),
        ({"books.json": "", "shard-1.jsonl/mine": ""}, "contains 'shard-1.jsonl/mine'"),
        ({"books.json": "", "tokenizer/deep/x.json": ""}, "contains 'tokenizer/deep/x.json'"),
        ({"books.json": "", "more/x.json": ""}, "contains 'more/x.json'"),
        ({"shard-1.jsonl": "", "shard-2.jsonl": ""}, "contains 'shard-1.jsonl' but no books.json"),
    ],
)
def test_only_a_folder_of_the_commands_own_files_is_replaced(tmp_path: Path, made: dict[str, str], told: str) -> None:
    for name, text in made.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_text(text)
    with pytest.raises(DataError, match=told):
        check_output(tmp_path / "out", WRITTEN, overwrite=True)


def test_a_link_is_neither_an_output_nor_our_file(tmp_path: Path) -> None:
    write(tmp_path / "home")
    (tmp_path / "link").symlink_to(tmp_path / "home")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    for name in ("link", "nowhere"):
        with pytest.raises(DataError, match=f"{name}: is a link"):
            check_output(tmp_path / name, WRITTEN, overwrite=True)
    write(tmp_path / "out")
    (tmp_path / "out/shard-0.jsonl").symlink_to(tmp_path / "home/books.json")
    with pytest.raises(DataError, match=r"contains the link 'shard-0\.jsonl'"):
        check_output(tmp_path / "out", WRITTEN, overwrite=True)
    (tmp_path / "out/shard-0.jsonl").unlink()
    check_output(tmp_path / "out", WRITTEN, overwrite=True)
    with pytest.raises(DataError, match="exists; choose another --output, or replace it with --overwrite"):
        check_output(tmp_path / "out", WRITTEN, overwrite=False)
    (tmp_path / "empty").mkdir()
    check_output(tmp_path / "empty", WRITTEN, overwrite=False)
