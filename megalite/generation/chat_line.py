"""One reply at a time: the others wait in line, and who goes away is taken out of it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any

from megalite.config.errors import print_error, report
from megalite.generation.piece_stream import Tally
from megalite.generation.settings import GenerationSettings

Turns = list[dict[str, str]]
Reply = Callable[[Turns, GenerationSettings, Tally], Generator[str, None, None]]
"""A generator of the reply's pieces; closing it ends the work."""
LONGEST_LINE = 32


class ChatLine:
    """Runs a model's replies one after another in a thread of its own."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="reply")
        self._jobs: list[Future[None]] = []

    def ahead(self) -> int:
        """How many replies are made or wait before the next one."""
        self._jobs = [job for job in self._jobs if not job.done()]
        return len(self._jobs)

    async def events(self, turns: Turns, settings: GenerationSettings) -> AsyncGenerator[dict[str, Any], None]:
        """``waiting`` where others are first, ``text`` a piece, last ``tokens``, ``seconds`` and ``cut``, or ``error``.

        Closing it (the reader has gone) ends the reply after the token it is at.
        """
        loop, told = asyncio.get_running_loop(), asyncio.Queue[dict[str, Any]]()
        gone = threading.Event()
        ahead = self.ahead()
        if ahead >= LONGEST_LINE:
            yield {"error": f"{ahead} replies are waited for already; try again later"}
            return

        def tell(event: dict[str, Any]) -> None:
            loop.call_soon_threadsafe(told.put_nowait, event)

        job = self._thread.submit(self._work, turns, settings, tell, gone)
        self._jobs.append(job)
        try:
            if ahead:
                yield {"waiting": ahead}
            last = False
            while not last:
                event = await told.get()
                last = "text" not in event
                yield event
        finally:
            gone.set()
            job.cancel()

    def _work(
        self, turns: Turns, settings: GenerationSettings, tell: Callable[[dict[str, Any]], None], gone: threading.Event
    ) -> None:
        tally = Tally()
        try:
            with closing(self._reply(turns, settings, tally)) as pieces:
                for piece in pieces:
                    if gone.is_set():
                        return
                    tell({"text": piece})
        except ValueError as error:  # what the user asked cannot be: ConfigError, DataError, a template's own
            tell({"error": str(error)})
        except Exception as error:  # the page tells that there is a bug, the terminal which
            print_error(report(error))
            tell({"error": f"the model failed: {type(error).__name__}; the terminal of the chat command tells more"})
        else:
            tell(
                {
                    "tokens": tally.tokens,
                    "seconds": round(tally.seconds, 3),
                    "cut": tally.tokens >= settings.max_new_tokens,
                }
            )
