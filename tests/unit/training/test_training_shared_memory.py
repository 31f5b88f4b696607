import mmap
from pathlib import Path

from megalite.training.shared_memory import SHARED_MEMORY, remove_stale_buffers


def test_a_buffer_that_no_process_maps_is_removed_and_others_stay() -> None:
    stale = SHARED_MEMORY / "deepspeed_allreduce_buffer_test_stale"
    used = SHARED_MEMORY / "deepspeed_allreduce_buffer_test_used"
    foreign = SHARED_MEMORY / "some_other_buffer_test"
    for path in (stale, used, foreign):
        path.write_bytes(b"\0" * mmap.PAGESIZE)
    try:
        with used.open("r+b") as file, mmap.mmap(file.fileno(), 0):
            removed = remove_stale_buffers()
            assert stale in removed
            assert not stale.exists()
            assert used.exists()
            assert foreign.exists()
        assert used in remove_stale_buffers()
    finally:
        for path in (stale, used, foreign):
            path.unlink(missing_ok=True)


def test_an_empty_folder_is_no_error(tmp_path: Path) -> None:
    assert remove_stale_buffers(tmp_path) == []
