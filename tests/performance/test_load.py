"""The benchmarks' own client and what it asks: it gets what a real client gets, and counts what failed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc
import pytest

from benchmarks import questions, servers, wire
from emulator import Emulator
from emulator.api import CompletionResponse

Serve = Callable[..., Emulator]


def rules_file(tmp_path: Any, count: int, **more: int) -> Any:
    return questions.fixture(tmp_path, count, **more)


@pytest.mark.parametrize("count", [1, 2, 100])
@pytest.mark.parametrize("key", [questions.FIRST, questions.LAST, questions.NONE])
def test_a_question_is_answered_by_the_rule_it_is_for(serve: Serve, tmp_path: Any, count: int, key: str) -> None:
    emulator = serve(rules_file(tmp_path, count))

    with wire.Client(emulator.target, questions.COMPLETION, questions.requests(key)) as client:
        outcome = client.run(20, calls=questions.QUESTIONS)

    answered = {questions.FIRST: "first", questions.LAST: "last" if count > 1 else "default"}.get(key, "default")
    assert (outcome.calls, outcome.failed, outcome.messages) == (questions.QUESTIONS, 0, questions.QUESTIONS)
    assert {call.rule for call in emulator.calls()} == {answered}


def test_questions_are_all_different_and_about_a_kilobyte_long() -> None:
    asked = questions.requests(questions.FIRST)

    assert len(set(asked)) == questions.QUESTIONS
    assert {len(request) // 100 for request in asked} <= {9, 10, 11}


def test_the_client_gets_what_grpcio_gets(serve: Serve, tmp_path: Any) -> None:
    path = tmp_path / "streamed.yaml"
    path.write_text(questions.streamed(), encoding="utf-8")
    emulator = serve(path)
    request = questions.requests(questions.FIRST, stream=True)[0]

    expected = servers.checked(emulator.target, questions.COMPLETION, request)
    with wire.Client(emulator.target, questions.COMPLETION, [request]) as client:
        outcome = client.run(3, calls=7, keep=True)

    assert len(expected) == 20
    assert CompletionResponse.FromString(expected[-1]).alternatives[0].message.text == questions.REPLY
    assert outcome.replies == [expected] * 7
    assert len(outcome.times) == 7


def test_calls_that_fail_are_counted(serve: Serve) -> None:
    emulator = serve(strict=True)

    with wire.Client(emulator.target, questions.COMPLETION, questions.requests(questions.FIRST)) as client:
        outcome = client.run(5, calls=30)

    assert (outcome.calls, outcome.failed, outcome.messages, outcome.per_second) == (30, 30, 0, 0)


def test_metadata_is_sent_with_every_call(serve: Serve) -> None:
    emulator = serve()
    metadata = [("x-emulator-session", "a-benchmark-with-a-long-name"), ("x-empty", ""), ("x-long", "0" * 300)]

    with wire.Client(
        emulator.target, questions.COMPLETION, questions.requests(questions.FIRST), metadata=metadata
    ) as c:
        assert c.run(4, calls=9).failed == 0

    assert len(emulator.session("a-benchmark-with-a-long-name").calls()) == 9
    assert emulator.calls() == []


def test_more_than_fits_the_servers_window_is_sent_bit_by_bit(serve: Serve) -> None:
    emulator = serve()
    large = [request * 60 for request in questions.requests(questions.NONE, count=4)]

    with wire.Client(emulator.target, questions.COMPLETION, large, connections=1) as client:
        outcome = client.run(50, calls=200)

    assert (outcome.calls, outcome.messages + outcome.failed) == (200, 200)


def test_a_server_that_goes_away_is_told_of(serve: Serve) -> None:
    emulator = Emulator()
    with emulator:
        client = wire.Client(emulator.target, questions.COMPLETION, questions.requests(questions.NONE))

    with client, pytest.raises((wire.WireError, OSError)):
        client.run(1, calls=1)


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", []),
        (b"\0\0\0\0\0", [b""]),
        (b"\0\0\0\0\2ab\0\0\0\0\1c", [b"ab", b"c"]),
        (b"\0\0\0\0\2a", None),
        (b"\0\0", None),
        (b"\1\0\0\0\1a", None),
    ],
)
def test_messages_are_found_in_the_data_of_a_stream(data: bytes, found: list[bytes] | None) -> None:
    assert wire.messages_in(data) == found


def test_a_reply_that_is_not_the_one_to_be_measured_is_noticed(serve: Serve) -> None:
    with pytest.raises(grpc.RpcError):
        servers.checked(serve(strict=True).target, questions.COMPLETION, questions.requests(questions.NONE)[0])
