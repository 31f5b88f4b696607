"""Turns every failure of a command into one line on stderr: value, reason, remedy."""

import errno
import functools
import io
import logging
import os
import re
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from typing import NoReturn, ParamSpec

EXIT_BUG = 1
EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130
"""128 + SIGINT, as shells report it."""
SECONDS_FOR_RANK_0 = 10
ENDLESS_WORD = re.compile(r"\S{200,}")
"""A long value would hide the rest of its message."""
P = ParamSpec("P")


class ConfigError(ValueError):
    """A config file or a command line has an invalid value."""


class DataError(ValueError):
    """A data file is incomplete, damaged, or incompatible with the model."""


class DivergenceError(RuntimeError):
    """The loss or the gradient norm of a run is no longer finite."""


class Stopped(BaseException):
    """A command stopped cleanly on request; ``code`` is its exit code, 128 + the signal's number."""

    def __init__(self, line: str, code: int) -> None:
        """``line`` says what stopped it, what is saved and how to resume."""
        super().__init__(line)
        self.code = code


INTERRUPTED = "interrupted; run the same command again to resume"
USER_ERRORS = (ConfigError, DataError, DivergenceError, OSError)
REMEDIES = {
    errno.EACCES: "change its permissions, or choose another path",
    errno.EPERM: "change its permissions, or choose another path",
    errno.EROFS: "choose a path on another disk",
    errno.ENOSPC: "make room, then run the same command again",
    errno.EDQUOT: "make room, then run the same command again",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.ENOTDIR: "a part of the path is a file; choose another path",
    errno.EISDIR: "give a file",
    errno.EEXIST: "choose another path, or remove it",
    errno.ENOENT: "check the path",
    errno.ELOOP: "its links lead in a circle; check the path",
}


def one_line_errors(main: Callable[P, None]) -> Callable[P, None]:
    """Wraps a command so that every failure becomes one line on stderr.

    A user's mistake, and any ``OSError``, exits with 2. Ctrl-C exits with 130. An unexpected error exits with 1; its
    traceback goes to a file, and the line asks for a report. An unexpected error in a thread ends only the thread. A
    ``KeyboardInterrupt`` with a message prints the message.

    Under a multi-rank launcher every rank fails in the same way, and rank 0 prints the line. The others wait: a launcher
    kills all ranks of a machine as soon as one of them fails. A rank that survives has failed alone and prints its own line,
    the first rank of a machine before the others.
    """

    @functools.wraps(main)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        threading.excepthook = _tell_of_thread
        sys.unraisablehook = _keep_quiet
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # names that are not UTF-8, terminals that are not
        try:
            main(*args, **kwargs)
        except BrokenPipeError:  # the reader of our output, such as `head`, has closed it
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(EXIT_BUG) from None
        except USER_ERRORS as error:
            _leave(describe(error), EXIT_USER_ERROR)
        except MemoryError:
            _leave("out of memory; use fewer --workers, smaller batches or smaller inputs", EXIT_USER_ERROR)
        except Stopped as stopped:
            if not _is_a_further_rank():
                print(f"megalite: {stopped}", file=sys.stderr, flush=True)
            raise SystemExit(stopped.code) from None
        except KeyboardInterrupt as error:
            _leave(str(error) or INTERRUPTED, EXIT_INTERRUPTED)
        except Exception as error:
            if _comes_of_an_interrupt(error):
                _leave(INTERRUPTED, EXIT_INTERRUPTED)
            _leave(report(error), EXIT_BUG)

    return guarded


def in_one_line(error: object) -> str:
    """Returns an error's message in one line of bounded length, or its type if the message is empty."""
    return " ".join(str(error).split())[:300] or type(error).__name__


def print_error(message: str) -> None:
    """Prints ``message`` to stderr as commands do, with very long words cut; red on a terminal."""
    short = ENDLESS_WORD.sub(lambda word: f"{word[0][:80]}...{word[0][-20:]}", message)
    short = short.encode(errors="backslashreplace").decode()  # a path that is not UTF-8
    red, end = ("\x1b[1;31m", "\x1b[0m") if sys.stderr.isatty() and "NO_COLOR" not in os.environ else ("", "")
    print(f"{red}megalite: error:{end} {short}", file=sys.stderr, flush=True)


def describe(error: BaseException) -> str:
    """Returns the message of a user's error in one line; an ``OSError`` without one gets its path and a remedy."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    where = "" if error.filename is None else f"{error.filename}: "
    remedy = REMEDIES.get(error.errno)
    return f"{where}{error.strerror}" + (f"; {remedy}" if remedy else "")


def report(error: BaseException) -> str:
    """Writes the traceback to a file; returns the line that names it."""
    what = " ".join(f"{type(error).__name__}: {error}".split())
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="megalite-error-", suffix=".txt", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(" ".join(sys.argv) + "\n\n")
            traceback.print_exception(error, file=file)
    except OSError:
        return f"{what[:500]}; this is a bug of megalite, please report it"
    return f"{what[:500]}; this is a bug of megalite, please report it with {file.name}"


class ErrorLines(logging.Handler):
    """Prints errors that a library logs, such as those of a server's requests, in one line; tracebacks go to a file."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        print_error(" ".join(record.getMessage().split()) if error is None else report(error))


def _leave(line: str, code: int) -> NoReturn:
    if _is_a_further_rank():
        time.sleep(SECONDS_FOR_RANK_0 * (1 if os.environ.get("LOCAL_RANK") == "0" else 2))
        line = f"rank {os.environ['RANK']} ({socket.gethostname()}): {line}"
    print_error(line)
    raise SystemExit(code) from None


def _comes_of_an_interrupt(error: BaseException | None) -> bool:
    """Returns whether a library turned Ctrl-C into another error, as some do when interrupted during import."""
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__ or error.__context__
    return error is not None


def _tell_of_thread(failed: threading.ExceptHookArgs) -> None:
    if failed.exc_value is not None and not isinstance(failed.exc_value, SystemExit):
        print_error(report(failed.exc_value))


def _keep_quiet(failed: "sys.UnraisableHookArgs") -> None:
    """Ignores errors in destructors: their cause has failed elsewhere too."""


def _is_a_further_rank() -> bool:
    """Returns whether another process prints the line; False if the environment is invalid, which is itself an error."""
    rank, world_size = (os.environ.get(name, "") for name in ("RANK", "WORLD_SIZE"))
    numbers = all(text.isascii() and text.isdecimal() and len(text) < 10 for text in (rank, world_size))
    return numbers and 0 < int(rank) < int(world_size)
