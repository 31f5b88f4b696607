"""A conversation in the terminal, or from a pipe with a line for each turn."""

import sys
from typing import Any

from megalite.config.errors import DataError
from megalite.generation.continuation import Message, stream_reply
from megalite.generation.piece_stream import Tally
from megalite.generation.settings import GenerationSettings
from megalite.generation.speculation import summary

HELP = "/reset begins anew, /exit (or the end of input) ends; Ctrl-C stops a reply"


def chat(model: Any, tokenizer: Any, settings: GenerationSettings, draft: Any | None, system: str | None) -> None:
    """Read turns from stdin and answer each on stdout; the counts of a reply go to stderr.

    A turn that does not fit is told and left out where a person types; from a pipe it ends the conversation.

    Raises: DataError.
    """
    interactive = sys.stdin.isatty()
    beginning: list[Message] = [{"role": "system", "content": system}] if system else []
    messages = list(beginning)
    if interactive:
        print(HELP, file=sys.stderr)
    while (line := _next_line(interactive)) is not None:
        if line == "/exit":
            return
        if line == "/reset":
            messages = list(beginning)
        elif line.startswith("/"):
            print(f"{line}: unknown; {HELP}", file=sys.stderr)
        elif line:
            messages.append({"role": "user", "content": line})
            try:
                messages.append({"role": "assistant", "content": say(model, tokenizer, messages, settings, draft)})
            except DataError as error:
                if not interactive:
                    raise
                messages.pop()
                print(f"{error}; /reset begins anew", file=sys.stderr)


def say(model: Any, tokenizer: Any, messages: list[Message], settings: GenerationSettings, draft: Any | None) -> str:
    """Print the reply as it is made, and give it; after Ctrl-C what there is of it."""
    tally, said = Tally(), []
    reply = stream_reply(model, tokenizer, messages, settings, draft, tally)
    try:
        for piece in reply:
            said.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        reply.close()
    print(flush=True)
    print(summary(tally, draft is not None or settings.prompt_lookup > 0), file=sys.stderr)
    return "".join(said)


def _next_line(interactive: bool) -> str | None:
    """A stripped line; None at the end of input."""
    try:
        return input("> " if interactive else "").strip()
    except EOFError:
        return None
    except UnicodeDecodeError as error:
        raise DataError(f"standard input: not UTF-8 text ({error.reason})") from None
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return None
