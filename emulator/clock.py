"""The two times.

`Clock` is what clients are told and what scripts wait for: timestamps, timelines, pacing, delays, retention. It can
start at any instant and run at any speed. `Monotonic` is the machine's own steady time, for what happens to the process
rather than to the story it tells: drain, limits on patterns and templates, log durations. Nothing else in the package
reads a clock or sleeps.

Instants of `Clock` are whole nanoseconds since the Unix epoch; those of `Monotonic` are seconds from an arbitrary
start.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from .errors import Code, Status

T = TypeVar("T")

SECOND = 1_000_000_000  # nanoseconds
LONG = 2.0  # real seconds: a wait with more than that to go does not hold up a shutdown


class Monotonic:
    """The machine's steady time, in seconds."""

    @staticmethod
    def now() -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic()


class Clock:
    """The emulator's time: starts at `start` (nanoseconds since the epoch; the real time if None), runs `speed` times
    as fast.

    `speed` 60 makes a scripted minute take a second. Raises ValueError for a speed that is not positive.
    """

    def __init__(self, start: int | None = None, speed: float = 1.0) -> None:
        if not speed > 0:
            raise ValueError("speed must be more than 0")
        self.speed = speed
        self._began = time.monotonic_ns()
        self._start = time.time_ns() if start is None else start
        self._closed = False
        self._waiting: set[asyncio.Future[None]] = set()

    def now(self) -> int:
        """The present instant, in nanoseconds since the epoch."""
        return self._start + int((time.monotonic_ns() - self._began) * self.speed)

    async def until(self, instant: int) -> None:
        """Return once `instant` has come; at once if it has passed.

        The wait is computed from the instant itself, so a schedule of instants does not drift however late each
        wake-up is.
        """
        while (left := instant - self.now()) > 0:
            seconds = left / SECOND / self.speed
            if seconds <= LONG:
                await asyncio.sleep(seconds)
            else:
                await self._wait(min(seconds - LONG, 3600.0))

    async def forever(self) -> None:
        """Wait for what never comes; `close` ends it by raising UNAVAILABLE."""
        await self._wait(None)

    async def _wait(self, seconds: float | None) -> None:
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.add(waiting)
        try:
            if not self._closed:
                await asyncio.wait((waiting,), timeout=seconds)
        finally:
            self._waiting.discard(waiting)
        if self._closed:
            raise Status(Code.UNAVAILABLE, "the emulator is shutting down")

    async def unless_closed(self, awaited: Coroutine[Any, Any, T]) -> T:
        """What `awaited` gives, or UNAVAILABLE if `close` comes first."""
        mine, over = asyncio.ensure_future(awaited), asyncio.ensure_future(self.forever())
        try:
            await asyncio.wait((mine, over), return_when=asyncio.FIRST_COMPLETED)
            if mine.done():
                return mine.result()
            raise Status(Code.UNAVAILABLE, "the emulator is shutting down")
        finally:
            for task in (mine, over):
                task.cancel()
            await asyncio.gather(mine, over, return_exceptions=True)

    def open(self) -> None:
        """Let calls wait for as long as they like, as in the beginning."""
        self._closed = False

    def close(self) -> None:
        """Let go of everyone who waits for ever, or for long, now or later: they get UNAVAILABLE."""
        self._closed = True
        for waiting in tuple(self._waiting):
            if not waiting.done():
                waiting.set_result(None)
