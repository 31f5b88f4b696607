"""What every test may use."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # tests/runs.py

SHARED_DATA = Path(os.environ.get("MEGALITE_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """A folder of real corpora and models that is not part of the repository."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"no folder of real data at {SHARED_DATA}; set MEGALITE_SHARED_DATA to one")
    return SHARED_DATA
