"""A conversation in the terminal, or from a pipe with one line per turn."""

import sys

from megalite.config.errors import DataError
from megalite.generation.continuation import Message, stream_reply
from megalite.generation.settings import GenerationSettings
from megalite.generation.speculation import summary
from megalite.generation.stream import Tally
from megalite.generation.text_model import TextModel

HELP = "/reset starts over, /exit (or end of input) quits; Ctrl-C stops a reply"


def chat(lm: TextModel, settings: GenerationSettings, system: str | None) -> None:
    """Read turns from stdin and answer each on stdout; counts go to stderr.

    A turn that does not fit is reported and dropped in a terminal. In a pipe it ends the conversation.

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
                messages.append({"role": "assistant", "content": say(lm, messages, settings)})
            except DataError as error:
                if not interactive:
                    raise
                messages.pop()
                print(f"{error}; /reset starts over", file=sys.stderr)


def say(lm: TextModel, messages: list[Message], settings: GenerationSettings) -> str:
    """Print the reply as it is generated, and return it; after Ctrl-C the part so far."""
    tally, pieces = Tally(), []
    reply = stream_reply(lm, messages, settings, tally)
    try:
        for piece in reply:
            pieces.append(piece)
            print(piece, end="", flush=True)
    except KeyboardInterrupt:
        reply.close()
    print(flush=True)
    print(summary(tally, lm.proposes(settings)), file=sys.stderr)
    return "".join(pieces)


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
