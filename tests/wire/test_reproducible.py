"""Same calls, same bytes: what stands aside of a program's calls shifts nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from emulator.api import ExplainRequest, HealthCheckRequest, RpcStatus

from .client import asking

if TYPE_CHECKING:
    from conftest import Connect, Serve


def test_health_checks_and_questions_to_the_emulator_change_no_later_reply(serve: Serve, connect: Connect) -> None:
    plain, watched = connect(serve(seed=7)), connect(serve(seed=7))
    for _ in range(3):
        watched.call("Health/Check", HealthCheckRequest())
    watched.call("ControlService/Explain", ExplainRequest())
    assert plain.complete(asking("Привет")).headers == watched.complete(asking("Привет")).headers


@pytest.mark.parametrize("message", ["x" * 1800, "ж" * 3000])
def test_a_long_message_is_the_same_in_both_places(serve: Serve, connect: Connect, message: str) -> None:
    error = {"code": "INTERNAL", "message": message, "details": {"DebugInfo": {"detail": "d" * 3000}}}
    reply = connect(serve({"rules": [{"reply": {"error": error}}]})).complete(asking("?"))
    status = RpcStatus.FromString(reply.trailers["grpc-status-details-bin"])
    assert status.message == reply.text
    assert len(reply.text) > 150


@pytest.mark.parametrize(
    "reply",
    [
        {"text": "один два три", "stream": {"characters": 1}},
        {"stream": {"pieces": [{"text": "a", "completion_tokens": 50}, "b", "c"]}},
        {"stream": {"pieces": ["a", {"text": "b", "completion_tokens": 40}]}},
        {"text": "раз два три четыре", "usage": {"completion_tokens": 2}, "stream": {"words": 1}},
    ],
)
def test_completion_tokens_never_fall_in_a_stream(serve: Serve, connect: Connect, reply: dict[str, object]) -> None:
    client = connect(serve({"rules": [{"reply": reply}]}))
    used = [m.usage.completion_tokens for m in client.complete(asking("?", stream=True)).messages]
    assert len(used) > 1
    assert used == sorted(used)
    assert used[0] >= 1


def test_scripted_request_ids_take_the_place_of_ours(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"reply": {"text": "a", "headers": {"x-request-id": "mine"}}}]}))
    assert client.complete(asking("?")).headers["x-request-id"] == "mine"
