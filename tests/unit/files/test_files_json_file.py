"""JSON results are checked before the work and written as a whole."""

import json
from pathlib import Path

import pytest

from megalite.config.errors import ConfigError
from megalite.files.json_file import check_json_output, write_json


def test_an_output_is_checked_before_the_work(tmp_path: Path) -> None:
    check_json_output(None)
    check_json_output(tmp_path / "new.json")
    with pytest.raises(ConfigError, match="its folder does not exist"):
        check_json_output(tmp_path / "none/new.json")
    write_json(tmp_path / "new.json", {"a": "é"})
    assert json.loads((tmp_path / "new.json").read_text()) == {"a": "é"}
    with pytest.raises(ConfigError, match="exists"):
        check_json_output(tmp_path / "new.json")
    assert [path.name for path in tmp_path.iterdir()] == ["new.json"]
