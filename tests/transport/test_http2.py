"""Connections of the native engine, frame by frame: windows, frames that aren't right, bounds, ends."""

from __future__ import annotations

import asyncio
import struct
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from robustness.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literal,
    message,
)

from emulator.call import Answer, Call
from emulator.errors import Code, Status
from emulator.transport.http2 import calls, connection
from emulator.transport.http2.frames import Error

from .peer import (
    BOTH,
    STREAM,
    UNARY,
    Native,
    block,
    call,
    eventually,
    headers,
    native,
    on_every_loop,
    reset,
    settings,
    wider,
)

WINDOW, FRAME = 4, 5
ODD = 0x80 | 62  # the newest field of a table
MANY = [b"%04d" % n + b"x" * 500 for n in range(100)]


def echo(call: Call) -> Answer:
    return call.request


async def gate(waits: asyncio.Event, *messages: bytes) -> AsyncIterator[bytes]:
    await waits.wait()
    for one in messages:
        yield one


def ready(messages: list[bytes]) -> Iterator[bytes]:
    yield from messages


async def each(messages: list[bytes]) -> AsyncIterator[bytes]:
    for one in messages:
        yield one


def bounded(monkeypatch: pytest.MonkeyPatch, **bounds: int) -> None:
    for name, value in bounds.items():
        for room in (calls, connection):
            if hasattr(room, name):
                monkeypatch.setattr(room, name, value)


# -- calls


@on_every_loop
async def test_a_call_is_answered_and_its_frames_are_those_of_grpc() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        peer.send(call(1, UNARY, b"hello"))
        reply = await peer.reply(1)
        assert reply.messages == [b"hello"]
        assert reply.fields == [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-status", b"0")]
        assert [one[0] for one in peer.got if one[2] == 1] == [HEADERS, DATA, HEADERS]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1000])
@on_every_loop
async def test_it_does_not_matter_in_which_pieces_frames_come(size: int) -> None:
    async with native(echo) as serving:
        whole = PREFACE + settings() + b"".join(call(n, UNARY, b"%d" % n) for n in range(1, 20, 2))
        peer = await serving.raw(b"")
        for at in range(0, len(whole), size):
            peer.send(whole[at : at + size])
            await asyncio.sleep(0)
        for n in range(1, 20, 2):
            assert (await peer.reply(n)).messages == [b"%d" % n]


@on_every_loop
async def test_a_header_that_was_told_once_is_named_by_number_from_then_on() -> None:
    async with native(lambda call: call.header("x-a").encode()) as serving:  # type: ignore[union-attr]
        peer = await serving.connect()
        body = message(b"?")
        same = block() + bytes((ODD,))
        for n, value in enumerate((b"first", b"second", b"third")):
            at = 1 + n * 6
            told = block() + b"\x40" + literal(b"x-a", value)[1:]
            peer.send(frame(HEADERS, END_HEADERS, at, told), frame(DATA, END_STREAM, at, body))
            for again in (at + 2, at + 4):  # the same bytes, and each time another table
                peer.send(frame(HEADERS, END_HEADERS, again, same), frame(DATA, END_STREAM, again, body))
            for number in (at, at + 2, at + 4):
                assert (await peer.reply(number)).messages == [value]


@on_every_loop
async def test_more_headers_than_are_remembered_are_all_read() -> None:
    async with native(lambda call: call.header("x-a").encode()) as serving:  # type: ignore[union-attr]
        peer = await serving.connect()
        for n in range(1, 200, 2):
            peer.send(call(n, UNARY, b"?", (b"x-a", b"%d" % (n % 50))))
        for n in range(1, 200, 2):
            assert (await peer.reply(n)).messages == [b"%d" % (n % 50)]


@on_every_loop
async def test_a_header_may_come_in_parts_with_padding_and_a_priority() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        whole = b"\3" + struct.pack(">IB", 0, 9) + block() + b"\0\0\0"
        peer.send(
            frame(HEADERS, END_HEADERS | 0x28, 1, whole),
            frame(DATA, END_STREAM | 8, 1, b"\2" + message(b"a") + bytes(2)),
        )
        parts = block()
        peer.send(frame(HEADERS, 0, 3, parts[:10]), frame(CONTINUATION, 0, 3, parts[10:30]))
        peer.send(frame(CONTINUATION, END_HEADERS, 3, parts[30:]), frame(DATA, END_STREAM, 3, message(b"b")))
        assert (await peer.reply(1)).messages == [b"a"]
        assert (await peer.reply(3)).messages == [b"b"]


