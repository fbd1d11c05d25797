"""The emulator's time: where it starts, how fast it runs, and how one waits for it."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest

from emulator.clock import END, SECOND, Clock, Monotonic, Signal
from emulator.errors import Code, Status

NOON = 1_900_000_000 * SECOND
CRAWL = 1e-15
"""A speed at which a running clock goes on by less than a nanosecond in any test."""

Seen = list[tuple[str, int]]


async def chunks(clock: Clock, name: str, waits: list[int], seen: Seen) -> None:
    """A participant that waits so many seconds, again and again, and notes when it went on, with a while in between."""
    clock.enter()
    try:
        at = clock.now()
        for wait in waits:
            at += wait * SECOND
            await clock.until(at)
            for _ in range(5):
                await asyncio.sleep(0)
            seen.append((name, (clock.now() - NOON) // SECOND))
    finally:
        clock.leave()


def frozen(at: int = NOON) -> Clock:
    clock = Clock(at)
    clock.set(at, True, 1)
    return clock


@pytest.fixture(autouse=True)
def patience(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """What a test expects to be logged: that patience ran out, which is nothing unless the test says so."""
    expected: list[str] = []
    yield expected
    assert [record.getMessage() for record in caplog.get_records("call") if record.name == "emulator"] == expected


async def ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


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


@pytest.mark.parametrize("speed", [0, -1, float("nan"), float("inf")])
def test_a_speed_that_is_not_positive_is_refused(speed: float) -> None:
    with pytest.raises(ValueError, match="speed"):
        Clock(0, speed)
    clock = frozen()
    with pytest.raises(ValueError, match="speed"):
        clock.run(speed)
    with pytest.raises(ValueError, match="speed"):
        clock.set(0, False, speed)
    assert (clock.now(), clock.frozen, clock.speed) == (NOON, True, 1)


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


async def test_a_frozen_clock_stands_still_and_wakes_nobody() -> None:
    clock = Clock(NOON, 1e9)
    clock.freeze()
    stood = clock.now()
    waiting = asyncio.create_task(clock.until(stood + 1))
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    assert clock.now() == stood
    assert (clock.frozen, clock.speed, clock.sleepers) == (True, 1e9, 1)
    await ended(waiting)
    assert clock.sleepers == 0


async def test_freezing_stops_those_who_wait_already() -> None:
    clock = Clock(NOON, CRAWL)
    waiting = asyncio.create_task(clock.until(NOON + 1))
    await clock.wait_for_sleepers(1)
    clock.run(1e-6)  # a nanosecond is a millisecond
    clock.freeze()
    done, _ = await asyncio.wait([waiting], timeout=0.02)
    assert not done
    assert await clock.advance(1) == 0
    await waiting


async def test_it_runs_on_from_where_it_stood_at_the_speed_it_is_told() -> None:
    clock = frozen()
    waiting = asyncio.create_task(clock.until(NOON + 100 * SECOND))
    await clock.wait_for_sleepers(1)
    clock.run(10_000)
    assert (clock.frozen, clock.speed) == (False, 10_000)
    await asyncio.wait_for(waiting, 5)
    assert clock.now() >= NOON + 100 * SECOND


async def test_with_no_speed_it_runs_as_fast_as_before() -> None:
    clock = Clock(NOON, CRAWL)
    clock.freeze()
    clock.run()
    assert (clock.frozen, clock.speed, clock.now()) == (False, CRAWL, NOON)


async def test_who_waits_on_a_running_clock_is_hurried_by_a_new_speed() -> None:
    clock = Clock(NOON, CRAWL)
    waiting = asyncio.create_task(clock.until(NOON + 3600 * SECOND))
    await clock.wait_for_sleepers(1)
    clock.run(1e6)
    await asyncio.wait_for(waiting, 5)


async def test_an_advance_releases_every_chunk_of_every_stream_at_its_instant() -> None:
    clock, seen = frozen(), Seen()
    streams = [asyncio.create_task(chunks(clock, f"s{n}", [1] * 50, seen)) for n in range(3)]
    await clock.wait_for_sleepers(3)
    assert await clock.advance(50 * SECOND) == 0
    assert seen == [(f"s{n}", second) for second in range(1, 51) for n in range(3)]
    assert clock.now() == NOON + 50 * SECOND
    await asyncio.gather(*streams)


async def test_an_advance_steps_in_order_of_the_instants_and_stops_at_its_end() -> None:
    clock, seen = frozen(), Seen()
    streams = [
        asyncio.create_task(chunks(clock, name, waits, seen))
        for name, waits in {"slow": [4, 4], "fast": [1, 2, 2, 100], "late": [3, 6]}.items()
    ]
    await clock.wait_for_sleepers(3)
    assert await clock.advance(8 * SECOND) == 0
    assert seen == [("fast", 1), ("late", 3), ("fast", 3), ("slow", 4), ("fast", 5), ("slow", 8)]
    assert clock.sleepers == 2
    assert await clock.advance_to(NOON + 9 * SECOND) == 0
    assert seen[6:] == [("late", 9)]
    await ended(*streams)


async def test_a_call_that_begins_during_an_advance_is_stepped_through_as_well() -> None:
    clock, seen = frozen(), Seen()
    begun = []

    async def parent() -> None:
        clock.enter()
        await clock.until(NOON + 2 * SECOND)
        begun.append(asyncio.create_task(chunks(clock, "child", [1, 5], seen)))
        await asyncio.sleep(0)  # it has entered
        clock.leave()

    first = asyncio.create_task(parent())
    await clock.wait_for_sleepers(1)
    assert await clock.advance(8 * SECOND) == 0
    assert seen == [("child", 3), ("child", 8)]
    await asyncio.gather(first, *begun)


async def test_an_advance_waits_first_for_calls_that_have_yet_to_begin_their_wait() -> None:
    clock, went_on = frozen(), list[int]()
    clock.enter()

    async def dawdle() -> None:
        for _ in range(30):
            await asyncio.sleep(0)
        await clock.until(clock.now() + 5 * SECOND)
        went_on.append(clock.now())
        clock.leave()

    call = asyncio.create_task(dawdle())
    assert await clock.advance(10 * SECOND) == 0
    assert went_on == [NOON + 5 * SECOND]
    await call


async def test_a_call_that_leaves_at_its_last_instant_is_not_waited_for() -> None:
    clock, seen = frozen(), Seen()
    calls = [asyncio.create_task(chunks(clock, "one", [n], seen)) for n in (1, 1, 2)]
    await clock.wait_for_sleepers(3)
    assert await clock.advance(1000 * SECOND) == 0
    assert [task.done() for task in calls] == [True, True, True]
    assert await clock.advance(SECOND) == 0
    assert clock.now() == NOON + 1001 * SECOND


async def test_who_was_cancelled_is_neither_woken_nor_waited_for() -> None:
    clock, seen = frozen(), Seen()
    left, stays = (asyncio.create_task(chunks(clock, name, [1, 1], seen)) for name in ("left", "stays"))
    await clock.wait_for_sleepers(2)
    left.cancel()  # the advance begins before it has noticed
    assert await clock.advance(SECOND) == 0
    assert left.cancelled()
    assert await clock.advance(SECOND) == 0
    assert seen == [("stays", 1), ("stays", 2)]
    await stays


async def test_who_is_cancelled_as_it_wakes_is_counted_once() -> None:
    clock, seen = frozen(), Seen()

    async def first() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        second.cancel()  # it was woken at the same instant and has not had its turn
        clock.leave()

    waiting = asyncio.create_task(first())
    await clock.wait_for_sleepers(1)
    second = asyncio.create_task(chunks(clock, "second", [1, 1], seen))
    await clock.wait_for_sleepers(2)
    assert await clock.advance(5 * SECOND) == 0
    assert second.cancelled()
    third = asyncio.create_task(chunks(clock, "third", [1, 1], seen))
    await clock.wait_for_sleepers(1)
    assert await clock.advance(5 * SECOND) == 0
    assert seen == [("third", 6), ("third", 7)]
    await asyncio.gather(waiting, third)


async def test_who_reads_slowly_is_left_behind_and_told_of(patience: list[str]) -> None:
    clock, seen = frozen(), Seen()
    read = asyncio.Event()

    async def slow() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        await read.wait()
        clock.leave()

    call = asyncio.create_task(slow())
    others = [asyncio.create_task(chunks(clock, name, [1, 1, 1], seen)) for name in "ab"]
    await clock.wait_for_sleepers(3)
    assert await clock.advance(3 * SECOND, patience=0.02) == 1
    patience[:] = ["after 0.02 s the clock moves on without the calls that did not run on: 1; are they read slowly?"]
    assert seen == [(name, second) for second in (1, 2, 3) for name in "ab"]
    assert clock.now() == NOON + 3 * SECOND
    read.set()
    assert await clock.advance(SECOND) == 0
    await asyncio.gather(call, *others)


async def test_who_comes_back_after_the_patience_leaves_nobody_else_behind(patience: list[str]) -> None:
    clock, seen = frozen(), Seen()
    read, rests = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        await read.wait()
        rests.set()
        await clock.until(NOON + 4 * SECOND)
        seen.append(("slow", (clock.now() - NOON) // SECOND))
        clock.leave()

    async def busy() -> None:
        clock.enter()
        for second in (2, 3, 4):
            await clock.until(NOON + second * SECOND)
            read.set()
            await rests.wait()
            for _ in range(20):
                await asyncio.sleep(0)
            seen.append(("busy", (clock.now() - NOON) // SECOND))
        clock.leave()

    calls = [asyncio.create_task(slow()), asyncio.create_task(busy())]
    await clock.wait_for_sleepers(2)
    assert await clock.advance(9 * SECOND, patience=0.1) == 0
    patience[:] = ["after 0.1 s the clock moves on without the calls that did not run on: 1; are they read slowly?"]
    assert seen == [("busy", 2), ("busy", 3), ("slow", 4), ("busy", 4)]
    await asyncio.gather(*calls)


async def test_the_clock_ends_where_timestamps_do() -> None:
    clock = frozen()
    years = 8000 * 365 * 24 * 3600 * SECOND
    with pytest.raises(ValueError, match="past the year 9999"):
        await clock.advance(years)
    with pytest.raises(ValueError, match="past the year 9999"):
        await clock.advance_to(NOON + years)
    assert clock.now() == NOON


async def test_an_advance_waits_for_a_slow_reader_within_its_patience() -> None:
    clock, seen = frozen(), Seen()
    woke, read = asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        woke.set()
        await read.wait()
        seen.append(("slow", (clock.now() - NOON) // SECOND))
        clock.leave()

    calls = [asyncio.create_task(slow()), asyncio.create_task(chunks(clock, "other", [2], seen))]
    await clock.wait_for_sleepers(2)
    moving = asyncio.create_task(clock.advance(2 * SECOND, patience=60))
    await woke.wait()
    asyncio.get_running_loop().call_later(0.02, read.set)
    assert await moving == 0
    assert seen == [("slow", 1), ("other", 2)]
    await asyncio.gather(*calls)


async def test_an_advance_comes_to_its_end_though_nobody_reads(patience: list[str]) -> None:
    clock, read = frozen(), asyncio.Event()

    async def slow(second: int) -> None:
        clock.enter()
        await clock.until(NOON + second * SECOND)
        await read.wait()
        clock.leave()

    calls = [asyncio.create_task(slow(second)) for second in range(1, 41)]
    await clock.wait_for_sleepers(40)
    assert await clock.advance(40 * SECOND, patience=0.03) == 40
    patience.append("after 0.03 s the clock moves on without the calls that did not run on: 1; are they read slowly?")
    read.set()
    assert await clock.advance(0) == 0
    await asyncio.gather(*calls)


async def test_a_running_clock_stands_still_while_it_is_advanced_and_runs_on_from_the_end() -> None:
    clock, seen = Clock(NOON, CRAWL), Seen()
    call = asyncio.create_task(chunks(clock, "one", [1, 2, 3, 4], seen))
    await clock.wait_for_sleepers(1)
    assert await clock.advance(7 * SECOND) == 0
    assert seen == [("one", 1), ("one", 3), ("one", 6)]
    assert (clock.now(), clock.frozen, clock.speed) == (NOON + 7 * SECOND, False, CRAWL)
    clock.run(10_000)
    await asyncio.wait_for(call, 5)
    assert clock.now() >= NOON + 10 * SECOND


async def test_who_waits_while_a_running_clock_is_advanced_wakes_by_itself_afterwards() -> None:
    clock = Clock(NOON, 100)
    waiting = asyncio.create_task(clock.until(NOON + 61 * SECOND))
    await clock.wait_for_sleepers(1)
    await clock.advance(SECOND)
    await asyncio.wait_for(waiting, 5)
    assert clock.now() >= NOON + 61 * SECOND


async def test_the_timer_of_who_was_cancelled_does_not_ring() -> None:
    clock, failures = Clock(NOON), list[object]()
    asyncio.get_running_loop().set_exception_handler(lambda _, context: failures.append(context))
    soon = clock.now() + SECOND // 50
    waiting = asyncio.create_task(clock.until(soon))
    await clock.wait_for_sleepers(1)
    await ended(waiting)
    await clock.until(soon + 1000)
    assert failures == []


async def test_advances_wait_for_each_other() -> None:
    clock, seen = frozen(), Seen()
    call = asyncio.create_task(chunks(clock, "one", [1] * 6, seen))
    await clock.wait_for_sleepers(1)
    assert await asyncio.gather(*(clock.advance(2 * SECOND) for _ in range(3))) == [0, 0, 0]
    assert clock.now() == NOON + 6 * SECOND
    assert seen == [("one", second) for second in range(1, 7)]
    await call


async def test_the_clock_is_not_advanced_backwards() -> None:
    clock = frozen()
    with pytest.raises(ValueError, match="the clock does not go back"):
        await clock.advance(-1)
    with pytest.raises(ValueError, match="the clock does not go back"):
        await clock.advance_to(NOON - 1)
    assert await clock.advance_to(NOON) == 0
    assert await clock.advance(0) == 0
    assert clock.now() == NOON


async def test_a_clock_frozen_or_set_running_while_it_is_advanced_is_that_from_the_end_on() -> None:
    clock, steered = Clock(NOON, CRAWL), list[int]()

    async def steer() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        clock.freeze()
        steered.append(clock.now())
        await clock.until(NOON + 2 * SECOND)
        steered.append(clock.now())
        clock.leave()

    call = asyncio.create_task(steer())
    await clock.wait_for_sleepers(1)
    assert await clock.advance(3 * SECOND) == 0
    assert steered == [NOON + SECOND, NOON + 2 * SECOND]
    assert (clock.now(), clock.frozen) == (NOON + 3 * SECOND, True)
    await call


async def test_an_advance_ends_where_the_clock_is_put_elsewhere() -> None:
    clock = frozen()

    async def reset() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        clock.set(NOON - 5 * SECOND, True, 2)
        clock.leave()

    call = asyncio.create_task(reset())
    later = asyncio.create_task(chunks(clock, "later", [2], []))
    await clock.wait_for_sleepers(2)
    assert await clock.advance(3 * SECOND) == 0
    assert (clock.now(), clock.frozen, clock.speed) == (NOON - 5 * SECOND, True, 2)
    assert not later.done()
    assert await clock.advance(7 * SECOND) == 0
    await asyncio.gather(call, later)


async def test_a_clock_that_is_put_elsewhere_wakes_whose_instant_has_come() -> None:
    clock = frozen()
    near, far = (asyncio.create_task(clock.until(NOON + age)) for age in (5, 10))
    await clock.wait_for_sleepers(2)
    clock.set(NOON + 7, True, 1)
    await asyncio.wait_for(near, 5)
    assert not far.done()
    clock.set(NOON, False, 1e6)
    await asyncio.wait_for(far, 5)


async def test_they_wake_in_the_order_of_their_instants_when_the_clock_jumps() -> None:
    clock, seen = frozen(), Seen()
    waits = [5, 3, 9, 1, 7, 3, 8, 2, 6, 4]
    calls = [asyncio.create_task(chunks(clock, str(n), [wait], seen)) for n, wait in enumerate(waits)]
    await clock.wait_for_sleepers(10)
    clock.set(NOON + 20 * SECOND, True, 1)
    await asyncio.gather(*calls)
    assert "".join(name for name, _ in seen) == "3715908462"


async def test_an_advance_that_is_given_up_lets_the_clock_run_again() -> None:
    clock, read = Clock(NOON, CRAWL), asyncio.Event()

    async def slow() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        await read.wait()
        clock.leave()

    call, later = asyncio.create_task(slow()), asyncio.create_task(chunks(clock, "later", [9], []))
    await clock.wait_for_sleepers(2)
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(clock.advance(5 * SECOND, patience=60), 0.02)
    assert clock.now() == NOON + SECOND
    clock.run(10_000)
    await asyncio.wait_for(later, 5)
    read.set()
    assert await clock.advance(0) == 0
    await call


async def test_sleepers_are_waited_for_until_so_many_sleep() -> None:
    clock = frozen()
    await clock.wait_for_sleepers(0)
    asked = asyncio.create_task(clock.wait_for_sleepers(2))
    first = asyncio.create_task(clock.forever())
    await clock.wait_for_sleepers(1)
    assert not asked.done()
    second = asyncio.create_task(clock.until(NOON + 1))
    await asyncio.wait_for(asked, 5)
    assert clock.sleepers == 2
    await ended(first, second)


async def test_too_few_sleepers_are_told_of_in_a_sentence() -> None:
    clock = frozen()
    call = asyncio.create_task(clock.forever())
    await clock.wait_for_sleepers(1)
    with pytest.raises(TimeoutError, match=r"1 call waits for the clock after 0\.01 s, and 3 were asked for"):
        await clock.wait_for_sleepers(3, timeout=0.01)
    with pytest.raises(ValueError, match="give 0 or more"):
        await clock.wait_for_sleepers(-1)
    await ended(call)


async def test_a_frozen_clock_that_closes_lets_everyone_go() -> None:
    clock = frozen()
    calls = [clock.until(NOON + 1), clock.until(NOON + 3600 * SECOND), clock.forever(), clock.wait_for_sleepers(9)]
    waiting = [asyncio.create_task(call) for call in calls]
    await clock.wait_for_sleepers(3)
    clock.close()
    ends = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 5)
    assert [isinstance(end, Status) and end.code for end in ends] == [Code.UNAVAILABLE] * 4
    for late in (clock.until(NOON + 1), clock.forever(), clock.advance(1), clock.wait_for_sleepers(0)):
        with pytest.raises(Status, match="shutting down"):
            await asyncio.wait_for(late, 5)
    await clock.until(NOON)
    clock.open()
    assert await clock.advance(1) == 0
    assert clock.now() == NOON + 1


async def test_a_closed_clock_that_is_frozen_lets_those_go_whose_course_it_ends() -> None:
    clock = Clock(NOON, CRAWL)
    clock.close()
    clock.run(1)
    moment = asyncio.create_task(clock.until(clock.now() + SECOND))
    await asyncio.sleep(0)  # it has begun to wait
    assert clock.sleepers == 1
    clock.freeze()
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(moment, 5)


@pytest.mark.parametrize("stands", [True, False])
async def test_advances_end_when_the_clock_closes(stands: bool) -> None:
    clock, woke, read = Clock(NOON, CRAWL), asyncio.Event(), asyncio.Event()
    clock.set(NOON, stands, CRAWL)

    async def slow() -> None:
        clock.enter()
        await clock.until(NOON + SECOND)
        woke.set()
        await read.wait()
        clock.leave()

    call, later = asyncio.create_task(slow()), asyncio.create_task(chunks(clock, "later", [4], []))
    await clock.wait_for_sleepers(2)
    moves = [asyncio.create_task(clock.advance(5 * SECOND, patience=60)) for _ in range(2)]
    await woke.wait()
    clock.close()
    ends = await asyncio.wait_for(asyncio.gather(*moves, later, return_exceptions=True), 5)
    assert [isinstance(end, Status) and end.code for end in ends] == [Code.UNAVAILABLE] * 3
    assert clock.now() == NOON + SECOND
    read.set()
    await call


async def test_what_tools_keep_open_does_not_sleep_and_ends_when_the_clock_closes() -> None:
    clock, begun = frozen(), asyncio.Event()

    async def listens() -> None:
        begun.set()
        await asyncio.Event().wait()

    watch = asyncio.create_task(clock.unless_closed(listens()))
    await begun.wait()
    assert clock.sleepers == 0
    assert await clock.advance(SECOND) == 0
    assert not watch.done()
    clock.close()
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(watch, 5)
    with pytest.raises(Status, match="shutting down"):
        await asyncio.wait_for(clock.unless_closed(listens()), 5)


async def test_what_does_not_outlast_the_clock_gives_what_it_gives() -> None:
    clock = Clock(NOON)
    assert await clock.unless_closed(asyncio.sleep(0, "да")) == "да"
    with pytest.raises(ValueError, match="go back"):
        await clock.unless_closed(clock.advance(-1))


def test_one_clock_serves_one_loop_after_the_other() -> None:
    clock = frozen()

    async def story() -> Seen:
        seen = Seen()
        start = (clock.now() - NOON) // SECOND
        calls = [asyncio.create_task(chunks(clock, "one", [1, 1], seen)) for _ in range(2)]
        await clock.wait_for_sleepers(2)
        await asyncio.gather(clock.advance(SECOND), clock.advance(SECOND))
        await asyncio.gather(*calls)
        return [(name, second - start) for name, second in seen]

    told = [asyncio.run(story()) for _ in range(3)]
    assert told == [[("one", 1), ("one", 1), ("one", 2), ("one", 2)]] * 3


def test_who_waits_in_a_loop_that_was_closed_is_forgotten() -> None:
    clock, seen = Clock(NOON, CRAWL), Seen()
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda *_: None)  # which would tell of the tasks that nobody ended
    left = [loop.create_task(chunks(clock, "left", [wait], seen)) for wait in (1, 2)]
    loop.run_until_complete(clock.wait_for_sleepers(2))
    loop.close()
    assert clock.sleepers == 0

    async def story() -> None:
        call = asyncio.create_task(chunks(clock, "one", [1, 1], seen))
        await clock.wait_for_sleepers(1)
        assert await clock.advance(2 * SECOND) == 0
        await call
        left.clear()
        gc.collect()  # closes their coroutines, which leave
        call = asyncio.create_task(chunks(clock, "two", [1, 1], seen))
        await clock.wait_for_sleepers(1)
        assert await clock.advance(2 * SECOND) == 0
        await call

    asyncio.run(story())
    clock.close()
    assert seen == [("one", 1), ("one", 2), ("two", 3), ("two", 4)]


def test_steady_time_never_goes_back() -> None:
    before = Monotonic.now()
    assert Monotonic.now() >= before


async def hears(clock: Clock, name: str, signal: Signal, seen: Seen) -> None:
    """A participant that waits for another's signal, notes it, and takes a while to leave."""
    clock.enter()
    try:
        await clock.told(signal)
        for _ in range(5):
            await asyncio.sleep(0)
        seen.append((name, (clock.now() - NOON) // SECOND))
    finally:
        clock.leave()


async def tells(clock: Clock, signal: Signal, after: int) -> None:
    """A participant that gives a signal after so many seconds, and leaves at once."""
    clock.enter()
    try:
        await clock.until(clock.now() + after * SECOND)
        signal.give()
    finally:
        clock.leave()


async def test_an_advance_waits_for_those_who_hear_the_signal_of_one_that_it_woke() -> None:
    clock, signal, seen = frozen(), Signal(), list[tuple[str, int]]()
    tasks = [asyncio.create_task(tells(clock, signal, 3))]
    tasks += [asyncio.create_task(hears(clock, str(i), signal, seen)) for i in range(20)]
    await clock.wait_for_sleepers(21, 1)
    assert await clock.advance(10 * SECOND, patience=1) == 0
    assert seen == [(str(i), 3) for i in range(20)]
    await asyncio.gather(*tasks)
    assert clock.sleepers == 0


async def test_a_signal_that_was_given_is_not_waited_for() -> None:
    clock, signal = frozen(), Signal()
    signal.give()
    signal.give()
    await asyncio.wait_for(clock.told(signal), 1)


async def test_who_waits_for_a_signal_holds_no_advance_up_and_may_leave() -> None:
    clock, signal, seen = frozen(), Signal(), list[tuple[str, int]]()
    left = asyncio.create_task(hears(clock, "left", signal, seen))
    stays = asyncio.create_task(hears(clock, "stays", signal, seen))
    await clock.wait_for_sleepers(2, 1)
    assert await clock.advance(SECOND, patience=0.2) == 0
    await ended(left)
    signal.give()
    await stays
    assert seen == [("stays", 1)]
    assert await clock.advance(SECOND, patience=0.2) == 0


async def test_who_has_left_is_not_kept_by_the_signal_that_it_waited_for() -> None:
    clock, signal = frozen(), Signal()
    for _ in range(100):
        waiting = asyncio.create_task(clock.told(signal))
        await clock.wait_for_sleepers(1, 1)
        await ended(waiting)
    assert not signal.wakes
    assert clock.sleepers == 0


async def test_who_waits_for_a_signal_is_let_go_when_the_clock_closes() -> None:
    clock, signal = frozen(), Signal()
    waiting = asyncio.create_task(clock.told(signal))
    await clock.wait_for_sleepers(1, 1)
    clock.close()
    with pytest.raises(Status, match="shutting down"):
        await waiting
    signal.give()


STANDS = "the clock has come to the end of the year 9999, where timestamps end, and stands still; reset it"


async def test_a_clock_that_runs_to_the_end_of_the_year_9999_stands_there(patience: list[str]) -> None:
    patience.append(STANDS)
    clock = Clock(END - SECOND, speed=1_000_000)
    await clock.until(END - 1)
    assert (clock.now(), clock.frozen) == (END - 1, True)
    with pytest.raises(ValueError, match=r"it is 9999-12-31T23:59:59\.999999.*, and 2001-09-09T01:46:40"):
        await clock.advance_to(1_000_000_000 * SECOND)
    clock.set(NOON, False, 1)
    assert not clock.frozen
    assert NOON <= clock.now() < NOON + 100 * SECOND


async def test_nobody_waits_for_what_is_past_the_year_9999() -> None:
    clock = frozen(END - 60 * SECOND)
    with pytest.raises(Status, match=r"FAILED_PRECONDITION: this would be past the year 9999, .*; reset it"):
        await clock.until(clock.now() + 60 * SECOND)
    assert clock.sleepers == 0
