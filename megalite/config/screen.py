"""Where commands print: one kind of console for all of them."""

from rich.console import Console

WIDE = 1000
"""Columns where nobody looks through a window: no table is cut there, and none fills them."""


def screen(quiet: bool = False) -> Console:
    """A console on stdout that leaves long lines whole, and in a pipe or a file tables too."""
    console = Console(quiet=quiet, soft_wrap=True)
    return console if console.is_terminal else Console(quiet=quiet, soft_wrap=True, width=WIDE)
