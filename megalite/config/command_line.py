"""The command line of every tool: options and values in any order, mistakes in one line."""

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import megalite
from megalite.config.errors import EXIT_USER_ERROR


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that takes options and positional values in any order, and never guesses an abbreviation.

    ``--version`` is added. A mistake prints one line that says what is close to it, and exits with 2.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False} | options)
        self.add_argument("--version", action="version", version=f"megalite {megalite.__version__}")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parse; unknown options are refused with the nearest known one."""
        found, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            self.error("; ".join(self._unknown(word) for word in unknown))
        return found

    def _unknown(self, word: str) -> str:
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            return f"unexpected value '{word}'"
        if "." in name and value:
            return f"unknown option '{word}'; write {word.lstrip('-')} without the dashes"
        near = difflib.get_close_matches(name, list(self._option_string_actions), n=1)
        return f"unknown option '{name}'" + (f"; did you mean '{near[0]}'?" if near else "")

    def error(self, message: str) -> NoReturn:
        """Print ``message`` in one line and exit with 2."""
        print(f"megalite: error: {message}; see {self.prog} --help", file=sys.stderr, flush=True)
        raise SystemExit(EXIT_USER_ERROR)
