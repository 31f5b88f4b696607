"""Loads a requested task with lm-eval and describes it. A failure inside a task becomes one line."""

import contextlib
import io
import re
from collections.abc import Iterator
from itertools import islice
from typing import Any

from megalite.config.errors import DataError, in_one_line
from megalite.evaluation.fingerprint import content_hash
from megalite.evaluation.tasks.checks import check_answers, check_loaded
from megalite.evaluation.tasks.requested_task import RequestedTask


def load_tasks(task: RequestedTask, manager: Any) -> dict[str, Any]:
    """lm-eval's task and group objects, with their documents. Raises: DataError if they cannot be loaded."""
    import datasets.exceptions

    with quiet():
        try:
            found = dict(manager.load([task.spec]))
            for name, one in found["tasks"].items():
                check_loaded(one, name, task.source)
            return found
        except DataError:
            raise
        except (ConnectionError, datasets.exceptions.DatasetNotFoundError) as error:
            raise DataError(
                f"--tasks {task.name}: its data is on the hub, which does not answer ({_first_line(error)}); give --data "
                "DIR with its files, or a task file with local data"
            ) from None
        except datasets.exceptions.DatasetGenerationError as error:
            raise DataError(f"{task.source}: not readable: {_first_line(error.__cause__ or error)}") from None
        except ImportError as error:
            raise DataError(
                f"--tasks {task.name}: needs a package that is not installed: {_first_line(error)}"
            ) from None
        except Exception as error:  # a task is a program and can raise anything
            raise DataError(f"{task.source}: cannot be loaded as a task: {_line(error)}") from None


def task_facts(task: RequestedTask, manager: Any, limit: int | None = None) -> dict[str, Any]:
    """Source, files, notes, and a hash over the prompt templates and all documents of a task.

    Raises: DataError if the answer of one of the first ``limit`` items is not among its choices.
    """
    parts = []
    for name, one in sorted(load_tasks(task, manager)["tasks"].items()):
        config = {key: value for key, value in one.dump_config().items() if key not in ("dataset_kwargs", "metadata")}
        shown = re.sub(r" at 0x[0-9a-f]+", "", str(sorted(config.items())))  # functions are shown with their addresses
        with task_errors(task):
            check_answers(one, name, task.source, islice(one.eval_docs, limit))
        documents = content_hash([dict(document) for document in one.eval_docs])
        parts.append([name, shown, documents])
    notes = list(task.notes)
    return {"fingerprint": content_hash(parts), "source": task.source, "files": task.files, "notes": notes}


@contextlib.contextmanager
def task_errors(task: RequestedTask) -> Iterator[None]:
    """Turns errors of a task's own templates, functions and items into a DataError of one line."""
    import jinja2

    try:
        yield
    except DataError:
        raise
    except (
        jinja2.TemplateError,
        LookupError,
        ValueError,
        TypeError,
        ArithmeticError,
        AssertionError,
        SyntaxError,
    ) as error:
        raise DataError(f"{task.source}: lm-eval cannot measure it: {_line(error)}") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppresses what lm-eval prints."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield


def _first_line(error: Any) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _line(error: Exception) -> str:
    """An error in one line, with its type if the message alone is unclear (a KeyError shows only the key)."""
    message = in_one_line(error)
    return f"{type(error).__name__}: {message}" if isinstance(error, LookupError) else message
