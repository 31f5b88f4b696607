"""The console that all commands print to."""

from rich.console import Console

WIDE = 1000
"""Columns outside a terminal, so that no table is cut."""


def screen(quiet: bool = False) -> Console:
    """Returns a console on stdout that does not wrap long lines, nor cut tables in a pipe or a file."""
    console = Console(quiet=quiet, soft_wrap=True)
    return console if console.is_terminal else Console(quiet=quiet, soft_wrap=True, width=WIDE)