@on_every_loop
async def test_a_request_larger_than_the_window_is_let_in() -> None:
    async with native(lambda call: b"%d" % len(call.request)) as serving:
        peer = await serving.connect()
        peer.send(headers(1))
        whole, left, at = message(bytes(20 << 20)), {0: 65_535, 1: 65_535}, 0
        seen = 0
        await peer.answers()
        while at < len(whole):
            for kind, flags, number, payload in peer.got[seen:]:
                if kind == WINDOW_UPDATE:
                    left[number] += int.from_bytes(payload, "big")
                if kind == SETTINGS and not flags & ACK:
                    left[1] = dict(struct.iter_unpack(">HI", payload))[WINDOW]
            seen = len(peer.got)
            size = min(16_384, len(whole) - at, *left.values())
            if size:
                peer.send(frame(DATA, END_STREAM if at + size == len(whole) else 0, 1, whole[at : at + size]))
                at, left = at + size, {number: room - size for number, room in left.items()}
                await peer.writer.drain()
            else:
                await peer.more()
        assert (await peer.reply(1)).messages == [b"%d" % (20 << 20)]


@on_every_loop
async def test_a_reply_that_comes_before_the_request_has_ended_tells_the_client_to_stop() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        peer.send(headers(1), frame(DATA, 0, 1, message(b"a")))
        reply = await peer.reply(1)
        await peer.until(lambda got: any(one[0] == RST_STREAM for one in got))
        assert (reply.messages, peer.so_far(1).error) == ([b"a"], Error.NO_ERROR)
        peer.send(frame(DATA, 0, 1, b"more"), frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b"x", b"y")))
        peer.send(call(3))
        assert (await peer.reply(3)).status == "0"


@on_every_loop
async def test_the_end_of_a_request_may_come_apart_from_its_message() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        peer.send(headers(1), frame(DATA, 0, 1, message(b"a")), frame(DATA, END_STREAM, 1, b""))
        trailers = frame(HEADERS, END_HEADERS | END_STREAM, 3, literal(b"x", b"y"))
        peer.send(headers(3), frame(DATA, 0, 3, message(b"b")), trailers)
        for number, raw in ((1, b"a"), (3, b"b")):
            reply = await peer.reply(number)
            assert (reply.messages, reply.error) == ([raw], None)


# -- windows


@pytest.mark.parametrize("kind", ["in turn", "messages", "one"])
@pytest.mark.parametrize("window", [0, 1, 700, 65_535])
@on_every_loop
async def test_no_more_is_sent_than_the_windows_let_pass(kind: str, window: int) -> None:
    def answer(call: Call) -> Any:
        return {"in turn": ready(MANY), "messages": each(MANY), "one": b"".join(MANY)}[kind]

    async with native(answer) as serving:
        peer = await serving.connect((WINDOW, window))
        peer.send(call(1, STREAM))
        whole = sum(map(len, MANY)) + 5 * (1 if kind == "one" else len(MANY))
        await peer.has(1, min(window, whole))
        await peer.answers()
        assert len(peer.so_far(1).data) == min(window, whole)
        given = window
        while given < whole:
            step = min(10_001, whole - given)
            peer.send(wider(1, step))
            given += step
            await peer.has(1, given)
            await peer.answers()
            assert len(peer.so_far(1).data) == given
        reply = await peer.reply(1)
        assert reply.messages == ([b"".join(MANY)] if kind == "one" else MANY)
        assert reply.status == "0"


@on_every_loop
async def test_messages_in_turn_are_asked_for_as_the_client_takes_them_until_it_leaves() -> None:
    told: list[Any] = []

    def counted() -> Iterator[bytes]:
        try:
            for n, message in enumerate(MANY):
                told.append(n)
                yield message
        finally:
            told.append("closed")

    async with native(lambda _: counted()) as serving:
        peer = await serving.connect((WINDOW, 1000))
        peer.send(call(1, STREAM))
        await peer.has(1, 1000)
        await peer.answers()
        assert told == [0, 1]
        peer.send(wider(1, 600))
        await peer.has(1, 1600)
        await peer.answers()
        assert told == [0, 1, 2, 3]
        peer.send(reset(1))
        await peer.answers()
        assert told == [0, 1, 2, 3, "closed"]


@pytest.mark.parametrize("after", [0, 1, 3])
@on_every_loop
async def test_messages_in_turn_may_end_in_a_status(after: int) -> None:
    def failing() -> Iterator[bytes]:
        yield from MANY[:after]
        raise Status(Code.UNAVAILABLE, "later")

    async with native(lambda _: failing()) as serving:
        for window in (65_535, 700):
            peer = await serving.connect((WINDOW, window))
            peer.send(call(1, STREAM))
            await peer.answers()
            peer.send(wider(1, 100_000))
            reply = await peer.reply(1)
            assert (reply.messages, reply.status) == (MANY[:after], str(int(Code.UNAVAILABLE)))
            await peer.answers()


