"""A clock that stands still: no call finishes early, and how it is moved on makes no difference to what is told."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.client import Client, asking

from emulator import Emulator

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from .conftest import Studio

NOON = "2026-01-31T12:00:00Z"
STEP = 500_000_000
RULES: dict[str, Any] = {
    "rules": [
        {"call": "completion", "when": {"question": "пауза"}, "reply": {"text": "после паузы", "delay": "2s"}},
        {
            "call": "completion",
            "when": {"question": "поток"},
            "reply": {"text": "раз два три четыре", "stream": {"words": 1, "first_after": "1s", "every": "1500ms"}},
        },
        {"call": "completion_async", "reply": {"text": "готово"}, "operation": {"done_after": "72h"}},
    ]
}


def test_a_call_with_a_delay_waits_until_the_clock_has_come_so_far(serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES, frozen=True, now=NOON)
    client = connect(emulator)
    with ThreadPoolExecutor() as pool:
        call = pool.submit(client.complete, asking("пауза"))
        emulator.clock.wait_for_sleepers(1)
        emulator.clock.advance("1999ms")
        assert not call.done()
        assert emulator.clock.sleepers == 1
        emulator.clock.advance("1ms")
        assert call.result().only.alternatives[0].message.text == "после паузы"


def test_a_paced_stream_gives_each_message_at_its_instant(serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES, frozen=True, now=NOON)
    stream = connect(emulator).begin("TextGenerationService/Completion", asking("поток", stream=True))
    emulator.clock.wait_for_sleepers(1)
    (call,) = emulator.calls()
    assert call.sent_at == []
    for sent, by in enumerate(("1s", "1500ms", "1500ms", "1500ms"), 1):
        emulator.clock.advance(by)
        assert len(call.sent_at) == sent
        next(stream)
    emulator.clock.advance("1m")
    list(stream)
    gaps = [(later - earlier).total_seconds() for earlier, later in pairwise([call.began_at, *call.sent_at])]
    assert gaps[:4] == [1, 1.5, 1.5, 1.5]
    assert call.code == "OK"


def test_the_official_sdk_gets_nothing_early_and_a_batch_of_days_in_no_time(serve: Serve, studio: Studio) -> None:
    emulator = serve(RULES, frozen=True, now=NOON)
    model = studio(emulator).models.completions("yandexgpt")
    operation = model.run_deferred("подумай")
    assert operation.get_status().is_running
    emulator.clock.advance("71h59m59s")
    assert operation.get_status().is_running
    emulator.clock.advance("1s")
    assert operation.get_status().is_succeeded
    assert operation.get_result().text == "готово"
    with ThreadPoolExecutor() as pool:
        run = pool.submit(model.run, "пауза")
        emulator.clock.wait_for_sleepers(1)
        emulator.clock.advance("1s")
        assert not run.done()
        emulator.clock.advance("1s")
        assert run.result().text == "после паузы"


Told = list[tuple[Any, ...]]
arrivals = st.lists(st.tuples(st.integers(0, 6), st.sampled_from(["пауза", "поток", "долго"])), min_size=1, max_size=4)


def told(calls: list[tuple[int, str]], stops: list[int], real_order: list[int]) -> Told:
    """What a story tells in which `calls` come at instants (in half seconds), and the clock also stops at `stops`.

    Those that come at the same instant are sent in the order of `real_order`.
    """
    with Emulator(RULES, frozen=True, now=NOON) as e, Client(e.target) as client, ThreadPoolExecutor() as pool:
        under_way: dict[int, Future[Any]] = {}
        begun: list[str] = []
        now = 0
        for stop in sorted({at for at, _ in calls} | set(stops) | {40}):
            e.place.wait(e.sessions.default.clock.advance((stop - now) * STEP), "advance")
            now = stop
            due = [n for n in sorted(range(len(calls)), key=real_order.index) if calls[n][0] == stop]
            for n in due:
                if calls[n][1] == "долго":
                    begun.append(client.call("TextGenerationAsyncService/Completion", asking("долго")).only.id)
                    continue
                request = asking(calls[n][1], stream=calls[n][1] == "поток")
                waiting = e.clock.sleepers
                under_way[n] = pool.submit(client.complete, request)
                e.clock.wait_for_sleepers(waiting + 1)
        replies = [
            [message.SerializeToString() for message in under_way[n].result().messages] for n in sorted(under_way)
        ]
        operations = [client.operation(id_).SerializeToString() for id_ in begun]
        assert not any(operation.done for operation in e.operations.list())
        e.clock.advance("72h")
        operations += [client.operation(id_).SerializeToString() for id_ in begun]
        entries = sorted((call.began_at, call.about, call.sent_at, call.code) for call in e.calls())
        return [*((tuple(reply),) for reply in replies), *((raw,) for raw in operations), *entries]


@pytest.mark.slow
@settings(max_examples=120)
@given(arrivals, st.lists(st.integers(0, 39), max_size=6), st.permutations(range(4)))
def test_any_interleaving_of_calls_and_advances_gives_the_same_replies_and_instants(
    calls: list[tuple[int, str]], stops: list[int], order: list[int]
) -> None:
    assert told(calls, stops, order) == told(calls, [], [0, 1, 2, 3])
