"""User mistakes: one line that says value, reason and remedy, and exit code 2."""

import functools
import os
import sys
import time
from collections.abc import Callable
from typing import ParamSpec

EXIT_USER_ERROR = 2
SECONDS_FOR_RANK_0 = 5
P = ParamSpec("P")


class ConfigError(ValueError):
    """A config file or a command line asks for something that cannot be."""


class DataError(ValueError):
    """A data file is missing something, damaged, or does not fit the model it is used with."""


class DivergenceError(RuntimeError):
    """The loss or the gradient norm of a run is not a finite number any more."""


def one_line_errors(main: Callable[P, None]) -> Callable[P, None]:
    """Wrap a command: a user's mistake becomes one line on stderr and exit code 2; bugs keep their traceback.

    Under a multi-rank launcher every rank meets the same mistake; only rank 0 prints it. The others wait a little: a
    launcher kills all ranks as soon as one has failed.
    """

    @functools.wraps(main)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            main(*args, **kwargs)
        except (ConfigError, DataError, DivergenceError, FileNotFoundError, FileExistsError) as error:
            if os.environ.get("RANK", "0") == "0":
                print(f"megalite: error: {describe(error)}", file=sys.stderr, flush=True)
            else:
                time.sleep(SECONDS_FOR_RANK_0)
            raise SystemExit(EXIT_USER_ERROR) from None

    return guarded


def describe(error: Exception) -> str:
    """The message of a user error, with the path of a bare ``OSError`` kept in front."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)
