"""What a task file may run: its templates in a sandbox, and no Python but lm-eval's own and what the user has named.

lm-eval renders templates in an open Jinja environment, where ``{{ cycler.__init__.__globals__... }}`` reaches everything,
and imports whatever ``!function`` names.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from megalite.config.errors import DataError
from megalite.evaluation.benchmarks import TASK_FILES
from megalite.templates.render import render_text

SHOWN = 60
"""Characters of a template in a message."""


def guard_tasks(trusted: Sequence[Path] = ()) -> None:
    """Let lm-eval render templates in the sandbox, and import functions for its own tasks and those in ``trusted`` only."""
    import lm_eval
    from lm_eval import utils
    from lm_eval.tasks import _yaml_loader

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folders = [Path(lm_eval.__file__).parent, TASK_FILES, *trusted]
    honest = getattr(_yaml_loader._import_func_in_yml, "honest", _yaml_loader._import_func_in_yml)

    def import_function(name: str, folder: Path) -> Any:
        if not any(Path(folder).resolve().is_relative_to(root.resolve()) for root in folders):
            raise DataError(f"{folder}: {functions_are_not_run(name)}")
        return honest(name, folder)

    import_function.honest = honest  # type: ignore[attr-defined]
    _yaml_loader._import_func_in_yml = import_function
    utils.apply_template = apply_template


def functions_are_not_run(name: str) -> str:
    """Why a ``!function`` is refused, and how it is allowed."""
    return (
        f"'!function {name}' asks for Python code, which a task file may not run; if you trust it, name its folder by "
        "--include_path and the task by its name"
    )


def apply_template(template: str, doc: Any) -> str:
    """lm-eval's function of this name. Raises: jinja2.TemplateError that shows the template."""
    try:
        return render_text(template, dict(doc))
    except jinja2.TemplateError as error:
        shown = template if len(template) <= SHOWN else template[: SHOWN - 3] + "..."
        raise jinja2.TemplateError(f"template {shown!r}: {error}") from None
