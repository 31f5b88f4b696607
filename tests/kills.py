"""A run ended at a chosen moment, within the process that tests it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Killed(BaseException):
    """In place of SIGKILL: no ``except Exception`` sees it."""


def killed_after(renames: int, action: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether ``action`` came to its end before its ``renames`` + 1st file."""
    done = 0
    rename = Path.rename

    def counted(self: Path, target: Path) -> Path:
        nonlocal done
        if done == renames:
            raise Killed
        done += 1
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", counted)
        try:
            action()
        except Killed:
            return False
    return True
