"""gRPC calls as prepared HTTP/2 frames over plain sockets: a client that costs a fraction of any server it asks.

A Python client made of grpcio takes about as long for a call as the server does, and on two cores measures itself.
This one sends prepared bytes, of which only the number of the stream changes, and looks at no more of an answer than
where its messages begin and end. It is no client for use: one method a connection, no TLS, no compression, and of a
failure it knows only that it was one. It can leave calls, too, as
programs do that are done with them. What servers really answer is checked with grpcio (see `servers.checked`).
"""

from __future__ import annotations

import gc
import selectors
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM = ACK = 0x1
END_HEADERS = 0x4
INITIAL_WINDOW = 65_535
WIDEST_WINDOW = (1 << 31) - 1
PATIENCE = 30
"""Seconds in which no call ends before it is given up."""
MOMENT = 0.05
"""Seconds after which a call is left that is not to wait for anything."""
LEFT = "left by its client"
MOST_STREAMS = 1 << 30  # client streams are odd and end at 2**31

_UNSIGNED = struct.Struct(">I")
_CANCEL = _UNSIGNED.pack(8)


class WireError(RuntimeError):
    """A server that broke off the connection, or said what this client can't take; names what came."""


@dataclass
class Outcome:
    """What came of some calls: how many ended, how many of these failed, messages received, real seconds.

    `client_cpu` is the seconds of CPU that this process took. `times` has a call's seconds from sent to ended, in the
    order they ended; `replies` the messages of each call. Both are empty unless asked for.
    """

    calls: int = 0
    failed: int = 0
    messages: int = 0
    seconds: float = 0.0
    client_cpu: float = 0.0
    why: Counter[str] = field(default_factory=Counter)
    """What failed calls came to, as far as it is known here."""
    times: list[float] = field(default_factory=list)
    replies: list[list[bytes]] = field(default_factory=list)

    @property
    def per_second(self) -> float:
        """Calls a second that did not fail."""
        return (self.calls - self.failed) / self.seconds


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame of HTTP/2."""
    return _UNSIGNED.pack(len(payload))[1:] + bytes((kind, flags)) + _UNSIGNED.pack(stream) + payload


def header_blocks(path: str, authority: str, metadata: Sequence[tuple[str, str]] = ()) -> tuple[bytes, bytes]:
    """The headers of a call, compressed: for a connection's first call, which tells them, and for all others, which
    name them by number, as clients of gRPC do.
    """
    named = ((4, path), (1, authority), (31, "application/grpc"), (58, "grpc-benchmarks/1.0"))
    new = (("te", "trailers"), ("grpc-accept-encoding", "identity"), *metadata)
    first = [b"\x83\x86"]  # POST, http
    first += [bytes((0x40 | index,)) + _text(value) for index, value in named]
    first += [b"\x40" + _text(name) + _text(value) for name, value in new]
    count = len(named) + len(new)
    return b"".join(first), b"\x83\x86" + bytes(0x80 | 62 + count - 1 - n for n in range(count))


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) < 127:
        return bytes((len(raw),)) + raw
    return bytes((127, (len(raw) - 127) & 0x7F | 0x80, (len(raw) - 127) >> 7)) + raw


def messages_in(data: bytes) -> list[bytes] | None:
    """The messages of gRPC in the whole data of a stream; None if it isn't that."""
    found, at = [], 0
    while at < len(data):
        if len(data) - at < 5 or data[at]:
            return None
        size = _UNSIGNED.unpack_from(data, at + 1)[0]
        at += 5
        if at + size > len(data):
            return None
        found.append(data[at : at + size])
        at += size
    return found