@on_every_loop
async def test_the_window_of_the_connection_is_for_all_its_streams() -> None:
    async with native(lambda _: bytes(50_000)) as serving:
        peer = await serving.connect()
        peer.send(call(1), call(3), call(5))
        await peer.until(lambda got: sum(len(one[3]) for one in got if one[0] == DATA) >= 65_535)
        await peer.answers()
        assert sum(len(one[3]) for one in peer.got if one[0] == DATA) == 65_535
        peer.send(wider(0, 1 << 20))
        for number in (1, 3, 5):
            assert len((await peer.reply(number)).data) == 50_005


@on_every_loop
async def test_an_initial_window_that_changes_changes_those_of_all_streams() -> None:
    async with native(lambda _: ready(MANY)) as serving:
        peer = await serving.connect((WINDOW, 1000))
        peer.send(call(1, STREAM), call(3, STREAM))
        await peer.has(1, 1000)
        await peer.has(3, 1000)
        await peer.answers()
        assert len(peer.so_far(1).data) == 1000
        peer.send(settings((WINDOW, 0)), wider(1, 500))  # 500 below nothing
        await peer.answers()
        assert len(peer.so_far(1).data) == 1000
        peer.send(settings((WINDOW, 600)))
        await peer.has(1, 1100)
        await peer.answers()
        assert len(peer.so_far(1).data) == 1100
        assert len(peer.so_far(3).data) == 1000
        peer.send(settings((WINDOW, 1 << 20)), wider(0, 1 << 20))
        for number in (1, 3):
            assert (await peer.reply(number)).messages == MANY


@on_every_loop
async def test_a_stream_that_nobody_reads_holds_up_no_other_on_its_connection() -> None:
    endless = asyncio.Event()

    def answer(call: Call) -> Any:
        return each([bytes(10_000)] * 10_000) if call.request == b"unread" else call.request

    async with native(answer) as serving:
        peer = await serving.connect((WINDOW, 1000))
        peer.send(wider(0, 1 << 20), *(call(n, STREAM, b"unread") for n in range(1, 200, 2)))
        await peer.answers()
        for n in range(201, 301, 2):
            peer.send(call(n, UNARY, b"%d" % n))
            assert (await peer.reply(n)).messages == [b"%d" % n]
        (connection,) = serving.server._connections
        assert connection.unsent <= 100 * 10_005
        assert len(connection.running) == 100
    endless.set()


@on_every_loop
async def test_streams_that_wait_for_the_same_window_share_it() -> None:
    async with native(lambda _: bytes(100_000)) as serving:
        peer = await serving.connect((WINDOW, 1 << 20))
        peer.send(call(1), call(3))
        await peer.answers()
        for _ in range(4):
            peer.send(wider(0, 32_768))
            await peer.answers()
        got = [len(peer.so_far(number).data) for number in (1, 3)]
        assert sum(got) == 65_535 + 4 * 32_768
        assert abs(got[0] - got[1]) <= 16_384


@on_every_loop
async def test_larger_frames_are_sent_to_who_takes_them() -> None:
    async with native(lambda _: bytes(60_000)) as serving:
        peer = await serving.connect((FRAME, 1 << 20))
        peer.send(call(1))
        await peer.reply(1)
        assert [len(one[3]) for one in peer.got if one[0] == DATA] == [60_005]


@on_every_loop
async def test_a_header_larger_than_a_frame_is_sent_in_several() -> None:
    def answer(call: Call) -> Answer:
        call.headers.append(("x-long", "a" * 40_000))
        return b""

    async with native(answer) as serving:
        peer = await serving.connect()
        peer.send(call(1))
        await peer.reply(1)
        kinds = [(one[0], one[1], len(one[3])) for one in peer.got if one[2] == 1][:3]
        assert [kind[:2] for kind in kinds] == [(HEADERS, 0), (CONTINUATION, 0), (CONTINUATION, END_HEADERS)]
        assert max(kind[2] for kind in kinds) == 16_384


# -- what breaks the rules

