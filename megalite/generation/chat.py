"""Serves a local web page to chat with a model."""

import errno
import logging
import os
import socket
import sys
import webbrowser
from dataclasses import replace
from functools import partial
from pathlib import Path

from megalite.config.command_line import MOST, CommandParser, whole_number
from megalite.config.errors import ConfigError, ErrorLines, one_line_errors
from megalite.files.model_folder import model_folder_of
from megalite.generation.continuation import conversation_tokens, stream_reply
from megalite.generation.settings import add_generation_options, settings_from
from megalite.generation.text_model import TextModel
from megalite.huggingface.check_folder import check_model_folder
from megalite.huggingface.load import load_model, load_tokenizer


@one_line_errors
def main() -> None:
    parser = CommandParser(description="Serve a local web page to chat with a model.")
    parser.add_argument(
        "model",
        type=model_folder_of,
        help="Hugging Face folder, run folder or .gguf file with a chat template",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on; one other than loopback requires a token"
    )
    parser.add_argument("--port", type=whole_number(-MOST), default=8000, metavar="PORT", help="0 selects a free port")
    parser.add_argument("--token", help="password for the page; generated and printed if needed and not given")
    parser.add_argument("--no_browser", action="store_true", help="print the address, do not open a browser")
    add_generation_options(parser, max_new_tokens=512, temperature=0.7, top_p=0.95)
    arguments = parser.parse_args()
    settings = settings_from(arguments)
    check_model_folder(arguments.model)
    from megalite.generation.web_chat.guard import Guard

    guard = Guard.of(arguments.host, arguments.token)
    with open_port(arguments.host, arguments.port) as listening:
        tokenizer = load_tokenizer(arguments.model)
        conversation_tokens(tokenizer, [{"role": "user", "content": "Hello"}])  # refuse early without a template
        lm = TextModel(*load_model(arguments.model))
        import torch
        from aiohttp import web

        from megalite.generation.web_chat.server import chat_app

        torch.manual_seed(arguments.seed)  # once: repeated questions may get different answers
        settings = replace(settings, seed=None)
        name = shown_name(arguments.model)
        for logger in ("aiohttp.server", "asyncio"):
            logging.getLogger(logger).addHandler(ErrorLines(logging.ERROR))
            logging.getLogger(logger).propagate = False
        app = chat_app(partial(stream_reply, lm), name, guard, settings)
        address = page_address(guard.host, listening.getsockname()[1], guard.token)
        print(f"chat with {name}: {address}   (Ctrl-C to stop)", flush=True)
        if not arguments.no_browser and sys.stdout.isatty() and has_display():
            webbrowser.open(address)
        web.run_app(app, sock=listening, handler_cancellation=True, shutdown_timeout=1, access_log=None, print=None)


def open_port(host: str, port: int) -> socket.socket:
    """A socket bound to the address. Raises: ConfigError if that is impossible."""
    if not 0 <= port < 65536:
        raise ConfigError(f"--port {port}: give 0 (a free port) to 65535")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return socket.create_server((host, port), family=found[0][0])
    except ValueError as error:  # not a valid host name
        raise ConfigError(f"--host {host!r}: is not a host name ({error}); give an address of this machine") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ConfigError(
                f"--port {port}: is in use by another program; give another port, or 0 for a free one"
            ) from None
        at_fault = f"--port {port}" if error.errno == errno.EACCES else f"--host {host}"
        raise ConfigError(f"{at_fault}: cannot be opened: {error.strerror}") from None


def page_address(host: str, port: int, token: str | None) -> str:
    """The URL to open. A token is in the fragment, which browsers never send."""
    if host in ("", "0.0.0.0", "::"):
        host = socket.gethostname()
    name = f"[{host}]" if ":" in host else host
    from urllib.parse import quote

    return f"http://{name}:{port}/" + (f"#token={quote(token, safe='')}" if token else "")


def shown_name(model: str) -> str:
    """The last two parts of a path, without ``hf``; a name on the hub unchanged."""
    if not Path(model).exists():
        return model
    parts = [part for part in Path(model).resolve().parts if part != "hf"]
    return "/".join(parts[-2:])


def has_display() -> bool:
    """Whether a browser can open a window; without a display it would take over the terminal."""
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
