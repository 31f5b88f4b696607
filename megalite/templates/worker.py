"""The process that renders: requests on stdin, answers on stdout, until stdin ends.

A request is a pickle (of the process that trusts us), an answer is JSON (of one that we do not trust). The kernel ends the
process by SIGPROF after so many seconds of processor time: nothing that a template does can stretch that, and how busy the
machine is does not count.
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

MEMORY_BYTES = 2**31
MOST_CHARACTERS = 2**24
HEADER = struct.Struct("<Q")


def main() -> None:
    """Serve the process that started this one; the argument is the processor time for one text."""
    seconds = float(sys.argv[1])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the command, whose end ends stdin
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
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
    """What its first template costs is not the time of the one that was asked for."""
    _chat(conversations=[[{"role": "user", "content": ""}]], chat_template="{{ messages[0].content }}")
    _literals("{{ messages }}")


def _answer(job: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    try:
        value, texts = job(**arguments)
        if sum(map(len, texts)) > MOST_CHARACTERS:
            return {"limit": f"gives more than {MOST_CHARACTERS:,} characters"}
        return {"value": value}
    except (MemoryError, OverflowError):
        return {"limit": f"takes more than {MEMORY_BYTES:,} bytes of memory"}
    except RecursionError:
        return {"error": "is nested too deep"}
    except Exception as error:
        said = " ".join(str(error).split())[:300] or type(error).__name__
        return {"error": f"line {error.lineno}: {said}" if hasattr(error, "lineno") else said}


def _text(template: str, values: dict[str, Any]) -> tuple[str, list[str]]:
    text = _compiled(template).render(**values)
    return text, [text]


@functools.cache
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


@functools.cache
def _environment() -> Any:
    """lm-eval's environment, in a sandbox."""
    from jinja2 import BaseLoader, StrictUndefined
    from jinja2.sandbox import SandboxedEnvironment

    environment = SandboxedEnvironment(loader=BaseLoader(), undefined=StrictUndefined, keep_trailing_newline=True)
    environment.filters["regex_replace"] = _regex_replace
    return environment


def _regex_replace(string: str, pattern: str, repl: str, count: int = 0) -> str:
    return re.sub(pattern, repl, string, count=count)


def _chat(**arguments: Any) -> tuple[Any, list[str]]:
    from transformers.utils.chat_template_utils import render_jinja_template

    answer: Any = render_jinja_template(**arguments)  # its annotation says text: it is texts and spans
    rendered, spans = answer
    return [rendered, spans], rendered


def _literals(chat_template: str) -> tuple[str, list[str]]:
    from transformers.utils.chat_template_utils import _get_template_literal_text

    text = _get_template_literal_text(chat_template)
    return text, [text]


JOBS = {"text": _text, "chat": _chat, "literals": _literals}

if __name__ == "__main__":
    main()
