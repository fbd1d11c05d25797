"""However a test moves the clock, in one go or in many, the story is the same."""

from __future__ import annotations

import asyncio
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Clock

START = 1_900_000_000_000_000_000
Program = tuple[tuple[int, tuple["Program", ...]], ...]
"""What a participant does: it waits so many nanoseconds, then begins others, and so on."""

Seen = list[tuple[str, int, int]]
"""By participant, step and instant, in the order in which they went on."""

waits = st.integers(0, 4)
programs: st.SearchStrategy[Program] = st.recursive(
    st.lists(st.tuples(waits, st.just(())), max_size=6).map(tuple),
    lambda inner: st.lists(st.tuples(waits, st.lists(inner, max_size=2).map(tuple)), max_size=4).map(tuple),
    max_leaves=6,
)
casts = st.lists(programs, min_size=1, max_size=6)
moves = st.lists(st.integers(0, 9), min_size=1, max_size=8)


async def story(casts: list[Program], moves: list[int], speed: float | None = None) -> tuple[Seen, int]:
    """What is seen, and when it ends, if the clock is moved on by `moves`. It stands still but for them, or, with
    `speed`, runs.
    """
    clock, seen, tasks = Clock(0), Seen(), list[asyncio.Task[None]]()
    clock.set(START, speed is None, speed or 1)

    async def perform(name: str, program: Program, at: int) -> None:
        try:
            for step, (wait, others) in enumerate(program):
                at += wait
                await clock.until(at)
                seen.append((name, step, clock.now() - START))
                for n, other in enumerate(others):
                    begin(f"{name}.{step}.{n}", other)
        finally:
            clock.leave()

    def begin(name: str, program: Program) -> None:
        clock.enter()
        tasks.append(asyncio.create_task(perform(name, program, clock.now())))

    for n, program in enumerate(casts):
        begin(str(n), program)
    for by in moves:
        start = clock.now()
        assert await clock.advance(by, patience=60) == 0
        assert clock.now() == start + by
    end = clock.now() - START
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert clock.sleepers == 0
    return seen, end


def due(name: str, program: Program, at: int) -> Seen:
    """What a participant that begins at `at` is to see, and those that it begins."""
    seen = Seen()
    for step, (wait, others) in enumerate(program):
        at += wait
        seen.append((name, step, at))
        for n, other in enumerate(others):
            seen.extend(due(f"{name}.{step}.{n}", other, at))
    return seen


@given(casts, moves)
def test_in_one_go_or_in_many_the_same_happens_in_the_same_order(casts: list[Program], moves: list[int]) -> None:
    assert asyncio.run(story(casts, moves)) == asyncio.run(story(casts, [sum(moves)]))


@given(casts, moves)
def test_everyone_goes_on_at_exactly_the_scheduled_instants_that_have_come(
    casts: list[Program], moves: list[int]
) -> None:
    seen, end = asyncio.run(story(casts, moves))
    scheduled = [step for n, program in enumerate(casts) for step in due(str(n), program, 0)]
    assert end == sum(moves)
    assert sorted(seen) == sorted(step for step in scheduled if step[2] <= end)
    instants = [instant for _, _, instant in seen]
    assert instants == sorted(instants)


@given(casts, moves)
def test_a_clock_that_hardly_runs_tells_the_same_story_as_one_that_stands(
    casts: list[Program], moves: list[int]
) -> None:
    assert asyncio.run(story(casts, moves, speed=1e-12)) == asyncio.run(story(casts, moves))


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=6), min_size=1, max_size=6), moves, st.data())
def test_whoever_is_cancelled_between_moves_changes_nothing_for_the_others(
    programs: list[list[int]], moves: list[int], data: st.DataObject
) -> None:
    gone = data.draw(st.sets(st.sampled_from(range(len(programs)))))
    at = data.draw(st.integers(0, len(moves) - 1))

    async def told(leaving: set[int]) -> Seen:
        clock, seen = Clock(0), Seen()
        clock.set(START, True, 1)

        async def perform(name: str, waits: list[int]) -> None:
            try:
                for step, instant in enumerate(accumulate(waits, initial=START)):
                    await clock.until(instant)
                    seen.append((name, step, clock.now() - START))
            finally:
                clock.leave()

        tasks = []
        for n, waits in enumerate(programs):
            clock.enter()
            tasks.append(asyncio.create_task(perform(str(n), waits)))
        await clock.advance(0)
        for n, by in enumerate(moves):
            if n == at:
                for leaves in leaving:
                    tasks[leaves].cancel()
            assert await clock.advance(by, patience=60) == 0
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return seen

    stay = {str(n) for n in range(len(programs))} - {str(n) for n in gone}
    everyone, fewer = asyncio.run(told(set())), asyncio.run(told(gone))
    assert [step for step in everyone if step[0] in stay] == [step for step in fewer if step[0] in stay]
