"""Limits what a task file can run: templates in a sandbox, Python only from lm-eval and folders that the user trusts.

lm-eval renders templates in an unrestricted Jinja environment, in which ``{{ cycler.__init__.__globals__... }}`` reaches
everything, and imports whatever ``!function`` names.
"""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jinja2

from megalite.config.errors import DataError
from megalite.evaluation.tasks.benchmarks import TASK_FILES
from megalite.templates.render import render_text

MOST_SHOWN = 60
"""Characters of a template shown in a message."""


def guard_tasks(trusted: Sequence[Path] = ()) -> None:
    """Make lm-eval render templates in the sandbox, and import functions only for its own tasks and those in ``trusted``."""
    import lm_eval
    from lm_eval import utils
    from lm_eval.tasks import _yaml_loader

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    folders = [Path(lm_eval.__file__).parent, TASK_FILES, *trusted]
    original = getattr(_yaml_loader._import_func_in_yml, "original", _yaml_loader._import_func_in_yml)

    def import_function(name: str, folder: Path) -> Any:
        if not any(Path(folder).resolve().is_relative_to(root.resolve()) for root in folders):
            raise DataError(f"{folder}: {functions_are_refused(name)}")
        return original(name, folder)

    import_function.original = original  # type: ignore[attr-defined]
    _yaml_loader._import_func_in_yml = import_function
    utils.apply_template = apply_template


def functions_are_refused(name: str) -> str:
    return (
        f"'!function {name}' runs Python code, which a task file may not do; if you trust it, give its folder with "
        "--include_path and the task by name"
    )


def apply_template(template: str, doc: Any) -> str:
    """Replaces lm-eval's function of this name. Raises: jinja2.TemplateError with the template in the message."""
    try:
        return render_text(template, dict(doc))
    except jinja2.TemplateError as error:
        shown = template if len(template) <= MOST_SHOWN else template[: MOST_SHOWN - 3] + "..."
        raise jinja2.TemplateError(f"template {shown!r}: {error}") from None