class _Connection:
    """One connection, with the streams that are open on it: when each was sent and the data that came on it."""

    def __init__(self, target: str, path: str, metadata: Sequence[tuple[str, str]], leave_after: int | None) -> None:
        host, _, port = target.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.open: dict[int, tuple[float, list[bytes]]] = {}
        self.out: list[bytes] = []
        self.window = INITIAL_WINDOW  # what may be sent
        self._leave_after = leave_after
        self._first, self._headers = (
            _around_the_number(frame(HEADERS, END_HEADERS, 0, block)) for block in header_blocks(path, target, metadata)
        )
        self._stream = 1
        self._got = b""
        self._taken = 0  # bytes of data that the server's window lacks
        widened = struct.pack(">HI", 0x4, WIDEST_WINDOW) + struct.pack(">HI", 0x2, 0)
        self.out += [PREFACE, frame(SETTINGS, 0, 0, widened)]
        self.out.append(frame(WINDOW_UPDATE, 0, 0, _UNSIGNED.pack(WIDEST_WINDOW - INITIAL_WINDOW)))
        self._settled = False
        self.flush()
        while not self._settled:
            for _ in self.receive():
                raise WireError(f"{target} answers before it was asked")
            self.flush()

    def call(self, body: tuple[bytes, bytes]) -> None:
        """Put a call on its way; `flush` sends it."""
        stream = self._stream
        number = _UNSIGNED.pack(stream)
        before, after = self._headers if stream > 1 else self._first
        self.out.append(b"".join((before, number, after, body[0], number, body[1])))
        self.window -= len(body[1])
        self.open[stream] = (time.perf_counter(), [])
        self._stream += 2

    def flush(self) -> None:
        if self._taken > 1 << 24:
            self.out.append(frame(WINDOW_UPDATE, 0, 0, _UNSIGNED.pack(self._taken)))
            self._taken = 0
        if self.out:
            self.socket.sendall(b"".join(self.out))
            self.out.clear()

    def receive(self) -> Iterator[tuple[float, list[bytes], str]]:
        """Read what is there; of each call that has ended: when it was sent, its data, what was wrong if anything."""
        got = self.socket.recv(1 << 18)
        if not got:
            raise WireError("the server closed the connection")
        got = self._got + got if self._got else got
        at, end, streams = 0, len(got), self.open
        while end - at >= 9:
            size = got[at] << 16 | got[at + 1] << 8 | got[at + 2]
            body = at + 9
            after = body + size
            if after > end:
                break
            kind, flags = got[at + 3], got[at + 4]
            if kind == DATA:
                stream = _UNSIGNED.unpack_from(got, at + 5)[0]
                self._taken += size
                if stream not in streams:  # it was left
                    at = after
                    continue
                if size:
                    streams[stream][1].append(got[body:after])
                if self._leave_after and len(streams[stream][1]) == self._leave_after:
                    yield self._left(stream)
                elif flags & END_STREAM:  # without trailers, so without a status
                    yield (*streams.pop(stream), "ended without trailers")
            elif kind == HEADERS:
                ended = streams.pop(_UNSIGNED.unpack_from(got, at + 5)[0], None) if flags & END_STREAM else None
                if ended is not None:
                    yield (*ended, "")
            elif kind == RST_STREAM:
                ended = streams.pop(_UNSIGNED.unpack_from(got, at + 5)[0], None)
                if ended is not None:
                    yield (*ended, f"reset with code {_UNSIGNED.unpack_from(got, body)[0]}")
            else:
                self._about_itself(kind, flags, got[at:after])
            at = after
        self._got = got[at:]

    def leave(self) -> Iterator[tuple[float, list[bytes], str]]:
        """Of calls that are to be left before anything comes and have been under way for a moment, what `receive` would
        tell.
        """
        if self._leave_after == 0:
            before = time.perf_counter() - MOMENT
            for stream in [stream for stream, (sent, _) in self.open.items() if sent < before]:
                yield self._left(stream)

    def _left(self, stream: int) -> tuple[float, list[bytes], str]:
        self.out.append(frame(RST_STREAM, 0, stream, _CANCEL))
        return (*self.open.pop(stream), LEFT)

    def _about_itself(self, kind: int, flags: int, whole: bytes) -> None:
        stream, payload = _UNSIGNED.unpack_from(whole, 5)[0], whole[9:]
        if kind == SETTINGS and not flags & ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == 0x1 and value < 4096:
                    raise WireError(f"a header table of {value} bytes is too small for this client")
            self._settled = True
            self.out.append(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.out.append(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE and stream == 0:
            self.window += _UNSIGNED.unpack(payload)[0]
        elif kind == GOAWAY:
            raise WireError(f"the server says goodbye: {payload[8:].decode(errors='replace') or payload.hex()}")


class Client:
    """Calls of one method, over a few connections; requests are taken in turn from `requests`. Each is left, which
    counts as failed, after `leave_after` frames of its reply, or a moment after it is sent if that is 0.

    Raises WireError where a server breaks off, TimeoutError when no call has ended for 30 s.
    """

    def __init__(
        self,
        target: str,
        path: str,
        requests: Sequence[bytes],
        *,
        connections: int = 4,
        metadata: Sequence[tuple[str, str]] = (),
        leave_after: int | None = None,
        first: int = 0,
    ) -> None:
        self._bodies = [prepared(request) for request in requests]
        self._connections = [_Connection(target, path, metadata, leave_after) for _ in range(connections)]
        self._selector = selectors.DefaultSelector()
        for connection in self._connections:
            self._selector.register(connection.socket, selectors.EVENT_READ, connection)
        self._next = first
        self._stays = leave_after != 0

    @property
    def following(self) -> int:
        """Which of `requests`, counted on through all laps, is asked next; `first` of another client goes on there."""
        return self._next

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._selector.close()
        for connection in self._connections:
            connection.socket.close()

    def run(
        self,
        in_flight: int,
        *,
        seconds: float = float("inf"),
        calls: int = MOST_STREAMS,
        keep: bool = False,
    ) -> Outcome:
        """Keep `in_flight` calls under way for so many seconds or calls, whichever ends first, and wait for the last.

        The outcome's seconds are those of the whole, from the first call sent to the last one ended. With `keep` it has
        each call's time and messages.
        """
        outcome, collects = Outcome(), gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            began, cpu = time.perf_counter(), time.process_time()
            self._run(outcome, min(in_flight, calls), began + seconds, calls, keep)
            outcome.seconds, outcome.client_cpu = time.perf_counter() - began, time.process_time() - cpu
        finally:
            if collects:
                gc.enable()
        return outcome

    def _run(self, outcome: Outcome, in_flight: int, until: float, calls: int, keep: bool) -> None:
        bodies, count, begun, under_way = self._bodies, len(self._bodies), 0, 0
        ended, heard = 0, time.perf_counter()
        # Each connection as often as it could take another call.
        idle = [self._connections[n % len(self._connections)] for n in range(in_flight)]
        while True:
            waiting = []
            for connection in idle:
                if begun >= calls or time.perf_counter() >= until:
                    begun = calls
                    break
                body = bodies[self._next % count]
                if connection.window < len(body[1]):
                    waiting.append(connection)
                    continue
                self._next += 1
                begun += 1
                under_way += 1
                connection.call(body)
            idle = waiting
            for connection in self._connections:
                for sent, data, wrong in connection.leave():
                    under_way -= 1
                    idle.append(connection)
                    _count(outcome, sent, data, wrong, keep)
                connection.flush()
            if not under_way and not (idle and begun < calls):  # else a window is shut, and will open
                return
            ready = self._selector.select(PATIENCE if self._stays else MOMENT)
            if outcome.calls > ended:
                ended, heard = outcome.calls, time.perf_counter()
            elif time.perf_counter() - heard > PATIENCE:  # pings may come all the while
                raise TimeoutError(f"none of {under_way} calls has ended for {PATIENCE} s")
            for key, _ in ready:
                connection = key.data
                for sent, data, wrong in connection.receive():
                    under_way -= 1
                    idle.append(connection)
                    _count(outcome, sent, data, wrong, keep)


def prepared(request: bytes) -> tuple[bytes, bytes]:
    """The frame of a call's only message, before and after the number of its stream."""
    return _around_the_number(frame(DATA, END_STREAM, 0, b"\0" + _UNSIGNED.pack(len(request)) + request))


def _around_the_number(whole: bytes) -> tuple[bytes, bytes]:
    return whole[:5], whole[9:]


def _count(outcome: Outcome, sent: float, data: list[bytes], wrong: str, keep: bool) -> None:
    messages = None if wrong else messages_in(b"".join(data))
    outcome.calls += 1
    if keep:
        outcome.times.append(time.perf_counter() - sent)
        outcome.replies.append(messages or [])
    if messages:
        outcome.messages += len(messages)
        return
    outcome.failed += 1
    outcome.why[wrong or ("a status without a message" if messages is not None else "broken messages")] += 1
