"""The command-line parser of every tool: options and values in any order, bounded numbers, errors in one line."""

import argparse
import math
import re
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

import megalite
from megalite.config.errors import EXIT_USER_ERROR, print_error
from megalite.config.suggest import suggestion

MOST = 10**12
"""Default upper bound of numbers: above every count of a real corpus, below the overflow of 64 bits."""
MOST_WORKERS = 1024


def whole_number(least: int = 1, most: int = MOST) -> Callable[[str], int]:
    """Returns an argparse ``type`` for whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text[:40]}: give a whole number") from None
        _check_bounds(text, value, least, most)
        return value

    return parse


def real_number(least: float = -math.inf, most: float = math.inf) -> Callable[[str], float]:
    """Returns an argparse ``type`` for finite numbers from ``least`` to ``most``."""

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"{text[:40]}: give a number")
        _check_bounds(text, value, least, most)
        return value

    return parse


number_of_workers = whole_number(1, MOST_WORKERS)
"""The argparse ``type`` of ``--workers``."""


def _check_bounds(text: str, value: float, least: float, most: float) -> None:
    if value < least:
        raise argparse.ArgumentTypeError(f"{text[:40]}: give at least {least:,}")
    if value > most:
        raise argparse.ArgumentTypeError(f"{text[:40]}: give at most {most:,}")


class HelpFormatter(argparse.HelpFormatter):
    """Adds the default to the help of every option that has one; ``--memory_mb`` takes ``MB``, not ``MEMORY_MB``."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return action.dest.rpartition("_")[2].upper()

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if (
            not action.help
            or any(default is none for none in (None, False, argparse.SUPPRESS))
            or action.nargs == 0
            or "default" in action.help
        ):
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
        return f"{action.help} (default: {shown.replace('%', '%%')})" if shown else action.help


class CommandParser(argparse.ArgumentParser):
    """An ``ArgumentParser`` that accepts options and positional values in any order, but no abbreviated options.

    Adds ``--version``. An error prints one line with the closest valid option, and exits with 2.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, formatter_class=HelpFormatter, **options)
        self._given: Sequence[str] = ()
        self.add_argument("--version", action="version", version=f"megalite {megalite.__version__}")

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        self._given = sys.argv[1:] if args is None else args
        found, unknown = self.parse_known_intermixed_args(args, namespace)
        if unknown:
            self.error("; ".join(self._unknown(word) for word in unknown))
        return found

    def _unknown(self, word: str) -> str:
        name, _, value = word.partition("=")
        if not word.startswith("-"):
            return f"unexpected value '{word[:80]}'"
        if "." in name and value:
            return f"unknown option '{word[:80]}'; write {word[:80].lstrip('-')} without the dashes"
        hint = suggestion(name, self._option_string_actions, "")
        return f"unknown option '{name[:80]}'" + (f"; {hint}" if hint else "")

    def error(self, message: str) -> NoReturn:
        """Print ``message`` in one line and exit with 2."""
        message = re.sub(r"^argument ([^:]+): (\S*: give )", r"\1 \2", message).removeprefix("argument ")
        line = " ".join(f"{message}{self._taken_by_a_list(message)}".split())
        print_error(f"{line}; see {self.prog} --help")
        raise SystemExit(EXIT_USER_ERROR)

    def _taken_by_a_list(self, message: str) -> str:
        """Returns a hint if a positional value is missing because a preceding list option has consumed it."""
        missing = message.removeprefix("the following arguments are required: ")
        if missing == message or missing.startswith("-"):
            return ""
        lists = [self._option_string_actions.get(word) for word in self._given]
        last = next((action for action in reversed(lists) if action is not None and action.nargs in ("+", "*")), None)
        if last is None:
            return ""
        return f"; {last.option_strings[0]} accepts every value up to the next option: put '{missing}' before it"
