"""The machine's time of day jumps, goes back and is wrong from the start; years that other programs stumble over."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest
from wire.client import asking

from emulator.clock import SECOND, Clock
from emulator.errors import UsageError

if TYPE_CHECKING:
    from conftest import Connect, Serve

HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
ASYNC = "TextGenerationAsyncService/Completion"
PENDING = {"rules": [{"call": "completion_async", "reply": {"text": "а"}, "operation": {"done_after": "1h"}}]}
DONE_SOON = {"rules": [{"call": "completion_async", "reply": {"text": "а"}, "operation": {"done_after": "2s"}}]}


def jumps(monkeypatch: pytest.MonkeyPatch, by: int) -> None:
    """For the emulator the time of day is so many nanoseconds later from now on; steady time goes on as it did. The
    client, in this process, reckons its deadlines by the time of day.
    """
    steady = {"monotonic": time.monotonic, "monotonic_ns": time.monotonic_ns}
    shifted = {"time": lambda: time.time() + by / SECOND, "time_ns": lambda: time.time_ns() + by}
    monkeypatch.setattr("emulator.clock.time", SimpleNamespace(**steady, **shifted))


@pytest.mark.parametrize("by", [HOUR, -HOUR, 10 * YEAR, -10 * YEAR, SECOND, -SECOND], ids=lambda by: f"{by // SECOND}s")
def test_a_clock_that_runs_does_not_jump_with_the_time_of_day(by: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    before = clock.now()
    with monkeypatch.context() as patch:
        jumps(patch, by)
        during = clock.now()
    assert before <= during <= clock.now() < before + 60 * SECOND


@pytest.mark.parametrize("by", [2 * HOUR, -2 * HOUR, 10 * YEAR, -10 * YEAR], ids=lambda by: f"{by // SECOND}s")
def test_operations_and_calls_go_on_as_if_nothing_had_jumped(
    serve: Serve, connect: Connect, by: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = serve(PENDING)
    client = connect(emulator)
    first = client.call(ASYNC, asking("?")).only
    with monkeypatch.context() as patch:
        jumps(patch, by)
        second = client.call(ASYNC, asking("?")).only
        assert not client.operation(first.id).done
        assert client.complete(asking("?"), metadata=[("idempotency-key", "1")]).code == "OK"
        assert 0 <= second.created_at.seconds - first.created_at.seconds < 60
    assert not client.operation(second.id).done
    emulator.clock.advance("1h")
    assert client.operation(first.id).done
    times = [call.entry.began for call in emulator.calls()]
    assert times == sorted(times)


@pytest.mark.parametrize("year", [1970, 1999, 2037, 2038, 2106, 2262, 2300])
def test_a_machine_whose_time_is_wrong_from_the_start_tells_that_time(
    serve: Serve, connect: Connect, year: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        jumps(patch, (year - 1970) * YEAR - time.time_ns() + 40 * 24 * HOUR)
        emulator = serve(DONE_SOON)
        client = connect(emulator)
        operation = client.call(ASYNC, asking("?")).only
        assert abs(operation.created_at.seconds - (year - 1970) * 365 * 24 * 3600 - 40 * 24 * 3600) < 600
        emulator.clock.advance("2s")
        assert client.operation(operation.id).done
        assert client.complete(asking("?")).code == "OK"


@pytest.mark.parametrize(
    ("now", "then"),
    [
        ("1970-01-01T00:00:00Z", "1970-01-01T00:00:02Z"),
        ("2016-12-31T23:59:59Z", "2017-01-01T00:00:01Z"),  # a second that leapt: like Unix time, it is not counted
        ("2024-02-28T23:59:59Z", "2024-02-29T00:00:01Z"),
        ("2038-01-19T03:14:07Z", "2038-01-19T03:14:09Z"),  # the last second of 32 bits
        ("2106-02-07T06:28:15Z", "2106-02-07T06:28:17Z"),  # without a sign
        ("2262-04-11T23:47:16Z", "2262-04-11T23:47:18Z"),  # of nanoseconds in 64 bits
        ("9898-12-31T23:59:59Z", "9899-01-01T00:00:01Z"),
    ],
)
def test_time_goes_on_where_numbers_of_other_programs_end(serve: Serve, connect: Connect, now: str, then: str) -> None:
    emulator = serve(DONE_SOON, now=now, frozen=True)
    client = connect(emulator)
    operation = client.call(ASYNC, asking("?")).only
    assert operation.created_at.ToJsonString() == now
    emulator.clock.advance("2s")
    done = client.operation(operation.id)
    assert (done.done, done.modified_at.ToJsonString()) == (True, then)
    assert client.complete(asking("?", stream=True)).code == "OK"
    emulator.restore(emulator.snapshot())
    assert client.operation(operation.id).done


@pytest.mark.parametrize("now", ["2016-12-31T23:59:60Z", "1969-12-31T23:59:59Z", "9999-12-31T23:59:59Z", "10000-01-01"])
def test_a_time_that_it_can_not_tell_is_refused(serve: Serve, now: str) -> None:
    with pytest.raises(UsageError, match=r"^now: "):
        serve(now=now)
