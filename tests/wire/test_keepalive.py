"""Connections that clients keep alive by pings, as the official Go SDK does even while it has nothing to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from robustness.frames import ACK, END_STREAM, GOAWAY, HEADERS, PING, RawClient, frame

from wire.client import asking, path

if TYPE_CHECKING:
    from conftest import Serve


def test_an_idle_client_may_ping_as_often_as_it_likes_and_is_served_after_it(serve: Serve) -> None:
    client = RawClient(serve({"rules": [{"reply": {"text": "still here"}}]}).target)
    for number in range(10):
        client.socket.sendall(frame(PING, 0, 0, number.to_bytes(8, "big")))
    client.begin(path("TextGenerationService/Completion"), [asking("?").SerializeToString()])
    acknowledged, reply = [], b""
    for kind, flags, stream, payload in client.frames():
        assert kind != GOAWAY, payload
        if kind == PING and flags & ACK:
            acknowledged.append(int.from_bytes(payload, "big"))
        if stream == 1:
            reply += payload
            if kind == HEADERS and flags & END_STREAM:
                break
    client.close()
    assert acknowledged == list(range(10))
    assert b"still here" in reply
