"""The emulator's time: where it starts, how fast it runs, and how one waits for it."""

from __future__ import annotations

import asyncio
import time

import pytest

from emulator.clock import SECOND, Clock, Monotonic
from emulator.errors import Code, Status

NOON = 1_900_000_000 * SECOND


def test_time_starts_where_it_is_told_to_and_goes_on_from_there() -> None:
    clock = Clock(NOON)
    first, second = clock.now(), clock.now()
    assert NOON <= first <= second < NOON + 10 * SECOND


def test_with_no_start_it_is_the_real_time() -> None:
    before = time.time_ns()
    now = Clock().now()
    assert before - SECOND < now < time.time_ns() + SECOND


def test_the_epoch_itself_is_a_start() -> None:
    assert Clock(0).now() < 10 * SECOND


@pytest.mark.parametrize("speed", [0.01, 1, 1000])
def test_time_runs_so_many_times_as_fast_as_the_machines(speed: float) -> None:
    before = time.monotonic_ns()
    clock = Clock(0, speed)
    inner = time.monotonic_ns()
    time.sleep(0.02)
    outer = time.monotonic_ns()
    now = clock.now()
    after = time.monotonic_ns()
    assert (outer - inner) * speed - 1 <= now <= (after - before) * speed


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_a_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Clock(0, speed)


async def test_until_returns_once_the_instant_has_come_and_not_before() -> None:
    clock = Clock(NOON, 100)
    began = time.monotonic()
    await clock.until(NOON + 2 * SECOND)
    assert clock.now() >= NOON + 2 * SECOND
    assert 0.015 < time.monotonic() - began < 2


async def test_until_returns_at_once_for_what_has_passed() -> None:
    clock = Clock(NOON, 0.0001)
    await asyncio.wait_for(clock.until(NOON), 1)
    await asyncio.wait_for(clock.until(0), 1)


async def test_forever_ends_only_when_the_clock_closes_and_then_as_unavailable() -> None:
    clock = Clock(0, 1000)
    waiting = [asyncio.create_task(clock.forever()) for _ in range(3)]
    done, _ = await asyncio.wait(waiting, timeout=0.02)
    assert not done
    clock.close()
    for ended in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(ended, Status)
        assert (ended.code, ended.message) == (Code.UNAVAILABLE, "the emulator is shutting down")


async def test_a_long_wait_ends_when_the_clock_closes_and_a_short_one_runs_its_course() -> None:
    clock = Clock(0, 100)
    hours, moment = (asyncio.create_task(clock.until(age * SECOND)) for age in (36_000, 10))
    await asyncio.sleep(0.01)
    clock.close()
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(hours, 1)
    await asyncio.wait_for(moment, 5)
    assert clock.now() >= 10 * SECOND


async def test_a_closed_clock_lets_nobody_begin_to_wait_for_long() -> None:
    clock = Clock(0)
    clock.close()
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(clock.forever(), 1)
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(clock.until(3600 * SECOND), 1)
    await clock.until(clock.now() + 1000)


async def test_who_leaves_while_waiting_for_ever_does_not_hold_up_the_others() -> None:
    clock = Clock(0)
    left, stays = asyncio.create_task(clock.forever()), asyncio.create_task(clock.forever())
    await asyncio.sleep(0)
    left.cancel()
    await asyncio.wait([left])
    clock.close()
    with pytest.raises(Status):
        await asyncio.wait_for(stays, 1)
    assert left.cancelled()


def test_steady_time_never_goes_back() -> None:
    before = Monotonic.now()
    assert Monotonic.now() >= before
