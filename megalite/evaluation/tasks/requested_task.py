"""One entry of ``--tasks``, resolved."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class RequestedTask:
    name: str
    spec: Any
    """What lm-eval loads: a task name, or a task file as a dict."""
    source: str
    """``hub``, the path of the task file, or the paths of the data files."""
    files: dict[str, str] = field(default_factory=dict)
    """Local data files and their SHA-256."""
    notes: tuple[str, ...] = ()
    """What a reader must know to compare the figures with published ones."""