STREAMS_END = {
    "a pseudo-header twice": (frame(HEADERS, END_HEADERS, 1, b"\x83" + block()), 1),
    "a pseudo-header that there is not": (frame(HEADERS, END_HEADERS, 1, literal(b":nope", b"a") + block()), 1),
    "a pseudo-header behind other fields": (headers(1, UNARY, (b":authority", b"a")), 1),
    "no path": (frame(HEADERS, END_HEADERS, 1, b"\x83\x86"), 1),
    "a trailer without the end": (headers(1) + frame(HEADERS, END_HEADERS, 1, literal(b"x", b"y")), 1),
    "a pseudo-header in a trailer": (headers(1) + frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":x", b"y")), 1),
    "a name in capitals": (headers(1, UNARY, (b"X-A", b"b")), 1),
    "a name with a blank": (headers(1, UNARY, (b"x a", b"b")), 1),
    "a value with a line break": (headers(1, UNARY, (b"x-a", b"b\nc")), 1),
    "a value with a zero": (headers(1, UNARY, (b"x-a", b"b\0")), 1),
    "a field of HTTP/1.1": (headers(1, UNARY, (b"connection", b"close")), 1),
    "te": (headers(1, UNARY, (b"te", b"gzip")), 1),
    "a content length that is no number": (headers(1, UNARY, (b"content-length", b"+1")), 1),
    "a content length that is too small": (call(1, UNARY, b"abc", (b"content-length", b"7")), 1),
    "a content length that is too large": (call(1, UNARY, b"abc", (b"content-length", b"9")), 1),
    "a content length and nothing": (headers(1, UNARY, (b"content-length", b"9"), flags=END_HEADERS | END_STREAM), 1),
    "a window of 0": (headers(1) + wider(1, 0), 1),
    "a window that overflows": (headers(1) + wider(1, 2**31 - 1), 3),
    "data beyond the stream's window": (
        headers(1, BOTH) + b"".join(frame(DATA, 0, 1, bytes(16_384)) for _ in range(65)),
        3,
    ),
    "data after the end": (headers(1, BOTH) + frame(DATA, END_STREAM, 1, b"") + frame(DATA, 0, 1, b"a"), 5),
    "a priority of a wrong length": (headers(1) + frame(PRIORITY, 0, 1, b"abc"), 6),
    "a stream that depends on itself": (headers(1) + frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 9)), 1),
}
CONNECTIONS_END = {
    "no settings first": (frame(PING, 0, 0, bytes(8)), 1),
    "settings of a stream": (frame(SETTINGS, 0, 1, b""), 1),
    "settings of a wrong length": (settings() + frame(SETTINGS, 0, 0, b"abc"), 6),
    "an acknowledgement with settings": (settings() + frame(SETTINGS, ACK, 0, bytes(6)), 6),
    "a window of 4 GB": (settings((WINDOW, 2**31)), 3),
    "frames of 1 byte": (settings((FRAME, 1)), 1),
    "frames of 16 MB": (settings((FRAME, 1 << 24)), 1),
    "a push of 2": (settings((2, 2)), 1),
    "a ping of a stream": (settings() + frame(PING, 0, 1, bytes(8)), 1),
    "a ping of a wrong length": (settings() + frame(PING, 0, 0, bytes(7)), 6),
    "a goodbye of a stream": (settings() + frame(7, 0, 1, bytes(8)), 1),
    "a goodbye of a wrong length": (settings() + frame(7, 0, 0, bytes(7)), 6),
    "a promise": (settings() + frame(5, END_HEADERS, 1, bytes(4)), 1),
    "a window of the connection of 0": (settings() + wider(0, 0), 1),
    "a window of the connection that overflows": (settings() + wider(0, 2**31 - 1), 3),
    "a window of a wrong length": (settings() + frame(WINDOW_UPDATE, 0, 0, bytes(3)), 6),
    "a window of an idle stream": (settings() + wider(1, 1), 1),
    "a reset of an idle stream": (settings() + reset(1), 1),
    "a reset of no stream": (settings() + reset(0), 1),
    "a reset of a wrong length": (settings() + headers(1) + frame(RST_STREAM, 0, 1, b"a"), 6),
    "data of no stream": (settings() + frame(DATA, 0, 0, b"a"), 1),
    "data of an idle stream": (settings() + frame(DATA, 0, 1, b"a"), 1),
    "data of the server's streams": (settings() + headers(3) + frame(DATA, 0, 2, b"a"), 1),
    "padding longer than its frame": (settings() + headers(1) + frame(DATA, 8, 1, b"\5abc"), 1),
    "padding and no frame": (settings() + headers(1) + frame(DATA, 8, 1, b""), 1),
    "a call on stream 2": (settings() + headers(2), 1),
    "a call on stream 0": (settings() + headers(0), 1),
    "a call on a stream that is over": (settings() + call(3) + headers(1), 5),
    "a header within another": (settings() + headers(1, flags=0) + headers(3), 1),
    "anything within a header": (settings() + headers(1, flags=0) + frame(77, 0, 1, b""), 1),
    "a continuation of another stream": (settings() + headers(1, flags=0) + frame(CONTINUATION, 4, 3, b""), 1),
    "a continuation of nothing": (settings() + frame(CONTINUATION, END_HEADERS, 1, b""), 1),
    "a header without its priority": (settings() + frame(HEADERS, 0x24, 1, b"abc"), 6),
    "a priority of no stream": (settings() + frame(PRIORITY, 0, 0, bytes(5)), 1),
    "a header that can't be read": (settings() + frame(HEADERS, END_HEADERS, 1, b"\xff" * 9), 9),
    "a frame of 16 MB to come": (settings() + b"\xff\xff\xff\0\0\0\0\0\1", 6),
}


