"""A chat page with a scripted model, served in a thread, and a browser to look at it."""

import asyncio
import shutil
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from aiohttp import web

from megalite.generation.chat import open_port
from megalite.generation.settings import GenerationSettings
from megalite.generation.stream import Tally
from megalite.generation.web_chat.guard import Guard
from megalite.generation.web_chat.reply_queue import Turns
from megalite.generation.web_chat.server import chat_app

PATIENCE = 20
"""Seconds until a waiting test fails."""


class ScriptedModel:
    """Repeats the question, one word per token; ``hold`` stops it after the first word until ``go`` is set."""

    def __init__(self) -> None:
        self.asked: list[tuple[Turns, GenerationSettings]] = []
        self.ended: list[str] = []
        self.running = self.most_running = 0
        self.hold, self.go = False, threading.Event()
        self.seconds_per_word = 0.01

    def reply(self, turns: Turns, settings: GenerationSettings, tally: Tally) -> Generator[str, None, None]:
        self.asked.append((turns, settings))
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        how = "closed"
        try:
            if turns[-1]["content"] == "too much":
                raise ValueError("the conversation has 9 tokens, but the model's context is 8; shorten it")
            if turns[-1]["content"] == "bug":
                raise RuntimeError("a secret path")
            endless = turns[-1]["content"] == "forever"
            words = ["You", f" said turn {len(turns)}:", *(f" {word}" for word in turns[-1]["content"].split())]
            for word in words if not endless else [" la"] * 100_000:
                tally.tokens += 1
                yield word
                if self.hold:
                    assert self.go.wait(PATIENCE)
                time.sleep(self.seconds_per_word)
            how = "whole"
        finally:
            self.running -= 1
            self.ended.append(how)


@contextmanager
def chat_page(
    model: ScriptedModel, token: str | None = None, host: str = "127.0.0.1", name: str = "a small model"
) -> Iterator[str]:
    """The address of a page that ``model`` answers."""
    guard = Guard.of(host, token)
    listening = open_port("127.0.0.1", 0)
    loop = asyncio.new_event_loop()
    app = chat_app(model.reply, name, guard, GenerationSettings(max_new_tokens=64, temperature=0.5, top_p=0.9))
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)

    async def start() -> None:
        await runner.setup()
        await web.SockSite(runner, listening).start()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    asyncio.run_coroutine_threadsafe(start(), loop).result(PATIENCE)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/"
    finally:
        model.go.set()
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(PATIENCE)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(PATIENCE)


def wait_until(holds: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s for {what}"
        time.sleep(0.01)


@contextmanager
def browser() -> Iterator[Any]:
    """The system's Chromium without a window, driven by playwright. Skips if one of them is missing."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install playwright"
    )
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        window = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        try:
            yield window
        finally:
            window.close()
