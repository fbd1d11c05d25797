"""gRPC in HTTP/2 as the native engine reads it: fields of a request's header, and a body in pieces."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator, Mapping
from functools import cache
from typing import Any

from emulator.api import METHODS, CompletionRequest
from emulator.call import Answer, Call
from emulator.errors import Code, Status
from emulator.transport import wire
from emulator.transport.native import Server

from .target import Target

UNARY = "/yandex.cloud.operation.OperationService/Get"
STREAM = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
ECHO = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_CODES = {str(int(code)).encode() for code in Code}


@cache
def _loop() -> asyncio.AbstractEventLoop:
    return asyncio.new_event_loop()


def _answer(call: Call) -> Answer:
    """Every message that came, as text in a header that doesn't matter here; Status for bytes that are no message."""
    if call.deadline is not None:
        assert call.deadline >= 0
    if call.requests is not None:
        return _all(call.requests)
    return call.request


async def _all(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


@cache
def _server() -> Server:
    return Server(_answer, tuple({path.split("/")[1] for path in (UNARY, STREAM, ECHO)}))


def check(data: bytes) -> None:
    """A request: path, then fields, `name: value`, a line each; after an empty line the body. `~` parts its pieces."""
    head, _, body = data.partition(b"\n\n")
    path, *lines = head.split(b"\n")
    fields = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]
    scope = {
        "type": "http",
        "raw_path": path,
        "query_string": b"",
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "headers": [(b"content-type", b"application/grpc"), *fields],
    }
    pieces = body.split(b"~~")
    events = [
        {"type": "http.request", "body": piece, "more_body": i + 1 < len(pieces)} for i, piece in enumerate(pieces)
    ]
    sent: list[Any] = []

    async def receive() -> Any:
        return events.pop(0) if events else {"type": "http.disconnect"}

    async def send(event: Any) -> None:
        sent.append(event)

    _loop().run_until_complete(_server()._exchange(scope, receive, send))
    _check(sent, fields)


def _check(sent: list[Any], fields: list[tuple[bytes, bytes]]) -> None:
    kinds = [event["type"] for event in sent]
    if not kinds or sent[0]["status"] == 415:
        return
    assert kinds[0] == "http.response.start", kinds
    assert kinds[-1] == "http.response.trailers", kinds
    trailers = dict(sent[-1]["headers"])
    assert trailers[b"grpc-status"] in _CODES, trailers
    assert trailers[b"grpc-status"] != b"2", trailers
    for event in sent:
        for name, value in event.get("headers", ()):
            assert all(0x20 <= byte < 0x7F for byte in name + value), (name, value)
    try:
        pairs, _ = wire.metadata(fields)
    except Status as refused:
        assert refused.code in (Code.INTERNAL, Code.RESOURCE_EXHAUSTED), refused
        return
    if all(isinstance(value, bytes) or value.isascii() for _, value in pairs):
        assert wire.metadata(wire.fields(pairs))[0] == pairs, "written and read again they are others"
    for name, value in fields:
        if name == b"grpc-timeout":
            seconds = wire.timeout(value)
            assert seconds is None or 0 <= seconds <= 3600 * 10**8, value


def seeds() -> Mapping[str, bytes]:
    """Requests as clients write them."""
    one = wire.framed(CompletionRequest(model_uri="gpt://b1gtest/yandexgpt").SerializeToString())
    packed = gzip.compress(b"a" * 100, mtime=0)
    long = b"\1" + len(packed).to_bytes(4, "big") + packed
    deflated = zlib.compress(b"b" * 10)
    short = b"\1" + len(deflated).to_bytes(4, "big") + deflated
    heads = {
        "plain": b"te: trailers\ngrpc-timeout: 20S\nuser-agent: grpc",
        "gzip": b"grpc-encoding: gzip\ngrpc-accept-encoding: identity,gzip",
        "deflate": b"grpc-encoding: deflate",
        "snappy": b"grpc-encoding: snappy",
        "binary": b"x-a-bin: AAEC,AAE=\nx-a: b\ngrpc-trace-bin: AA",
    }
    assert all(path in METHODS or path == ECHO for path in (UNARY, STREAM, ECHO))
    bodies = {"one": one, "two": one + one, "pieces": one[:3] + b"~~" + one[3:], "gzip": long, "deflate": short}
    return {
        f"{path.rpartition('/')[2]}-{name}-{what}": path.encode() + b"\n" + head + b"\n\n" + body
        for path in (UNARY, STREAM, ECHO)
        for name, head in heads.items()
        for what, body in bodies.items()
    }


TARGET = Target(
    check,
    seeds,
    words=["grpc-encoding: ", "grpc-timeout: ", "-bin: ", "gzip", "deflate", "identity", "content-type: ", "~~", UNARY],
)
