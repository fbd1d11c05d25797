"""A native server that answers as a test wants it, and a client that sends frames by hand, in one loop."""

from __future__ import annotations

import asyncio
import inspect
import struct
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
from robustness.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literal,
    message,
)

from emulator.call import Answer, Call
from emulator.loops import has_uvloop
from emulator.transport.http2.hpack import Decoder
from emulator.transport.native import Server

UNARY = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
STREAM = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
BOTH = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
SERVICES = tuple(path.split("/")[1] for path in (UNARY, STREAM, BOTH))
PATIENCE = 20
"""Seconds after which something hangs."""

Frame = tuple[int, int, int, bytes]


def headers(number: int, path: str = UNARY, *more: tuple[bytes, bytes], flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, number, block(path, *more))


def block(path: str = UNARY, *more: tuple[bytes, bytes]) -> bytes:
    pairs = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path.encode()), (b":authority", b"localhost")]
    return b"".join(literal(*pair) for pair in (*pairs, (b"content-type", b"application/grpc"), *more))


def call(number: int, path: str = UNARY, raw: bytes = b"?", *more: tuple[bytes, bytes]) -> bytes:
    return headers(number, path, *more) + frame(DATA, END_STREAM, number, message(raw))


def wider(number: int, by: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, number, struct.pack(">I", by))


def settings(*pairs: tuple[int, int]) -> bytes:
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in pairs))


def reset(number: int) -> bytes:
    return frame(RST_STREAM, 0, number, struct.pack(">I", 8))


@dataclass
class Reply:
    """What came on a stream: its data, its header and trailers, why it was reset."""

    data: bytes
    fields: Sequence[tuple[bytes, bytes]]
    error: int | None

    @property
    def status(self) -> str:
        return dict(self.fields).get(b"grpc-status", b"").decode()

    @property
    def messages(self) -> list[bytes]:
        found, rest = [], self.data
        while rest:
            size = int.from_bytes(rest[1:5], "big")
            assert len(rest) >= 5 + size
            found.append(rest[5 : 5 + size])
            rest = rest[5 + size :]
        return found


class Peer:
    """A client's connection; `got` are the frames that came so far."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer
        self._rest = b""
        self.got: list[Frame] = []
        self.closed = False

    def send(self, *pieces: bytes) -> None:
        self.writer.write(b"".join(pieces))

    async def until(self, there: Callable[[list[Frame]], bool]) -> list[Frame]:
        """Read until what came so far is it, or the server closes the connection."""
        while not there(self.got) and not self.closed:
            more = await asyncio.wait_for(self._reader.read(1 << 16), PATIENCE)
            self.closed = not more
            self._rest += more
            while len(self._rest) >= 9 and len(self._rest) >= (end := 9 + int.from_bytes(self._rest[:3], "big")):
                whole, self._rest = self._rest[:end], self._rest[end:]
                self.got.append((whole[3], whole[4], int.from_bytes(whole[5:9], "big"), whole[9:]))
        return self.got

    async def more(self) -> None:
        """Wait for another frame."""
        before = len(self.got)
        await self.until(lambda got: len(got) > before)

    async def has(self, number: int, size: int) -> None:
        """Wait until so much data has come on a stream."""
        await self.until(lambda _: len(self.so_far(number).data) >= size)

    async def reply(self, number: int) -> Reply:
        """All of a stream, once it has ended."""
        await self.until(lambda got: any(_ends(one, number) for one in got))
        return self.so_far(number)

    async def answers(self) -> None:
        """Wait until what was sent before has been taken."""
        mark = b"%08d" % sum(one[0] == 6 for one in self.got)
        self.send(frame(6, 0, 0, mark))
        await self.until(lambda got: (6, ACK, 0, mark) in got)

    def so_far(self, number: int) -> Reply:
        decoder, fields, data, error, held = Decoder(), [], b"", None, b""
        for kind, flags, of, payload in self.got:
            if of == number and kind == DATA:
                data += payload
            elif of == number and kind in (HEADERS, CONTINUATION):
                held += payload
                if flags & END_HEADERS:
                    fields += decoder.fields(held)
                    held = b""
            elif of == number and kind == RST_STREAM:
                error = int.from_bytes(payload, "big")
        return Reply(data, fields, error)

    async def goodbye(self) -> tuple[int, str]:
        """The error and the reason that the server ends the connection with."""
        got = await self.until(lambda got: any(one[0] == GOAWAY for one in got))
        (payload,) = [one[3] for one in got if one[0] == GOAWAY]
        return int.from_bytes(payload[4:8], "big"), payload[8:].decode()


def _ends(one: Frame, number: int) -> bool:
    kind, flags, of, _ = one
    return of == number and (kind == RST_STREAM or (kind in (DATA, HEADERS) and bool(flags & END_STREAM)))


class Native:
    """The server that a test talks to."""

    def __init__(self, server: Server, port: int) -> None:
        self.server, self._port = server, port
        self.peers: list[Peer] = []

    async def connect(self, *pairs: tuple[int, int]) -> Peer:
        """A client of such settings."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self._port))
        peer.send(PREFACE, settings(*pairs))
        self.peers.append(peer)
        return peer

    async def raw(self, data: bytes) -> Peer:
        """A client that begins otherwise."""
        peer = Peer(*await asyncio.open_connection("127.0.0.1", self._port))
        peer.send(data)
        self.peers.append(peer)
        return peer


LOOPS = [asyncio.new_event_loop, *([import_module("uvloop").new_event_loop] if has_uvloop() else [])]


def on_every_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """The test on asyncio's loop, and on uvloop's where that is installed; neither has anything to complain of."""

    def run(new_loop: Callable[[], asyncio.AbstractEventLoop], **given: Any) -> None:
        complaints: list[Any] = []
        loop = new_loop()
        loop.set_exception_handler(lambda _, context: complaints.append(context))
        try:
            loop.run_until_complete(test(**given))
            loop.run_until_complete(loop.shutdown_asyncgens())
        finally:
            loop.close()
        assert not complaints

    whole = inspect.signature(test)
    first = inspect.Parameter("new_loop", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    run.__name__, run.__doc__, run.__module__ = test.__name__, test.__doc__, test.__module__
    run.__signature__ = whole.replace(parameters=[first, *whole.parameters.values()])  # type: ignore[attr-defined]
    return pytest.mark.parametrize("new_loop", LOOPS, ids=lambda made: made.__module__.partition(".")[0])(run)


async def eventually(there: Callable[[], bool]) -> None:
    """Wait until it is so."""

    async def polled() -> None:
        while not there():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)

    await asyncio.wait_for(polled(), PATIENCE)


@asynccontextmanager
async def native(answer: Callable[[Call], Answer]) -> AsyncIterator[Native]:
    """A server that answers so, until the block ends; nothing must be under way then but what is idle."""
    server = Server(answer, SERVICES)
    port = server.bind("127.0.0.1", 0)
    await server.start()
    serving = Native(server, port)
    try:
        yield serving
    finally:
        for peer in serving.peers:
            peer.writer.close()
        await server.stop(0)
