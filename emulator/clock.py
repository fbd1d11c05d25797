"""The two times.

`Clock` is what clients are told and what scripts wait for: timestamps, timelines, pacing, delays, retention. It can
start at any instant, run at any speed, stand still and be moved on. `Monotonic` is the machine's own steady time, for
what happens to the process rather than to the story it tells: drain, limits on patterns and templates, log durations.
`Wall` is the real time of day, for what clients have dated by it.
Nothing else in the package reads a clock or sleeps.

Instants of `Clock` are whole nanoseconds since the Unix epoch; those of `Monotonic` are seconds from an arbitrary
start.
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import math
import time
from collections.abc import Callable, Coroutine
from heapq import heapify, heappop, heappush
from typing import Any, TypeVar

from .errors import Code, Status

T = TypeVar("T")

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
SECOND = 1_000_000_000  # nanoseconds
END = 253_402_300_800 * SECOND
"""The year 10000, which no timestamp reaches."""

_TOO_LATE = "this would be past the year 9999, where the clock stops and timestamps end; reset it to an earlier time"

LONG = 2.0  # real seconds: a wait with more than that to go does not hold up a shutdown
PATIENCE = 5.0
"""Real seconds that moving the clock waits for calls that don't run on, unless told otherwise."""

_MOMENT = 0.05  # real seconds that a step allows the others once somebody has used up the patience
_MOST_TIMER = 3600.0  # real seconds: a timer set for longer is set again then


class Monotonic:
    """The machine's steady time, in seconds."""

    @staticmethod
    def now() -> float:
        """Seconds from an arbitrary start."""
        return time.monotonic()


class Wall:
    """The time of day in the real world, for what its clients have dated: a JWT's times."""

    @staticmethod
    def now() -> float:
        """Seconds since the Unix epoch."""
        return time.time()