@pytest.mark.parametrize("fault", STREAMS_END)
@on_every_loop
async def test_a_mistake_on_a_stream_ends_that_and_no_other(fault: str) -> None:
    raw, error = STREAMS_END[fault]
    async with native(lambda call: echo(call) if call.requests is None else gate(asyncio.Event())) as serving:
        peer = await serving.connect()
        peer.send(raw, call(3, UNARY, b"others"))
        assert (await peer.reply(3)).messages == [b"others"]
        assert (await peer.reply(1)).error == error


@pytest.mark.parametrize("fault", CONNECTIONS_END)
@on_every_loop
async def test_a_mistake_on_a_connection_ends_it_with_the_reason(fault: str) -> None:
    raw, error = CONNECTIONS_END[fault]
    async with native(echo) as serving:
        peer = await serving.raw(PREFACE + raw)
        assert await peer.goodbye() == (error, (await peer.goodbye())[1])
        await peer.until(lambda _: False)
        assert peer.closed
        other = await serving.connect()
        other.send(call(1))
        assert (await other.reply(1)).status == "0"


@pytest.mark.parametrize("raw", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX", bytes(50)])
@on_every_loop
async def test_what_is_no_http2_is_told_so(raw: bytes) -> None:
    async with native(echo) as serving:
        peer = await serving.raw(raw)
        assert await peer.goodbye() == (Error.PROTOCOL_ERROR, "this is no HTTP/2")
        await peer.until(lambda _: False)


@on_every_loop
async def test_frames_that_nobody_knows_are_passed_over() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        peer.send(frame(77, 255, 9, b"abc"), frame(PRIORITY, 0, 99, struct.pack(">IB", 0, 9)), frame(7, 0, 0, bytes(8)))
        peer.send(frame(PING, ACK, 0, bytes(8)), frame(SETTINGS, ACK, 0, b""), call(1))
        assert (await peer.reply(1)).status == "0"


@on_every_loop
async def test_data_of_streams_that_were_reset_counts_for_the_connections_window() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        for n in range(1, 400, 2):
            peer.send(headers(n), reset(n))
        peer.send(call(401))
        await peer.reply(401)
        for n in range(1, 400, 2):
            for _ in range(8):
                peer.send(frame(DATA, 0, n, bytes(16_384)))
            await peer.writer.drain()
        await peer.answers()
        given = [int.from_bytes(one[3], "big") for one in peer.got if one[0] == WINDOW_UPDATE and one[2] == 0]
        assert sum(given) >= 200 * 8 * 16_384 - (8 << 20)


# -- bounds


@on_every_loop
async def test_a_header_block_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    async with native(echo) as serving:
        for piece, count in ((b"", 129), (literal(b"x", b"y" * 16_000), 66)):
            peer = await serving.connect()
            peer.send(headers(1, flags=0), frame(CONTINUATION, 0, 1, piece) * count)
            assert (await peer.goodbye())[0] == Error.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("named", [1000, 100_000])
@on_every_loop
async def test_a_field_that_is_named_very_often_is_too_much_metadata(named: int) -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        raw = block() + b"\x40" + literal(b"x", b"y" * 3900)[1:] + bytes((ODD,)) * named
        pieces = [raw[at : at + 16_384] for at in range(0, len(raw), 16_384)]
        tracemalloc.start()
        try:
            peer.send(frame(HEADERS, 0, 1, pieces[0]), *(frame(CONTINUATION, 0, 1, piece) for piece in pieces[1:]))
            peer.send(frame(CONTINUATION, END_HEADERS, 1, b""))
            assert (await peer.reply(1)).status == str(int(Code.RESOURCE_EXHAUSTED))
            assert tracemalloc.get_traced_memory()[1] < 10 << 20  # not a copy for each time that it is named
        finally:
            tracemalloc.stop()


@on_every_loop
async def test_calls_beyond_those_that_may_be_at_once_are_refused_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bounded(monkeypatch, MOST_STREAMS=3)
    opened = asyncio.Event()
    async with native(lambda _: gate(opened, b"done")) as serving:
        peer = await serving.connect()
        peer.send(*(call(n, STREAM) for n in (1, 3, 5, 7)), headers(9))
        assert (await peer.reply(7)).error == Error.REFUSED_STREAM
        assert (await peer.reply(9)).error == Error.REFUSED_STREAM
        opened.set()
        for number in (1, 3, 5):
            assert (await peer.reply(number)).messages == [b"done"]
        peer.send(call(11, STREAM))
        assert (await peer.reply(11)).messages == [b"done"]


@on_every_loop
async def test_requests_that_nobody_takes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, MOST_HELD=50_000)
    async with native(echo) as serving:
        peer = await serving.connect()
        part = struct.pack(">BI", 0, 1 << 20) + bytes(16_000)
        for n in (1, 3, 5, 7):
            peer.send(headers(n), frame(DATA, 0, n, part))
        assert (await peer.reply(7)).status == str(int(Code.RESOURCE_EXHAUSTED))
        peer.send(reset(1), headers(9), frame(DATA, 0, 9, part))
        await peer.answers()
        assert peer.so_far(9).status == ""


