"""Any history of a clock that stands, runs, leaps and goes back, and of those who wait for it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emulator.clock import END, SECOND, Clock, Signal
from emulator.errors import Code, Status

from .machine import Machine

LEAP = 1_483_228_800 * SECOND
"""Midnight after 2016-12-31T23:59:60, which Unix time does not count."""

INSTANTS = st.sampled_from(
    (0, 1, LEAP - SECOND, LEAP - 1, LEAP, LEAP + SECOND, 2**63 - 1, 2**63, END - SECOND, END - 1)
)
DELAYS = st.sampled_from(
    (0, 1, 2, SECOND // 2, SECOND, SECOND + 1, 2 * SECOND, 3600 * SECOND, 366 * 24 * 3600 * SECOND)
)
SPEEDS = st.sampled_from((0.25, 1.0, 60.0, 1e6))
LATE = SECOND // 100
"""How much real time may pass until somebody who is due goes on: timers are rounded."""


@dataclass
class Sleeper:
    """Somebody who waits for one instant after another; None is for ever."""

    task: asyncio.Task[None]
    waits: list[int | None]
    arrived: int
    seen: list[int] = field(default_factory=list)

    @property
    def instant(self) -> int | None:
        return self.waits[len(self.seen)]

    @property
    def over(self) -> bool:
        return len(self.seen) == len(self.waits)


class Times(RuleBasedStateMachine):
    """A clock on a machine whose own time is the test's."""

    def __init__(self) -> None:
        super().__init__()
        self.machine = Machine()
        self.patch = patch("emulator.clock.time", self.machine)
        self.patch.start()
        self.sleepers: list[Sleeper] = []
        self.told: list[tuple[int, int]] = []  # who went on, and when
        self.arrived = 0
        self.cut: list[Code] = []  # how they ended whom a closed clock let go

    def teardown(self) -> None:
        self.patch.stop()
        for task in asyncio.all_tasks(self.machine):
            task.cancel()
        self.machine.settle()
        assert self.clock.sleepers == 0
        assert self.clock._running == 0
        self.machine.close()

    @initialize(start=st.none() | INSTANTS, frozen=st.booleans(), speed=SPEEDS)
    def begin(self, start: int | None, frozen: bool, speed: float) -> None:
        self.clock = Clock(start, speed, frozen)
        self.at, self.since = self.machine.day if start is None else start, self.machine.steady
        self.frozen, self.speed = frozen, speed

    # -- the model: what time it is, and who is due

    @property
    def now(self) -> int:
        now = self.at if self.frozen else self.at + int((self.machine.steady - self.since) * self.speed)
        if now >= END:
            self.place(END - 1, True)
        return min(now, END - 1)

    def place(self, now: int, frozen: bool | None = None, speed: float | None = None) -> None:
        self.at, self.since = now, self.machine.steady
        self.frozen = self.frozen if frozen is None else frozen
        self.speed = self.speed if speed is None else speed

    def waiting(self) -> list[int]:
        return [n for n, sleeper in enumerate(self.sleepers) if not sleeper.over and not sleeper.task.done()]

    def queue(self) -> list[tuple[int, int, int]]:
        waits = ((self.sleepers[n].instant, self.sleepers[n].arrived, n) for n in self.waiting())
        return sorted((instant, arrived, n) for instant, arrived, n in waits if instant is not None)

    def stepped(self, target: int) -> list[tuple[int, int]]:
        """Who is to go on, and when, as the clock goes to `target` through every instant that somebody waits for."""
        queue, step, told = self.queue(), {n: len(self.sleepers[n].seen) for n in self.waiting()}, []
        heapify(queue)
        arrived, at = self.arrived, self.now
        while queue and queue[0][0] <= target:
            instant, _, n = heappop(queue)
            at = max(at, instant)
            arrived = self._on(n, at, step, told, queue, arrived)
        return told

    def leapt(self) -> list[tuple[int, int]]:
        """Who is to go on, now that the clock stands here."""
        now, step, told = self.now, {n: len(self.sleepers[n].seen) for n in self.waiting()}, []
        for instant, _, n in self.queue():
            if instant <= now:
                self._on(n, now, step, told, [], self.arrived)
        return told

    def _on(
        self, n: int, at: int, step: dict[int, int], told: list[tuple[int, int]], queue: list[Any], arrived: int
    ) -> int:
        waits = self.sleepers[n].waits
        told.append((n, at))
        step[n] += 1
        while step[n] < len(waits) and (following := waits[step[n]]) is not None and following <= at:
            told.append((n, at))
            step[n] += 1
        if step[n] < len(waits) and waits[step[n]] is not None:
            heappush(queue, (waits[step[n]], arrived + 1, n))  # behind all who wait already
        return arrived + 1

    def settle(self) -> list[tuple[int, int]]:
        """Let all run who can; who went on."""
        self.machine.settle()
        told, self.told = self.told, []
        return told

    # -- those who wait

    @rule(delays=st.lists(DELAYS, min_size=1, max_size=3), ever=st.booleans())
    def wait(self, delays: list[int], ever: bool) -> None:
        at, n, clock = self.clock.now(), len(self.sleepers), self.clock
        waits: list[int | None] = []
        for delay in delays:
            at += delay
            waits.append(at)
        if ever:
            waits.append(None)

        async def perform() -> None:
            clock.enter()
            try:
                for wait in waits:
                    await (clock.forever() if wait is None else clock.until(wait))
                    now = clock.now()
                    assert wait is not None
                    assert wait < END
                    assert now >= wait, "woken early"
                    sleeper.seen.append(now)
                    self.arrived += 1
                    sleeper.arrived = self.arrived
                    self.told.append((n, now))
            except Status as status:
                if status.code is not Code.FAILED_PRECONDITION:
                    self.cut.append(status.code)
                else:
                    assert wait is not None
                    assert wait >= END
            finally:
                clock.leave()

        self.arrived += 1
        sleeper = Sleeper(self.machine.create_task(perform()), waits, self.arrived)
        self.sleepers.append(sleeper)
        self.settle()

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.sleepers[data.draw(st.sampled_from(self.waiting()))].task.cancel()
        assert self.settle() == [] or not self.frozen

    @rule()
    def wait_for_sleepers(self) -> None:
        self.machine.run_until_complete(self.clock.wait_for_sleepers(len(self.waiting()), 1))

    @rule()
    def signal(self) -> None:
        """One waits for what another tells it; the clock is moved meanwhile, and it runs on when told."""
        given, heard = Signal(), []

        async def listen() -> None:
            self.clock.enter()
            try:
                await self.clock.told(given)
                heard.append(self.clock.now())
            finally:
                self.clock.leave()

        task = self.machine.create_task(listen())
        self.settle()
        assert heard == []
        given.give()
        self.settle()
        assert len(heard) == 1
        assert task.done()

    # -- who moves it

    @rule(by=DELAYS)
    def advance(self, by: int) -> None:
        start = self.now
        if start + by >= END:
            with pytest.raises(ValueError, match="past the year 9999"):
                self.machine.run_until_complete(self.clock.advance(by, patience=60))
            assert self.clock.now() == start
            return
        expected = self.stepped(start + by)
        assert self.machine.run_until_complete(self.clock.advance(by, patience=60)) == 0
        self.place(start + by)
        assert self.settle() == expected

    @rule(instant=INSTANTS)
    def advance_to(self, instant: int) -> None:
        if instant < self.now:
            with pytest.raises(ValueError, match="does not go back"):
                self.machine.run_until_complete(self.clock.advance_to(instant))
            return
        expected = self.stepped(instant)
        self.machine.run_until_complete(self.clock.advance_to(instant, patience=60))
        self.place(instant)
        assert self.settle() == expected

    @rule(instant=INSTANTS, frozen=st.booleans(), speed=SPEEDS)
    def leap(self, instant: int, frozen: bool, speed: float) -> None:
        self.clock.set(instant, frozen, speed)
        self.place(instant, frozen, speed)
        expected = self.leapt()
        assert self.settle() == expected

    @rule()
    def restore(self) -> None:
        """A clock that is put where it is is where it was."""
        expected = self.leapt()
        self.clock.set(self.clock.now(), self.clock.frozen, self.clock.speed)
        self.place(self.now)
        assert self.settle() == expected

    @rule()
    def freeze(self) -> None:
        self.place(self.now, True)
        expected = self.leapt()
        self.clock.freeze()
        assert self.settle() == expected

    @rule(speed=st.none() | SPEEDS)
    def run(self, speed: float | None) -> None:
        self.place(self.now, False, speed)
        expected = self.leapt()
        self.clock.run(speed)
        assert self.settle() == expected

    @rule()
    def close(self) -> None:
        self.clock.close()
        self.settle()
        assert set(self.cut) <= {Code.UNAVAILABLE}
        assert all(self.sleepers[n].instant is not None for n in self.waiting())
        assert not self.frozen or not self.waiting()
        self.clock.open()

    # -- what the machine does

    @rule(seconds=st.sampled_from((0.0001, 0.5, 1.0, 61.0, 7200.0)))
    def pass_time(self, seconds: float) -> None:
        before = self.now
        self.machine.run_until_complete(asyncio.sleep(seconds))
        told = self.settle()
        if self.frozen:
            assert (told, self.now) == ([], before)
        assert [at for _, at in told] == sorted(at for _, at in told)

    @rule(to=st.integers(0, END))
    def set_the_time_of_day(self, to: int) -> None:
        before = self.clock.now()
        self.machine.day = to
        assert self.clock.now() == before

    # -- what holds

    @invariant()
    def it_is_as_late_as_it_should_be(self) -> None:
        if hasattr(self, "clock"):
            assert (self.clock.now(), self.clock.frozen, self.clock.speed) == (self.now, self.frozen, self.speed)

    @invariant()
    def nobody_who_is_due_waits_on(self) -> None:
        if not hasattr(self, "clock"):
            return
        stands = self.frozen and self.at < END - 1  # one that came to its end has timers that still run
        late = 0 if stands else int(LATE * self.speed)
        assert all(instant > self.now - late for instant, _, _ in self.queue())
        assert self.clock.sleepers == len(self.waiting())
        assert self.clock._running == 0


TestTimes = Times.TestCase