class Clock:
    """The emulator's time: starts at `start` (nanoseconds since the epoch; the real time if None), runs `speed` times
    as fast, or stands still if `frozen`.

    `speed` 60 makes a scripted minute take a second. Raises ValueError for a speed that is not positive.

    Whoever answers a call is a participant between `enter` and `leave`: asleep inside `until`, `forever` and `told`,
    running otherwise. `advance` needs that to know when all have run on, and knows them by their tasks: a call enters,
    waits and leaves in one. Others may wait too; as a wait always counts one running participant less, whoever waits
    without having entered hides one that runs, so only calls should.

    A clock belongs to one event loop at a time, and to that loop's thread. What still waits in a loop that was closed
    is forgotten.
    """

    def __init__(self, start: int | None = None, speed: float = 1.0, frozen: bool = False) -> None:
        self._speed = _positive(speed)
        self._at = time.time_ns() if start is None else start  # the instant when it last began to run, or stood still
        self._began = time.monotonic_ns()
        self._frozen = frozen
        self._closed: Status | None = None
        self._waiting: set[_Waiter] = set()
        self._arrived = 0
        self._running = 0
        self._taking_part: set[asyncio.Task[Any] | None] = set()  # None: somebody of no task
        self._move: _Move | None = None
        self._awaited: dict[asyncio.Future[bool], int] = {}  # by whom, how many sleepers
        self._watching: set[asyncio.Future[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn = asyncio.Lock()

    # -- what it shows

    def now(self) -> int:
        """The present instant, in nanoseconds since the epoch."""
        if self._frozen or self._move is not None:
            return self._at
        now = self._at + int((time.monotonic_ns() - self._began) * self._speed)
        return now if now < END else self._stand()

    def _stand(self) -> int:
        """Stand still at the last instant that there is a timestamp for; nobody waits for a later one."""
        self._at, self._frozen = END - 1, True
        text = "the clock has come to the end of the year 9999, where timestamps end, and stands still; reset it"
        logging.getLogger("emulator").warning(text)
        return self._at

    @property
    def frozen(self) -> bool:
        """Whether it stands still until it is moved."""
        self.now()  # it may have come to its end
        return self._frozen

    @property
    def speed(self) -> float:
        """How many times as fast as real time it runs, or, while frozen, will run again."""
        return self._speed

    @property
    def sleepers(self) -> int:
        """How many wait in `until`, `forever` or `told`."""
        if self._loop is not None and self._loop.is_closed():
            self._forget_closed()
        return len(self._waiting)

    # -- waiting

    async def until(self, instant: int) -> None:
        """Return once `instant` has come; at once if it has passed.

        The wait is computed from the instant itself, so a schedule of instants does not drift however late each
        wake-up is. Raises UNAVAILABLE if the clock is closed with more than `LONG` real seconds to go, or frozen, and
        FAILED_PRECONDITION for an instant past the year 9999.
        """
        if instant >= END:
            raise Status(Code.FAILED_PRECONDITION, _TOO_LATE)
        left = instant - self.now()
        if left > 0:
            await self._sleep(instant, left)

    async def forever(self) -> None:
        """Wait for what never comes; `close` ends it by raising UNAVAILABLE."""
        await self._sleep(None, 0)

    async def told(self, signal: Signal) -> None:
        """Wait until another call gives `signal`. From that very moment on whoever waited runs, so an advance waits for
        it as well; until then it is asleep, like one that waits for ever.
        """
        if not signal.given:
            await self._sleep(None, 0, signal)

    async def _sleep(self, instant: int | None, left: int, signal: Signal | None = None) -> None:
        if self._closed and self._holds_up(instant):
            raise self._end()
        loop = self._adopt()
        self._arrived += 1
        task = _current_task()
        waiter = _Waiter(instant, self._arrived, loop.create_future(), task)
        self._waiting.add(waiter)
        if signal is not None:
            signal.wakes[waiter] = lambda: self._hear(waiter)
        if instant is not None:
            if self._move is not None:
                heappush(self._move.heap, (instant, waiter.arrived, waiter))
            elif not self._frozen:
                self._arm(waiter, left)
        self._rests(task)
        if self._awaited:
            self._tell_awaited()
        try:
            came = await waiter.future
        finally:
            if waiter in self._waiting:  # cancelled
                self._waiting.remove(waiter)
                waiter.disarm()
                self._running += 1
            elif waiter.forgotten:
                self._running += 1
            if signal is not None:
                signal.wakes.pop(waiter, None)
        if not came:
            raise self._end()

    def _arm(self, waiter: _Waiter, left: int) -> None:
        seconds = min(left / SECOND / self._speed, _MOST_TIMER)
        waiter.timer = waiter.future.get_loop().call_later(seconds, self._ring, waiter)

    def _ring(self, waiter: _Waiter) -> None:
        left = 0 if waiter.instant is None else waiter.instant - self.now()
        if left > 0:  # timers are rounded, and the longest are set in pieces
            self._arm(waiter, left)
        else:
            self._wake(waiter)

    def _wake(self, waiter: _Waiter, came: bool = True) -> None:
        """Let `waiter` go on: it runs from here on, whenever its task gets its turn. `came` False: with UNAVAILABLE."""
        self._waiting.remove(waiter)
        waiter.disarm()
        self._running += 1
        if not waiter.future.done():
            waiter.future.set_result(came)

    def _hear(self, waiter: _Waiter) -> None:
        """The signal of `waiter` was given; it may have left by then, or its loop was closed."""
        if waiter in self._waiting and not waiter.future.get_loop().is_closed():
            self._wake(waiter)

    async def unless_closed(self, awaited: Coroutine[Any, Any, T]) -> T:
        """What `awaited` gives, or UNAVAILABLE if `close` comes first. Nobody sleeps meanwhile in the clock's sense."""
        over = self._adopt().create_future()
        mine = asyncio.ensure_future(awaited)
        self._watching.add(over)
        if self._closed:
            over.set_result(None)
        try:
            await asyncio.wait((mine, over), return_when=asyncio.FIRST_COMPLETED)
            if mine.done():
                return mine.result()
            raise self._end()
        finally:
            self._watching.discard(over)
            mine.cancel()
            await asyncio.gather(mine, return_exceptions=True)

    def _end(self) -> Status:
        """What they get whom `close` let go; one of their own for each, since a traceback hangs on it."""
        why = self._closed or Status(Code.UNAVAILABLE, "the emulator is shutting down")
        return Status(why.code, why.message, details=why.details, trailers=why.trailers)

    # -- who takes part

    def enter(self) -> asyncio.Task[Any] | None:
        """A participant begins: a call is being answered, in the running task, which is returned; None without one."""
        task = _current_task()
        self._taking_part.add(task)
        self._running += 1
        return task

    def leave(self, *began: asyncio.Task[Any] | None) -> None:
        """A participant ends, whatever became of it. Every `enter` needs one, with what that returned where it may end
        in another task.
        """
        task = began[0] if began else _current_task()
        self._taking_part.discard(task)
        self._rests(task)

    def _rests(self, task: asyncio.Task[Any] | None) -> None:
        """One participant fewer runs: that of `task`."""
        self._running -= 1
        if self._move is not None:
            self._move.rested(task, self._running)

    def _busy(self) -> set[asyncio.Task[Any]]:
        """The tasks of the participants that run."""
        asleep = {waiter.task for waiter in self._waiting}
        return {task for task in self._taking_part if task is not None and not task.done() and task not in asleep}

    # -- steering

    def freeze(self) -> None:
        """Stand still, here and now. While it is being advanced: where that ends."""
        self._place(self.now(), True, self._speed)

    def run(self, speed: float | None = None) -> None:
        """Run on from the present instant, at `speed` or as fast as before. While it is being advanced: from where
        that ends. Raises ValueError for a speed that is not positive.
        """
        self._place(self.now(), False, self._speed if speed is None else _positive(speed))

    def set(self, now: int, frozen: bool, speed: float) -> None:
        """Put the clock anywhere, back as well, for restore and reset. Whose instant has come is woken, all at once;
        the rest wait for theirs by the new time. An advance under way ends here. Raises ValueError for a speed that is
        not positive.
        """
        speed = _positive(speed)
        self._end_move(shut=False)
        self._place(now, frozen, speed)

    def open(self) -> None:
        """Let calls wait for as long as they like, as in the beginning."""
        self._closed = None

    def close(self, why: Status | None = None) -> None:
        """Let go of everyone who waits for ever, or for long, now or later: they get `why`, UNAVAILABLE unless given.
        On a frozen clock that is everyone. So does whoever advances it or waits for sleepers.
        """
        self._closed = why or Status(Code.UNAVAILABLE, "the emulator is shutting down")
        self._end_move(shut=True)
        self._rearm()
        for asked in self._awaited:
            _settle(asked, False)
        for over in self._watching:
            _settle(over, None)

    async def advance(self, by: int, patience: float = PATIENCE) -> int:
        """Move the clock on by `by` ns, through every instant that somebody waits for; return when all have run on.

        At each instant, in order, those wake whose instant it is, in the order in which they began to wait, and the
        clock stands there until all participants are asleep again or have left; what they wait for next is stepped
        through as well. It ends at exactly `by` from where it was, and a running clock runs on from there.

        A participant may not settle: its client reads slowly. After `patience` real seconds in all those are set
        aside, and every further step allows the others a moment; the moments come to no more than `patience` again.
        One of them that runs on after all is sent what is due by then, and from its next wait on it is stepped with the
        others again. Returns how many still ran at the end, 0 unless the patience ran out.

        Advances wait for each other.

        Raises ValueError for a negative `by` and for an end past the year 9999, and UNAVAILABLE if the clock is or gets
        closed. A participant that calls it waits for itself.
        """
        if by < 0:
            raise ValueError(f"the clock does not go back: it can't be advanced by {by} ns; give 0 or more")
        return await self._moved(by, None, patience)

    async def advance_to(self, instant: int, patience: float = PATIENCE) -> int:
        """`advance` to `instant`. Raises ValueError if that has passed when its turn comes, or is past 9999."""
        return await self._moved(0, instant, patience)

    async def _moved(self, by: int, instant: int | None, patience: float) -> int:
        self._adopt()
        if self._closed:
            raise self._end()
        async with self._turn:
            if self._closed:
                raise self._end()
            start = self.now()
            if instant is not None and instant < start:
                raise ValueError(f"the clock does not go back: it is {_told(start)}, and {_told(instant)} has passed")
            target = start + by if instant is None else instant
            if target >= END:
                raise ValueError("that would take the clock past the year 9999, where timestamps end")
            move = self._begin_move(start, patience)
            try:
                await self._step(move, target)
                if self._move is move:
                    self._at = target
            finally:
                if self._move is move:
                    self._end_move(shut=False)
                    self._rearm()
            if move.shut:
                raise self._end()
            return max(self._running, 0)

    async def _step(self, move: _Move, target: int) -> None:
        """Go through the instants up to `target`. Stops early if the move is ended."""
        await self._run_on(move)
        heap = move.heap
        while self._move is move and heap and heap[0][0] <= target:
            instant, _, waiter = heappop(heap)
            if waiter not in self._waiting:
                continue  # cancelled
            self._at = max(self._at, instant)
            self._wake(waiter)
            while heap and heap[0][0] <= self._at:
                waiter = heappop(heap)[2]
                if waiter in self._waiting:
                    self._wake(waiter)
            await self._run_on(move)

    async def _run_on(self, move: _Move) -> None:
        """Wait until no participant runs, or as long as the patience allows."""
        await asyncio.sleep(0)  # mostly enough
        while self._move is move and self._running > move.left_behind:
            if await move.settled() or self._move is not move:
                continue
            move.aside = self._busy()
            move.nameless = max(self._running - len(move.aside), 0)
            if not move.warned:
                move.warned, move.left = True, move.patience
                text = "after %g s the clock moves on without the calls that did not run on: %d; are they read slowly?"
                logging.getLogger("emulator").warning(text, move.patience, self._running)

    async def wait_for_sleepers(self, n: int, timeout: float | None = None) -> None:
        """Return once `n` or more wait for the clock: calls that were sent have arrived, and run on to their waits.

        Raises TimeoutError after `timeout` real seconds, ValueError for a negative `n`, and UNAVAILABLE if the clock
        is or gets closed.
        """
        if n < 0:
            raise ValueError(f"no {n} calls can wait for the clock; give 0 or more")
        loop = self._adopt()
        if self._closed:
            raise self._end()
        if len(self._waiting) >= n:
            return
        asked: asyncio.Future[bool] = loop.create_future()
        self._awaited[asked] = n
        try:
            await asyncio.wait((asked,), timeout=timeout)
        finally:
            self._awaited.pop(asked, None)
        if not asked.done():
            there = len(self._waiting)
            wait = "call waits" if there == 1 else "calls wait"
            raise TimeoutError(
                f"{there} {wait} for the clock after {timeout:g} s, and {n} were asked for; "
                "send the others, or give their rules a delay or a pace"
            )
        if not asked.result():
            raise self._end()

    def _tell_awaited(self) -> None:
        there = len(self._waiting)
        for asked, n in self._awaited.items():
            if there >= n:
                _settle(asked, True)

    # -- how time stands and runs

    def _place(self, now: int, frozen: bool, speed: float) -> None:
        self._at, self._frozen, self._speed = now, frozen, speed
        self._began = time.monotonic_ns()
        self._rearm()

    def _rearm(self) -> None:
        """Give everyone who waits the timer that the time as it is now asks for, and let go whom it does not hold."""
        self._forget_closed()
        if self._move is not None:
            return  # it will be done when that ends
        now = self.now()
        for waiter in sorted(self._waiting, key=_Waiter.order):
            waiter.disarm()
            if waiter.instant is not None and waiter.instant <= now:
                self._wake(waiter)
            elif self._closed and self._holds_up(waiter.instant):
                self._wake(waiter, came=False)
            elif waiter.instant is not None and not self._frozen:
                self._arm(waiter, waiter.instant - now)

    def _holds_up(self, instant: int | None) -> bool:
        """Whether a wait for `instant` would hold up a shutdown."""
        return instant is None or self._frozen or (instant - self.now()) / SECOND / self._speed > LONG

    def _begin_move(self, start: int, patience: float) -> _Move:
        self._forget_closed()
        self._at = start
        move = self._move = _Move(patience)
        for waiter in self._waiting:
            waiter.disarm()
            if waiter.instant is not None:
                move.heap.append((waiter.instant, waiter.arrived, waiter))
        heapify(move.heap)
        return move

    def _end_move(self, shut: bool) -> None:
        """Let the clock stand or run again, from where it got to. Who moves it is told."""
        move, self._move = self._move, None
        if move is not None:
            self._began = time.monotonic_ns()
            move.end(shut)

    # -- loops

    def _adopt(self) -> asyncio.AbstractEventLoop:
        """The running loop, to which the clock belongs from here on."""
        loop = asyncio.get_running_loop()
        if loop is not self._loop:
            self._loop = loop
            self._turn = asyncio.Lock()
            if self._move is not None:  # the loop it was in ended under it
                self._end_move(shut=False)
                self._rearm()
            self._forget_closed()
        return loop

    def _forget_closed(self) -> None:
        """Drop who waits in a loop that was closed: it can't be woken. Should its coroutine be closed one day, the
        counts are still right.
        """
        for waiter in tuple(self._waiting):
            if waiter.future.get_loop().is_closed():
                waiter.forgotten = True
                self._waiting.remove(waiter)
        self._taking_part = {task for task in self._taking_part if task is None or not task.get_loop().is_closed()}
        self._watching = {over for over in self._watching if not over.get_loop().is_closed()}
        self._awaited = {asked: n for asked, n in self._awaited.items() if not asked.get_loop().is_closed()}


class Signal:
    """What one call tells others that wait for it; given once and for good."""

    __slots__ = ("given", "wakes")

    def __init__(self) -> None:
        self.given = False
        self.wakes: dict[object, Callable[[], object]] = {}

    def give(self) -> None:
        """Let all go on who wait for it in `Clock.told`, in the order in which they came."""
        self.given = True
        wakes, self.wakes = self.wakes, {}
        for wake in wakes.values():
            wake()


class _Waiter:
    """Somebody who waits in `task` for `instant`, or, with None, for ever. `arrived` numbers them in their order."""

    __slots__ = ("arrived", "forgotten", "future", "instant", "task", "timer")

    def __init__(
        self, instant: int | None, arrived: int, future: asyncio.Future[bool], task: asyncio.Task[Any] | None
    ) -> None:
        self.instant = instant
        self.arrived = arrived
        self.future = future
        self.task = task
        self.timer: asyncio.TimerHandle | None = None
        self.forgotten = False

    def disarm(self) -> None:
        """Without a timer it waits for who moves the clock."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def order(self) -> tuple[float, int]:
        """By instant, then by arrival; those who wait for ever last."""
        return (math.inf if self.instant is None else self.instant, self.arrived)


class _Move:
    """An advance under way: whom it has yet to wake, by instant, and what is left of its patience (real seconds).

    `aside` are the tasks of participants that it no longer waits for, `nameless` how many it does not wait for either
    who are of no task that is known.
    """

    __slots__ = ("_settled", "aside", "heap", "left", "nameless", "patience", "shut", "warned")

    def __init__(self, patience: float) -> None:
        self.heap: list[tuple[int, int, _Waiter]] = []
        self.patience = self.left = patience
        self.aside: set[asyncio.Task[Any]] = set()
        self.nameless = 0
        self.shut = self.warned = False
        self._settled: asyncio.Future[bool] | None = None

    @property
    def left_behind(self) -> int:
        """How many it no longer waits for."""
        return len(self.aside) + self.nameless

    async def settled(self) -> bool:
        """Wait for `rested` to say that all have settled; False if that takes too long."""
        loop, began = asyncio.get_running_loop(), time.monotonic()
        self._settled = loop.create_future()
        limit = min(self.left, _MOMENT) if self.warned else self.left
        timer = loop.call_later(max(limit, 0.0), _settle, self._settled, False)
        try:
            return await self._settled
        finally:
            timer.cancel()
            self._settled = None
            self.left -= time.monotonic() - began

    def rested(self, task: asyncio.Task[Any] | None, running: int) -> None:
        """`running` participants run now; that of `task` does no more."""
        if task is not None:
            self.aside.discard(task)
        self.nameless = min(self.nameless, max(running - len(self.aside), 0))
        if running <= self.left_behind and self._settled is not None:
            _settle(self._settled, True)

    def end(self, shut: bool) -> None:
        """Somebody else decides about the time now; `shut`: it was closed."""
        self.shut = shut
        if self._settled is not None:
            _settle(self._settled, True)


def _current_task() -> asyncio.Task[Any] | None:
    """The running task; None outside of any, as where a coroutine is closed after its loop."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        return None


def _settle(future: asyncio.Future[T], result: T) -> None:
    if not future.done() and not future.get_loop().is_closed():
        future.set_result(result)


def _positive(speed: float) -> float:
    if not 0 < speed < math.inf:
        raise ValueError("speed must be more than 0, and finite")
    return speed


def _told(instant: int) -> str:
    """An instant for people, to the microsecond."""
    return (_EPOCH + datetime.timedelta(microseconds=instant // 1000)).isoformat()