@on_every_loop
async def test_a_call_whose_request_was_taken_is_none_that_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, MOST_HELD=50_000)
    opened = asyncio.Event()
    async with native(lambda _: gate(opened, b"done")) as serving:
        peer = await serving.connect()
        peer.send(headers(1, STREAM), frame(DATA, 0, 1, message(b"?")), headers(3, BOTH))
        await peer.answers()
        peer.send(*[frame(DATA, 0, 3, message(bytes(15_000)))] * 4, frame(DATA, END_STREAM, 1, b"more"))
        await peer.answers()
        opened.set()
        assert (await peer.reply(1)).messages == [b"done"]


@pytest.mark.parametrize("window", [10, 65_535])
@on_every_loop
async def test_messages_in_turn_that_fail_within_end_with_internal(
    window: int, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[str] = []

    def broken(call: Call) -> Iterator[bytes]:
        try:
            if call.request == b"header":
                call.headers.append(("x", "привет"))
            yield b"one"
            if call.request == b"trailer":
                call.trailers.append(("x", "привет"))
                return
            raise ZeroDivisionError
        finally:
            told.append("ended")

    async with native(broken) as serving:
        peer = await serving.connect((WINDOW, 5))
        peer.send(settings((WINDOW, window)), call(1, STREAM), call(3, STREAM, b"trailer"), call(5, STREAM, b"header"))
        await peer.answers()
        peer.send(wider(1, 100), wider(3, 100))
        for number in (1, 3, 5):
            assert (await peer.reply(number)).status == str(int(Code.INTERNAL))
        assert told == ["ended"] * 3
        assert caplog.text.count("a defect of the emulator") == 3


@on_every_loop
async def test_replies_that_nobody_reads_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, MOST_UNSENT=50_000)
    async with native(lambda _: bytes(30_000)) as serving:
        peer = await serving.connect((WINDOW, 10))
        peer.send(call(1), call(3), call(5), headers(7) + frame(DATA, END_STREAM, 7, message(b"")))
        assert (await peer.reply(5)).status == str(int(Code.RESOURCE_EXHAUSTED))
        assert (await peer.reply(7)).status == str(int(Code.RESOURCE_EXHAUSTED))
        peer.send(settings((WINDOW, 1 << 20)), wider(0, 1 << 20))
        for number in (1, 3):
            assert len((await peer.reply(number)).data) == 30_005
        peer.send(call(9))
        assert len((await peer.reply(9)).data) == 30_005


@on_every_loop
async def test_mistakes_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded(monkeypatch, MOST_MISTAKES=5)
    async with native(echo) as serving:
        peer = await serving.connect()
        peer.send(*(headers(n, UNARY, (b"X", b"y")) for n in range(1, 15, 2)))
        assert (await peer.goodbye())[0] == Error.ENHANCE_YOUR_CALM


@pytest.mark.parametrize("apart", [False, True])
@on_every_loop
async def test_many_calls_that_come_at_once_leave_others_their_turn(apart: bool) -> None:
    told: list[str] = []

    def answer(call: Call) -> Answer:
        told.append(call.method)
        return b""

    async with native(answer) as serving:
        peer, other = await serving.connect(), await serving.connect()
        await peer.answers()
        await other.answers()
        many = range(1, 20_001, 2)
        if apart:
            peer.send(*(headers(n) + frame(DATA, 0, n, message(b"")) + frame(DATA, END_STREAM, n, b"") for n in many))
        else:
            peer.send(*(call(n) for n in many))
        await eventually(lambda: len(told) > 0)
        other.send(call(1, STREAM))
        await other.reply(1)
        assert told.index(STREAM) < 5000
        await peer.reply(19_999)
        assert len(told) == 10_001


