"""Generates one reply at a time. Others wait in a queue; those whose reader disconnects are removed."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from megalite.config.errors import print_error, report
from megalite.generation.settings import GenerationSettings
from megalite.generation.stream import Tally

Turns = list[dict[str, str]]
Reply = Callable[[Turns, GenerationSettings, Tally], Generator[str, None, None]]
"""Returns a generator of the reply's pieces; closing it ends the work."""
LONGEST_QUEUE = 32


class ReplyQueue:
    """Runs replies one after another in a separate thread."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reply")
        self._jobs: list[Future[None]] = []

    def ahead(self) -> int:
        """Number of replies running or waiting."""
        self._jobs = [job for job in self._jobs if not job.done()]
        return len(self._jobs)

    async def events(self, turns: Turns, settings: GenerationSettings) -> AsyncGenerator[dict[str, Any], None]:
        """``waiting`` if others are first, ``text`` per piece, and last ``tokens``, ``seconds`` and ``cut``, or ``error``.

        Closing the generator (the reader disconnected) ends the reply after the current token.
        """
        loop, queue = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]]()
        disconnected = threading.Event()
        ahead = self.ahead()
        if ahead >= LONGEST_QUEUE:
            yield {"error": f"{ahead} replies are already waiting; try again later"}
            return

        def send(event: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, event)

        job = self._thread.submit(self._work, turns, settings, send, disconnected)
        self._jobs.append(job)
        try:
            if ahead:
                yield {"waiting": ahead}
            last = False
            while not last:
                event = await queue.get()
                last = "text" not in event
                yield event
        finally:
            disconnected.set()
            job.cancel()

    def _work(
        self,
        turns: Turns,
        settings: GenerationSettings,
        send: Callable[[dict[str, Any]], None],
        disconnected: threading.Event,
    ) -> None:
        tally = Tally()
        try:
            with closing(self._reply(turns, settings, tally)) as pieces:
                for piece in pieces:
                    if disconnected.is_set():
                        return
                    send({"text": piece})
        except ValueError as error:  # a mistake of the user: ConfigError, DataError, or from a template
            send({"error": str(error)})
        except Exception as error:  # the page reports that there is a bug, the terminal shows which
            print_error(report(error))
            send({"error": f"the model failed: {type(error).__name__}; see the terminal of the chat command"})
        else:
            send(
                {
                    "tokens": tally.tokens,
                    "seconds": round(tally.seconds, 3),
                    "cut": tally.tokens >= settings.max_new_tokens,
                }
            )
