import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from megalite.config.errors import ConfigError, DataError
from megalite.files.model_folder import DESCRIPTIONS, known_files
from megalite.files.place import check_output_file, check_place, check_writable, refuse_inputs


def test_an_output_is_never_an_input(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    text = data / "a.jsonl"
    text.write_text("{}")
    (tmp_path / "link.jsonl").symlink_to(text)
    os.link(text, tmp_path / "hard.jsonl")
    (tmp_path / "folder-link").symlink_to(data)
    model = tmp_path / "model"
    model.mkdir()
    for output, source, why in [
        (text, text, "is the input"),
        (data / ".." / "data" / "a.jsonl", text, "is the input"),
        (tmp_path / "link.jsonl", text, "is the input"),
        (text, tmp_path / "link.jsonl", "is the input"),
        (tmp_path / "hard.jsonl", text, "is the input"),
        (tmp_path / "folder-link/a.jsonl", text, "is the input"),
        (data, text, "contains the input"),
        (tmp_path, text, "contains the input"),
        (tmp_path / "folder-link", text, "contains the input"),
        (model, model, "is the input"),
        (model / "new", model, "is inside the input"),
        (tmp_path / "folder-link/new", data, "is inside the input"),
    ]:
        with pytest.raises(DataError, match=f"{why} .*; choose another output"):
            refuse_inputs(output, ["owner/name", source])
    refuse_inputs(data / "b.jsonl", [text, "owner/name"])
    refuse_inputs(tmp_path / "data2", [text, model])


def test_what_stands_at_the_name_of_a_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "nowhere").symlink_to(tmp_path / "none")
    for overwrite, remedy in ((None, "remove it first"), (False, "give --overwrite")):
        with pytest.raises(ConfigError, match=f"a: exists; choose another name, or {remedy}"):
            check_output_file(tmp_path / "a", overwrite=overwrite)
    check_output_file(tmp_path / "a", overwrite=True)
    for name in ("link", "nowhere", "."):
        with pytest.raises(ConfigError, match="but the output is a file"):
            check_output_file(tmp_path / name, overwrite=True)


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for output, number in [
        (tmp_path / "file/out", errno.ENOTDIR),
        (tmp_path / "file/below/out", errno.ENOTDIR),
        (tmp_path / ("x" * 256), errno.ENAMETOOLONG),
        (tmp_path / ("x" * 250), errno.ENAMETOOLONG),  # its temporary name is longer
        (tmp_path / ("x" * 300) / "out", errno.ENAMETOOLONG),
    ]:
        with pytest.raises(OSError) as caught:
            check_writable(output)
        assert (caught.value.errno, caught.value.filename) == (number, str(output))
    check_writable(tmp_path / "new/folders/out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
    with pytest.raises(OSError):
        check_place(Path("/proc/out"))
    for impossible in ("/", "/.."):
        with pytest.raises(DataError, match="is the root folder"):
            check_writable(Path(impossible))
    for impossible in ("a\0b", "a\udcff"):
        with pytest.raises(DataError, match="is not valid UTF-8"):
            check_writable(tmp_path / impossible)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_a_folder_without_permission_is_known_before_the_work(tmp_path: Path) -> None:
    script = (
        "import os, sys; sys.path[:0] = sys.argv[2:]; from pathlib import Path\n"
        "from megalite.files.place import check_writable\n"
        "os.setgid(65534); os.setuid(65534)\n"
        "try: check_writable(Path(sys.argv[1]))\n"
        "except OSError as error: print(error.errno, error.filename)\n"
    )
    home = Path("/tmp") if Path("/tmp").stat().st_mode & 1 else tmp_path
    closed = home / f"closed-{os.getpid()}"
    closed.mkdir(mode=0o755)
    try:
        output = closed / "out"
        ended = subprocess.run([sys.executable, "-c", script, str(output), *sys.path], capture_output=True, text=True)
    finally:
        closed.rmdir()
    assert ended.stdout.split() == [str(errno.EACCES), str(output)], ended.stderr


def test_only_known_model_files_inside_the_folder_are_copied(tmp_path: Path) -> None:
    hf, secret = tmp_path / "hf", tmp_path / "secret"
    hf.mkdir()
    secret.write_text("mine")
    for name in ("config.json", "tokenizer.json", "pickle.bin", "token_secret"):
        (hf / name).write_text("{}")
    (hf / "secret").symlink_to(secret)
    assert [path.name for path in known_files(hf, DESCRIPTIONS)] == ["config.json", "tokenizer.json"]
    (hf / "tokenizer_config.json").symlink_to(secret)
    with pytest.raises(DataError, match=r"tokenizer_config\.json: is a link to .*secret, outside of the folder"):
        known_files(hf, DESCRIPTIONS)


def test_the_links_of_the_hubs_cache_are_followed(tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots/abc"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    (blobs / "123").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/123")
    assert known_files(snapshot, DESCRIPTIONS) == [snapshot / "config.json"]
