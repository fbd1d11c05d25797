"""The native engine's connections: whatever bytes come, in whatever pieces, what goes out are frames that clients can
read, within their windows, and nothing is left when the connection ends.
"""

from __future__ import annotations

import asyncio
import gzip
import logging
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from functools import cache
from random import Random
from typing import Any

from emulator.api import CompletionRequest
from emulator.call import Answer, Call
from emulator.errors import Code, Status
from emulator.transport import wire
from emulator.transport.http2 import frames, hpack
from emulator.transport.http2.calls import Serving
from emulator.transport.http2.connection import Connection
from emulator.transport.http2.request import Kind

from .target import Target

UNARY = "/yandex.cloud.operation.OperationService/Get"
STREAM = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
ECHO = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
_CODES = {str(int(code)).encode() for code in Code}
_LONGEST = 1 << 16
_DEFECTS: list[str] = []
_begun: list[int] = []


class _Kept(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _DEFECTS.append(f"{record.getMessage()}: {record.exc_info}")


@cache
def _loop() -> asyncio.AbstractEventLoop:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(lambda _, context: _DEFECTS.append(str(context)))
    logging.getLogger("emulator").addHandler(_Kept(logging.ERROR))
    return loop


def _answer(call: Call) -> Answer:
    """By what the request begins with: its bytes at once, a refusal, messages in turn, or later."""
    if call.deadline is not None:
        assert call.deadline >= 0
    call.headers.append(("x-request-id", "1"))
    if call.requests is not None:
        return _all(call.requests)
    if call.request[:1] == b"R":
        raise Status(Code.ABORTED, "нет %", trailers={"x-last-bin": b"\0"})
    if call.request[:1] in (b"L", b"D"):
        return _in_turn(call)
    if call.request[:1] == b"S":
        return _slowly(call.request)
    if call.request[:1] == b"W":
        return _never()
    return call.request


def _in_turn(call: Call) -> Iterator[bytes]:
    _begun.append(1)
    try:
        for n in range(30):
            if n and call.request[:1] == b"D":
                call.dropped = True
                raise Status(Code.UNAVAILABLE, "the connection is dropped")
            yield call.request
    finally:
        _begun.pop()


async def _all(requests: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async for request in requests:
        yield request


async def _slowly(request: bytes) -> AsyncIterator[bytes]:
    for _ in range(20):
        yield request
    await asyncio.sleep(0)
    yield request


async def _never() -> AsyncIterator[bytes]:
    yield b"first"
    await asyncio.get_running_loop().create_future()


class _Wire(asyncio.Transport):
    """A client that keeps all that it is sent."""

    def __init__(self) -> None:
        super().__init__({"peername": ("127.0.0.1", 1), "socket": _Socket()})
        self.got = bytearray()
        self.over = False

    def write(self, data: Any) -> None:
        assert not self.over, "written after the end"
        self.got += data

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.over = True

    def is_closing(self) -> bool:
        return self.over

    def get_write_buffer_size(self) -> int:
        return 0

    def close(self) -> None:
        self.over = True

    abort = close

    def pause_reading(self) -> None: ...

    def resume_reading(self) -> None: ...


class _Socket:
    def setsockopt(self, *_: int) -> None: ...


def check(data: bytes) -> None:
    """What comes on a connection; the first byte says in pieces of how many bytes, 0 for all in one."""
    _DEFECTS.clear()
    size = data[0] if data else 0
    came = data[1:_LONGEST]
    kinds = {UNARY: Kind.UNARY, STREAM: Kind.STREAMING}
    _loop().run_until_complete(_served(Serving(_answer, kinds, secure=False), came, size * 7 or len(came) or 1))
    assert not _DEFECTS, _DEFECTS


async def _served(serving: Serving, came: bytes, size: int) -> None:
    wire_, connection = _Wire(), Connection(serving)
    connection.connection_made(wire_)
    for n, at in enumerate(range(0, len(came), size)):
        connection.data_received(came[at : at + size])
        if n % 11 == 3:
            connection.pause_writing()
        if n % 11 == 6:
            connection.resume_writing()
        if n % 3 == 0:
            await asyncio.sleep(0)
    connection.resume_writing()
    for _ in range(10):
        await asyncio.sleep(0)
    _check(bytes(wire_.got), came)
    connection.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not connection.running, "a task goes on"
    assert not _begun, "messages in turn that nobody asks for are not closed"
    assert not connection.held, f"{connection.held} bytes of requests are held"
    assert not connection.unsent, f"{connection.unsent} bytes of replies are held"
    assert not connection.waiting
    assert not serving.connections


def _frames(data: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    at = 0
    while len(data) - at >= frames.LENGTH_OF_HEAD:
        sized, flags, number = frames.HEAD.unpack_from(data, at)
        at += frames.LENGTH_OF_HEAD
        yield sized & 0xFF, flags, number & frames.WIDEST_WINDOW, data[at : at + (sized >> 8)]
        at += sized >> 8


def _check(sent: bytes, came: bytes) -> None:
    decoder = hpack.Decoder()
    over: set[int] = set()
    window, windows, initial = frames.DEFAULT_WINDOW, defaultdict[int, int](int), frames.DEFAULT_WINDOW
    for kind, _, number, payload in _frames(came[len(frames.PREFACE) :]):
        if kind == frames.WINDOW_UPDATE and len(payload) == 4:
            by = frames.NUMBER.unpack(payload)[0] & frames.WIDEST_WINDOW
            windows[number] += by
            window += by if not number else 0
        if kind == frames.SETTINGS and not len(payload) % 6:
            told = [value for key, value in frames.SETTING.iter_unpack(payload) if key == frames.INITIAL_WINDOW_SIZE]
            initial = max(initial, *told, 0)
    at_end = 0
    for kind, flags, number, payload in _frames(sent):
        at_end += frames.LENGTH_OF_HEAD + len(payload)
        if kind == frames.DATA:
            assert number not in over, "data after the end"
            window -= len(payload)
            windows[number] -= len(payload)
            assert window >= 0, "more than the connection's window"
            assert windows[number] + initial >= 0, "more than the stream's window"
        if kind == frames.HEADERS:
            assert number not in over, "a header after the end"
            fields = dict(decoder.fields(payload))
            if flags & frames.END_STREAM:
                assert fields[b"grpc-status"] in _CODES, fields
                assert fields[b"grpc-status"] != b"2", fields
            else:
                assert fields[b":status"] in (b"200", b"415"), fields
            for name, value in fields.items():
                assert all(0x20 <= byte < 0x7F for byte in name + value), (name, value)
        if kind == frames.RST_STREAM or (kind in (frames.DATA, frames.HEADERS) and flags & frames.END_STREAM):
            over.add(number)
    assert at_end == len(sent), "half a frame"


def seeds() -> Mapping[str, bytes]:
    """Connections as clients have them."""
    one = wire.framed(CompletionRequest(model_uri="gpt://b1gtest/yandexgpt").SerializeToString())
    packed = gzip.compress(b"a" * 100, mtime=0)
    long = b"\1" + len(packed).to_bytes(4, "big") + packed
    deflated = zlib.compress(b"b" * 10)
    short = b"\1" + len(deflated).to_bytes(4, "big") + deflated
    heads: dict[str, list[hpack.Field]] = {
        "plain": [(b"te", b"trailers"), (b"grpc-timeout", b"20S"), (b"user-agent", b"grpc")],
        "gzip": [(b"grpc-encoding", b"gzip"), (b"grpc-accept-encoding", b"identity,gzip")],
        "deflate": [(b"grpc-encoding", b"deflate"), (b"x-a-bin", b"AAEC,AAE="), (b"x-a", b"b")],
    }
    bodies = {"one": [one], "two": [one + one], "parts": [one[:3], one[3:]], "gzip": [long], "deflate": [short]}
    bodies |= {
        kind: [wire.framed(kind[:1].upper().encode() + bytes(300))]
        for kind in ("refused", "list", "slow", "wait", "drop")
    }
    hello = frames.PREFACE + frames.settings((frames.INITIAL_WINDOW_SIZE, 100))
    found = {}
    for path in (UNARY, STREAM, ECHO, "/"):
        for name, head in heads.items():
            for what, parts in bodies.items():
                whole = hello
                for number in (1, 3):
                    whole += _call(number, path, head, parts)
                whole += frames.wider(0, 1000) + frames.wider(3, 200) + frames.reset(1, frames.Error.CANCEL)
                found[f"{path.rpartition('/')[2]}-{name}-{what}"] = bytes((len(what),)) + whole
    found["odd"] = (
        b"\0"
        + hello
        + b"".join(
            frames.frame(kind, flags, stream, bytes(8))
            for kind, flags, stream in ((6, 0, 0), (6, 1, 0), (2, 0, 1), (4, 1, 0), (7, 0, 0), (77, 0, 9))
        )
    )
    return found


def _call(number: int, path: str, head: list[hpack.Field], parts: list[bytes]) -> bytes:
    block = b"\x83\x86\x44" + hpack.length(path.encode()) + path.encode() + b"\x5f\x10application/grpc"
    whole = frames.frame(frames.HEADERS, frames.END_HEADERS, number, block + hpack.block(head))
    for n, part in enumerate(parts):
        whole += frames.frame(frames.DATA, frames.END_STREAM if n + 1 == len(parts) else 0, number, part)
    return whole


def mutated(data: bytes, random: Random) -> bytes:
    """Another connection, made of frames as this one is."""
    start = 1 + len(frames.PREFACE)
    found = list(_frames(data[start:]))
    for _ in range(random.randint(1, 4)):
        at = random.randrange(len(found) + 1)
        choice = random.randrange(7)
        if not found or choice == 0:
            kind, number = random.randrange(11), random.choice((0, 1, 3, 5, 2, 99))
            found.insert(
                at, (kind, random.choice((0, 1, 4, 5, 8, 0x20, 0x25)), number, random.randbytes(random.randrange(12)))
            )
            continue
        at %= len(found)
        kind, flags, number, payload = found[at]
        if choice == 1:
            del found[at]
        elif choice == 2:
            found.insert(random.randrange(len(found)), found[at])
        elif choice == 3:
            found[at] = kind, flags ^ random.choice((1, 4, 8, 0x20)), number, payload
        elif choice == 4:
            found[at] = kind, flags, random.choice((0, 1, 2, 3, 5, number + 2, 1 << 30)), payload
        elif choice == 5 and payload:
            cut = random.randrange(len(payload))
            found[at] = kind, flags, number, payload[:cut] + random.randbytes(random.randrange(3)) + payload[cut + 1 :]
        else:
            cut = random.randrange(len(payload) + 1)
            found[at : at + 1] = [(kind, flags & ~1, number, payload[:cut]), (kind, flags, number, payload[cut:])]
    pieces = bytes((random.choice((0, 0, data[0] if data else 0, random.randrange(256))),))
    return pieces + frames.PREFACE + b"".join(frames.frame(*one) for one in found)


TARGET = Target(
    check, seeds, mutated, words=["grpc-encoding", "grpc-timeout", "-bin", "gzip", "deflate", UNARY], longest=_LONGEST
)
