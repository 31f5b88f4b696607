"""Renders templates in the worker process, which starts with the first template."""

import atexit
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from typing import Any

import jinja2

from megalite.templates.worker import HEADER, MEMORY_BYTES

SECONDS = 5.0
"""Processor time for one text; a real template takes less than a thousandth of it."""
CRASHED = {"limit": f"crashes the process that renders it, which is limited to {MEMORY_BYTES:,} bytes of memory"}
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), "1")
"""One thread per library in the process: the stacks of one thread per core would exceed its memory limit."""


class TemplateLimitError(jinja2.TemplateError):
    """A template exceeds the limits of time, memory or text length."""


def render_text(template: str, values: dict[str, Any]) -> str:
    """The rendered template. Raises: jinja2.TemplateError; TemplateLimitError."""
    return str(_worker().ask("text", {"template": template, "values": values}))


def render_jinja_template(conversations: list[Any], **arguments: Any) -> tuple[list[str], Any]:
    """Replaces transformers' function of this name. Raises: jinja2.TemplateError; TemplateLimitError."""
    rendered, spans = _worker().ask("chat", {"conversations": conversations, **arguments})
    return rendered, spans


def template_literals(chat_template: str) -> str:
    """The literal text of a chat template, as transformers extracts it. Raises: jinja2.TemplateError."""
    return str(_worker().ask("literals", {"chat_template": chat_template}))


def guard_chat_templates() -> None:
    """Make transformers render all chat templates in the worker, also for TRL and lm-eval."""
    from transformers import tokenization_utils_base

    tokenization_utils_base.render_jinja_template = render_jinja_template  # type: ignore[assignment]
    tokenization_utils_base._get_template_literal_text = template_literals


class _Worker:
    """One worker process, restarted after it hits a limit."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    def ask(self, job: str, arguments: dict[str, Any]) -> Any:
        request = pickle.dumps((job, arguments))
        with self._lock:
            try:
                # Retry once after a crash: the machine may have been out of memory, not the template.
                answer = self._exchange(request) or self._exchange(request) or CRASHED
            except BaseException:  # such as Ctrl-C: the unread answer would be read as the next one
                self.close()
                raise
        if "limit" in answer:
            raise TemplateLimitError(f"the template {answer['limit']}")
        if "error" in answer:
            raise jinja2.TemplateError(answer["error"])
        return answer["value"]

    def close(self) -> None:
        if self._process is not None and self.pid == os.getpid():
            self._process.kill()
            self._process.communicate()
        self._process = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            light = {"USE_TORCH": "0", "HF_HUB_OFFLINE": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            light |= ONE_THREAD
            self._process = subprocess.Popen(
                [sys.executable, "-m", "megalite.templates.worker", str(SECONDS)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=os.environ | light,
            )
        return self._process

    def _exchange(self, request: bytes) -> dict[str, Any] | None:
        """The answer; None if the process crashed, other than by its time limit."""
        process = self._started()
        assert process.stdin is not None and process.stdout is not None
        try:
            process.stdin.write(HEADER.pack(len(request)) + request)
            process.stdin.flush()
            header = process.stdout.read(HEADER.size)
        except BrokenPipeError:
            header = b""
        if len(header) == HEADER.size:
            answer: dict[str, Any] = json.loads(process.stdout.read(HEADER.unpack(header)[0]))
            return answer
        self.close()
        if process.returncode == -signal.SIGPROF:
            return {"limit": f"takes more than {SECONDS:g} seconds"}
        return None


_workers: list[_Worker] = []


def _worker() -> _Worker:
    """The worker of this process; a forked process gets its own."""
    if not _workers or _workers[-1].pid != os.getpid():
        _workers.append(_Worker())
    return _workers[-1]
