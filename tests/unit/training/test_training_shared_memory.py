import mmap
import multiprocessing
import tempfile
from pathlib import Path

from megalite.training.shared_memory import SHARED_MEMORY, remove_stale_buffers


def test_only_a_buffer_that_no_process_maps_is_removed() -> None:
    with tempfile.TemporaryDirectory(dir=SHARED_MEMORY) as name:
        folder = Path(name)
        stale, used = (folder / f"deepspeed_allreduce_buffer_{state}" for state in ("stale", "used"))
        foreign = folder / "some_other_buffer"
        for path in (stale, used, foreign):
            path.write_bytes(b"\0" * mmap.PAGESIZE)
        with used.open("r+b") as file, mmap.mmap(file.fileno(), 0):
            assert remove_stale_buffers(folder) == [stale]
            assert {*folder.iterdir()} == {used, foreign}
        assert remove_stale_buffers(folder) == [used]
        assert {*folder.iterdir()} == {foreign}


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    assert remove_stale_buffers(tmp_path) == []


def test_a_semaphore_in_use_stays() -> None:
    semaphore = multiprocessing.get_context("spawn").Semaphore()
    path = SHARED_MEMORY / f"sem.{semaphore._semlock.name.removeprefix('/')}"  # type: ignore[attr-defined]
    assert path.exists()
    assert path not in remove_stale_buffers(pattern=path.name)
    assert path.exists()