@on_every_loop
async def test_who_does_not_read_is_not_read_from() -> None:
    async with native(echo) as serving:
        peer = await serving.connect()
        await peer.answers()
        peer.writer.transport.pause_reading()
        (connection,) = serving.server._connections
        for _ in range(400):
            peer.send(frame(PING, 0, 0, bytes(8)) * 10_000)
            await asyncio.sleep(0)
            if connection._stopped_reading:
                break
        assert connection._stopped_reading
        assert connection._transport.get_write_buffer_size() < 4 << 20
        peer.writer.transport.resume_reading()
        peer.send(call(1))
        assert (await peer.reply(1)).status == "0"


# -- how calls end


@pytest.mark.parametrize("method", [UNARY, STREAM])
@pytest.mark.parametrize("late", [False, True])
@on_every_loop
async def test_a_client_that_leaves_ends_what_is_done_for_it(method: str, late: bool) -> None:
    told: list[str] = []

    async def forever() -> AsyncIterator[bytes]:
        told.append("begun")
        try:
            yield b"first"
            await asyncio.Event().wait()
        finally:
            told.append("ended")

    async with native(lambda _: forever()) as serving:
        peer = await serving.connect()
        peer.send(call(1, method))
        if late:
            await peer.answers()
        peer.send(reset(1))  # else before its task has had its first step
        await peer.answers()
        await peer.answers()
        assert told == ["begun", "ended"]
        peer.send(call(3, method))
        await peer.answers()
        peer.writer.close()
        await eventually(lambda: not serving.server._connections and len(told) == 4)
        assert told == ["begun", "ended"] * 2


@pytest.mark.parametrize(
    "raw", [headers(1, UNARY, (b"grpc-timeout", b"50m")), call(1, STREAM, b"", (b"grpc-timeout", b"50m"))]
)
@on_every_loop
async def test_a_deadline_ends_requests_that_do_not_come_and_replies_that_are_not_read(raw: bytes) -> None:
    async with native(lambda _: ready(MANY)) as serving:
        peer = await serving.connect((WINDOW, 10))
        peer.send(raw)
        assert (await peer.reply(1)).status == str(int(Code.DEADLINE_EXCEEDED))
        (connection,) = serving.server._connections
        assert (connection.unsent, connection.held) == (0, 0)


@on_every_loop
async def test_a_reply_that_fails_within_ends_with_internal_and_the_connection_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError

    def answer(call: Call) -> Answer:
        if call.method == STREAM:
            return broken()
        if call.request == b"header":
            call.headers.append(("x", "привет"))
            return b""
        if call.request == b"trailer":
            raise Status(Code.ABORTED, "", trailers={"x": "привет"})
        raise ZeroDivisionError

    async with native(answer) as serving:
        peer = await serving.connect()
        peer.send(call(1, STREAM), call(3), call(5, UNARY, b"header"), call(7, UNARY, b"trailer"))
        for number in (1, 3, 5, 7):
            assert (await peer.reply(number)).status == str(int(Code.INTERNAL))
        assert caplog.text.count("a defect of the emulator") == 4


@on_every_loop
async def test_messages_of_a_client_are_told_as_they_come() -> None:
    async def upper(call: Call) -> AsyncIterator[bytes]:
        assert call.requests is not None
        async for one in call.requests:
            yield one.upper()

    async with native(upper) as serving:
        peer = await serving.connect()
        peer.send(headers(1, BOTH))
        for n, raw in enumerate((b"a", b"b" * 20_000, b"c")):
            whole = message(raw)
            for at in range(0, len(whole), 5000):
                peer.send(frame(DATA, 0, 1, whole[at : at + 5000]))
            sent = sum(map(len, map(message, (b"a", b"b" * 20_000, b"c")[: n + 1])))
            await peer.has(1, sent)
        peer.send(frame(DATA, END_STREAM, 1, b""))
        assert (await peer.reply(1)).messages == [b"A", b"B" * 20_000, b"C"]


@on_every_loop
async def test_a_client_that_sends_more_than_is_taken_is_held_up() -> None:
    opened = asyncio.Event()

    async def slowly(call: Call) -> AsyncIterator[bytes]:
        assert call.requests is not None
        await opened.wait()
        async for one in call.requests:
            yield b"%d" % len(one)

    async with native(slowly) as serving:
        peer = await serving.connect()
        peer.send(headers(1, BOTH), *(frame(DATA, 0, 1, message(bytes(16_000))) for _ in range(65)))
        await peer.answers()
        assert not [one for one in peer.got if one[0] == WINDOW_UPDATE and one[2] == 1]
        opened.set()
        await peer.until(lambda got: any(one[0] == WINDOW_UPDATE and one[2] == 1 for one in got))
        peer.send(frame(DATA, END_STREAM, 1, message(b"last")))
        assert (await peer.reply(1)).messages == [b"16000"] * 65 + [b"4"]


# -- connections that are dropped, or left half


