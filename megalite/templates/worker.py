"""The process that renders templates: requests on stdin, answers on stdout, until stdin closes.

Requests are pickles (the parent is trusted), answers are JSON (this process is not). The kernel ends the process by SIGPROF
after a fixed processor time. A template cannot extend it, and the load of the machine does not count.
"""

import functools
import json
import os
import pickle
import re
import resource
import signal
import struct
import sys
from typing import Any

from megalite.config.errors import in_one_line

MEMORY_BYTES = 2**31
MOST_CHARACTERS = 2**24
HEADER = struct.Struct("<Q")


def main() -> None:
    """Serve the parent process. The command line argument is the processor time per text, in seconds."""
    seconds = float(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent; when it exits, stdin closes
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    _environment()  # imports must not count toward the time of the first template
    while header := requests.read(HEADER.size):
        job, arguments = pickle.loads(requests.read(HEADER.unpack(header)[0]))
        if job != "text":
            _import_transformers()
        signal.setitimer(signal.ITIMER_PROF, seconds)
        answer = json.dumps(_answer(JOBS[job], arguments)).encode()
        signal.setitimer(signal.ITIMER_PROF, 0)
        answers.write(HEADER.pack(len(answer)) + answer)
        answers.flush()


@functools.cache
def _import_transformers() -> None:
    """Warms up transformers' imports, which must not count toward the time of the first template."""
    _chat(conversations=[[{"role": "user", "content": ""}]], chat_template="{{ messages[0].content }}")
    _literals("{{ messages }}")


def _answer(job: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        value, texts = job(**arguments)
        if sum(map(len, texts)) > MOST_CHARACTERS:
            return {"limit": f"produces more than {MOST_CHARACTERS:,} characters"}
        return {"value": value}
    except (MemoryError, OverflowError):
        return {"limit": f"needs more than {MEMORY_BYTES:,} bytes of memory"}
    except RecursionError:
        return {"error": "is nested too deeply"}
    except Exception as error:
        message = in_one_line(error)
        return {"error": f"line {error.lineno}: {message}" if hasattr(error, "lineno") else message}


def _text(template: str, values: dict[str, Any]) -> tuple[str, list[str]]:
    text = _compiled(template).render(**values)
    return text, [text]


@functools.cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@functools.cache
def _environment() -> Any:
    """A sandboxed copy of lm-eval's environment."""
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    return environment


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    return re.sub(pattern, repl, string, count=count)


def _chat(**arguments: Any) -> tuple[Any, list[str]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    answer: Any = render_jinja_template(**arguments)  # annotated as a string, but returns texts and spans
    rendered, spans = answer
    return [rendered, spans], rendered


def _literals(chat_template: str) -> tuple[str, list[str]]:
    from transformers.utils.chat_template_utils import _get_template_literal_text

    text = _get_template_literal_text(chat_template)
    return text, [text]


JOBS = {"text": _text, "chat": _chat, "literals": _literals}

if __name__ == "__main__":
    main()