def dropping(call: Call, told: list[str]) -> Iterator[bytes]:
    """Messages in turn, of which the second drops the connection where the request asks for it."""
    name = call.request.decode()
    try:
        yield bytes(10)
        told.append(f"{name} goes on")
        if name == "drops":
            call.dropped = True
            raise Status(Code.UNAVAILABLE, "dropped")
        yield bytes(10)
    except GeneratorExit:
        told.append(f"{name} is left")
        raise


@on_every_loop
async def test_what_waits_on_a_dropped_connection_is_left_where_it_is() -> None:
    told: list[str] = []
    async with native(lambda call: dropping(call, told)) as serving:
        peer = await serving.connect((WINDOW, 0))
        drops = [call(n, STREAM, b"drops") for n in range(1, 801, 2)]
        peer.send(*drops, *(call(n, STREAM, b"other") for n in range(801, 821, 2)))
        await peer.answers()
        assert told == []
        peer.send(settings((WINDOW, 100)))
        await peer.until(lambda _: peer.closed)
        assert peer.so_far(1).data == b"\0\0\0\0\x0a" + bytes(10)
        assert told == ["drops goes on", *["drops is left"] * 399, *["other is left"] * 10]


@on_every_loop
async def test_calls_that_came_with_the_one_that_drops_the_connection_are_not_looked_at() -> None:
    told: list[str] = []

    def answer(call: Call) -> Answer:
        told.append(call.request.decode())
        call.dropped = call.request == b"drops"
        if call.dropped:
            raise Status(Code.UNAVAILABLE, "dropped")
        return b""

    async with native(answer) as serving:
        peer = await serving.connect()
        await peer.answers()
        peer.send(call(1, UNARY, b"first"), call(3, UNARY, b"drops"), call(5, UNARY, b"late"), call(7, BOTH))
        await peer.until(lambda _: peer.closed)
        assert peer.so_far(1).status == "0"
        assert told == ["first", "drops"]


@on_every_loop
async def test_who_sends_no_more_has_left_also_where_it_does_not_read() -> None:
    told: list[str] = []

    async def forever() -> AsyncIterator[bytes]:
        try:
            while True:
                yield bytes(16_000)
        finally:
            told.append("ended")

    async with native(lambda _: forever()) as serving:
        peer = await serving.connect((WINDOW, (1 << 31) - 1))
        await peer.answers()
        peer.writer.transport.pause_reading()
        (connection,) = serving.server._connections
        peer.send(wider(0, 1 << 30), call(1, STREAM), call(3, STREAM))
        await eventually(lambda: connection._paused)
        peer.writer.write_eof()
        await eventually(lambda: told == ["ended"] * 2)
        assert not connection.running


# -- stopping


async def stopping(serving: Native, grace: float) -> asyncio.Task[None]:
    stopped = asyncio.ensure_future(serving.server.stop(grace))
    await asyncio.sleep(0)
    return stopped


@on_every_loop
async def test_calls_under_way_end_well_when_it_stops_and_new_ones_are_refused() -> None:
    opened = asyncio.Event()
    async with native(lambda _: gate(opened, b"done")) as serving:
        peer, idle = await serving.connect(), await serving.connect()
        peer.send(call(1, STREAM))
        await idle.answers()
        await peer.answers()
        stopped = await stopping(serving, 20)
        assert (await peer.goodbye())[0] == (await idle.goodbye())[0] == Error.NO_ERROR
        peer.send(call(3, STREAM))
        assert (await peer.reply(3)).error == Error.REFUSED_STREAM
        opened.set()
        assert (await peer.reply(1)).messages == [b"done"]
        for one in (peer, idle):
            await one.until(lambda _: False)
            one.writer.close()
        await stopped


@on_every_loop
async def test_calls_that_do_not_end_are_told_that_it_stops() -> None:
    async with native(lambda _: gate(asyncio.Event())) as serving:
        peer = await serving.connect()
        peer.send(call(1, STREAM), headers(3), call(5, UNARY))
        await peer.answers()
        stopped = await stopping(serving, 0)
        for number in (1, 3, 5):
            assert (await peer.reply(number)).status == str(int(Code.UNAVAILABLE))
        await peer.until(lambda _: False)
        await stopped


@on_every_loop
async def test_a_client_that_does_not_read_is_cut_off_by_the_stop() -> None:
    async with native(lambda _: ready([bytes(60_000)] * 200)) as serving:
        peer = await serving.connect((WINDOW, 2**31 - 1))
        peer.send(wider(0, 2**30))
        await peer.answers()
        peer.writer.transport.pause_reading()
        peer.send(call(1, STREAM))
        (connection,) = serving.server._connections
        await eventually(lambda: connection._paused)
        await serving.server.stop(0)
        assert not serving.server._connections
