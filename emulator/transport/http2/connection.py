"""A connection: what its client sends is read as it comes, and what is answered at once goes out in one piece.

It is made of three, each of which knows the one below: `sending` writes, `calls` answers, and here is what reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable, Mapping

from ...errors import Code, Status
from .. import wire
from ..limits import MOST_METADATA
from . import frames, hpack, request
from .bounds import (
    CONNECTION_WINDOW,
    LONGEST_REMEMBERED,
    MOST_AT_ONCE,
    MOST_BLOCK,
    MOST_CALLS_AT_ONCE,
    MOST_CONTINUATIONS,
    MOST_HELD,
    MOST_LINGERING,
    MOST_QUEUED,
    MOST_REQUESTS,
    MOST_STREAMS,
    MOST_UNREAD,
    STREAM_WINDOW,
)
from .calls import Calls, Serving
from .frames import (
    CONTINUATION,
    DATA,
    DEFAULT_FRAME,
    DEFAULT_WINDOW,
    END_HEADERS,
    END_STREAM,
    HEAD,
    HEAD_AND_PREFIX,
    HEADERS,
    LENGTH_OF_HEAD,
    PADDED,
    WIDEST_WINDOW,
    WITH_PRIORITY,
    Broken,
    Error,
)
from .request import Kind, Request
from .stream import Stream

log = logging.getLogger("emulator")

_GREETING = frames.settings(
    (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS),
    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (frames.MAX_HEADER_LIST_SIZE, MOST_METADATA),
) + frames.wider(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
_AGREED = frames.frame(frames.SETTINGS, frames.ACK, 0)

_UNTAKEN = Status(Code.RESOURCE_EXHAUSTED, f"more than {MOST_HELD} bytes of requests wait on this connection")


class Connection(Calls):
    """One client's connection: the part of it that reads."""

    __slots__ = (
        "_block",
        "_decoder",
        "_flags",
        "_greeted",
        "_known",
        "_left",
        "_more",
        "_number",
        "_once",
        "_pieces",
        "_rest",
        "_resting",
        "_stopped_reading",
        "_version",
        "_wider",
    )

    def __init__(self, serving: Serving) -> None:
        super().__init__(serving)
        self._rest = b""
        self._greeted = 0  # 1 when the preface has come, 2 when the settings after it have
        self._left = CONNECTION_WINDOW
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, Request] = {}
        self._once: set[int] = set()
        self._version = 0
        self._block: bytearray | None = None  # a header block of which more is to come
        self._number = self._flags = self._pieces = 0
        self._stopped_reading = self._wider = False
        self._more = False  # frames have come that nobody has looked at
        self._resting = False  # others have their turn

    # -- what the loop tells

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._peer = wire.peer(transport.get_extra_info("peername"))
        with contextlib.suppress(OSError):  # of a client that has gone already
            transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._serving.connections.add(self)
        self._transport.write(_GREETING)
        if self._serving.closed:  # its handshake took longer
            self.drop()

    def connection_lost(self, exc: Exception | None) -> None:
        self._over = True
        self._known = {}
        self._leave_all()
        self._out.clear()
        serving = self._serving
        serving.connections.discard(self)
        if not serving.connections:
            serving.emptied()

    def eof_received(self) -> bool:
        """The client sends no more, which in gRPC is to leave. What has been written is sent, if it reads that soon."""
        if not self._over:
            self._flush()
            self._leave_all()
            self._over = True
            self._linger(MOST_LINGERING)
        return False

    def resume_writing(self) -> None:
        self._paused = False
        if self._stopped_reading:
            self._stopped_reading = False
            self._read_on()
        self.schedule()

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._more = False
        many = len(data) >= MOST_AT_ONCE
        if self._rest:
            data = self._rest + data
            self._rest = b""
        self._scheduled = True  # all that is written meanwhile goes out at the end
        try:
            if self._greeted == 2:
                self._rest = data[self._read(data) :]
            else:
                self._greet(data)
            if self._ready:
                self._begin_ready()
        except Broken as broken:
            self.end(broken.error, broken.why)
            return
        except Exception as failed:
            log.error("a defect of the emulator, in a connection", exc_info=failed)
            self.end(Error.INTERNAL_ERROR, "a defect of the emulator; its log has the traceback")
            return
        if self._wider:
            self._wider = False
            for stream in self._streams.values():
                if stream.rest is not None:
                    self.waiting[stream] = None
        self._flush()
        if self._paused and not self._over and self._transport.get_write_buffer_size() + self.unsent > MOST_UNREAD:
            self._stopped_reading = True
            self._transport.pause_reading()
        elif (many or self._more) and not (self._over or self._resting):
            # Else uvloop reads on as long as there is something, and nobody else has a turn.
            self._resting = True
            self._transport.pause_reading()
            self.loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._resting = False
        self._read_on()

    def _read_on(self) -> None:
        """Go on with what has come already, and then with reading."""
        if self._more and not self._stopped_reading:
            self.data_received(b"")
        if not (self._over or self._stopped_reading or self._resting or self._transport.is_closing()):
            self._transport.resume_reading()

    # -- reading

    def _greet(self, data: bytes) -> None:
        if not self._greeted:
            if not data.startswith(frames.PREFACE):
                if not frames.PREFACE.startswith(data):
                    raise Broken(Error.PROTOCOL_ERROR, "this is no HTTP/2")
                self._rest = data
                return
            self._greeted = 1
            data = data[len(frames.PREFACE) :]
        if len(data) > 3 and (data[3] != frames.SETTINGS or (len(data) > 4 and data[4] & frames.ACK)):
            raise Broken(Error.PROTOCOL_ERROR, "a connection begins with settings")
        self._rest = data[self._read(data) :]

    def _read(self, data: bytes) -> int:
        """Take the frames in `data`; where the one that isn't whole begins, or the next after as many calls as may be
        looked at before others have their turn.
        """
        calls = 0
        at, end, whole, with_prefix, known = 0, len(data), HEAD.unpack_from, HEAD_AND_PREFIX.unpack_from, self._known
        while end - at >= LENGTH_OF_HEAD:
            sized, flags, number = whole(data, at)
            begin = at + LENGTH_OF_HEAD
            at_next = begin + (sized >> 8)
            if at_next - begin > DEFAULT_FRAME:
                raise Broken(Error.FRAME_SIZE_ERROR, f"a frame of more than {DEFAULT_FRAME} bytes")
            if at_next > end:
                break
            if (
                sized & 0xFF == HEADERS
                and flags == END_HEADERS
                and self._last < number <= WIDEST_WINDOW
                and number & 1
                and self._block is None
                and not self._ending
            ):
                # What nearly all clients send: a header, and a frame with the only message.
                block = data[begin:at_next]
                asked = known.get(block)
                if asked is None:
                    asked = self._requested(block)
                    known = self._known
                self._last = number
                if asked.simple and end - at_next >= LENGTH_OF_HEAD + wire.PREFIX:
                    sized, flags, of, compressed, length = with_prefix(data, at_next)
                    size = sized >> 8
                    past = at_next + LENGTH_OF_HEAD + size
                    if (
                        sized & 0xFF == DATA
                        and flags == END_STREAM
                        and of == number
                        and not compressed
                        and length + wire.PREFIX == size <= DEFAULT_FRAME
                        and past <= end
                        and self._roomy()
                    ):
                        self._count(size)
                        at = past
                        self._ask(number, asked, data[past - length : past])
                        if self._over:  # chaos has dropped the connection
                            return end
                        calls += 1
                        if calls >= MOST_CALLS_AT_ONCE:
                            self._more = True
                            break
                        continue
                self._open(number, asked, ended=False)
            else:
                self._take(sized & 0xFF, flags, number & WIDEST_WINDOW, data[begin:at_next])
                known = self._known
            at = at_next
            if self._over:
                return end
            if len(self._ready) >= MOST_CALLS_AT_ONCE:
                self._more = True
                break
        return at

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._block is not None and (kind != CONTINUATION or number != self._number):
            raise Broken(Error.PROTOCOL_ERROR, "a header block has to be whole before anything else comes")
        taking = _TAKING.get(kind)
        if taking is not None:
            taking(self, flags, number, payload)
        self._greeted = 2

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Error.PROTOCOL_ERROR, "settings of a stream")
        if flags & frames.ACK:
            if payload:
                raise Broken(Error.FRAME_SIZE_ERROR, "settings that are acknowledged and told")
            return
        if len(payload) % frames.SETTING.size:
            raise Broken(Error.FRAME_SIZE_ERROR, "settings of no such length")
        for key, value in frames.SETTING.iter_unpack(payload):
            if key == frames.INITIAL_WINDOW_SIZE:
                if value > WIDEST_WINDOW:
                    raise Broken(Error.FLOW_CONTROL_ERROR, f"an initial window of {value} bytes")
                self._wider = self._wider or value > self.initial
                self.initial = value
            elif key == frames.MAX_FRAME_SIZE:
                if not DEFAULT_FRAME <= value <= frames.LARGEST_FRAME:
                    raise Broken(Error.PROTOCOL_ERROR, f"frames of {value} bytes at most")
                self.most_frame = min(value, MOST_QUEUED)
            elif key == frames.ENABLE_PUSH and value > 1:
                raise Broken(Error.PROTOCOL_ERROR, "a push that is neither enabled nor disabled")
        self.write(_AGREED)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Error.PROTOCOL_ERROR, "a ping of a stream")
        if len(payload) != 8:
            raise Broken(Error.FRAME_SIZE_ERROR, "a ping of no such length")
        if not flags & frames.ACK:
            self.write(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _goodbye(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise Broken(Error.PROTOCOL_ERROR, "a goodbye of a stream")
        if len(payload) < 8:
            raise Broken(Error.FRAME_SIZE_ERROR, "a goodbye of no such length")

    def _promise(self, flags: int, number: int, payload: bytes) -> None:
        raise Broken(Error.PROTOCOL_ERROR, "a promise of a client")

    def _window_update(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(Error.FRAME_SIZE_ERROR, "a window update of no such length")
        by = frames.NUMBER.unpack(payload)[0] & WIDEST_WINDOW
        if not number:
            if not by:
                raise Broken(Error.PROTOCOL_ERROR, "a window that is wider by nothing")
            self.window += by
            if self.window > WIDEST_WINDOW:
                raise Broken(Error.FLOW_CONTROL_ERROR, "a window that is too wide")
            return
        stream = self._stream(number)
        if stream is None:
            return
        stream.credit += by
        if not by:
            self._mistaken(stream, Error.PROTOCOL_ERROR)
        elif self.initial + stream.credit > WIDEST_WINDOW:
            self._mistaken(stream, Error.FLOW_CONTROL_ERROR)
        elif stream.rest is not None:
            self.waiting[stream] = None

    def _priority(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise Broken(Error.PROTOCOL_ERROR, "a priority of no stream")
        if len(payload) != 5:
            self._mistake(number, Error.FRAME_SIZE_ERROR)
        elif frames.NUMBER.unpack_from(payload)[0] & WIDEST_WINDOW == number:
            self._mistake(number, Error.PROTOCOL_ERROR)

    def _resetting(self, flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise Broken(Error.FRAME_SIZE_ERROR, "a reset of no such length")
        if not number:
            raise Broken(Error.PROTOCOL_ERROR, "a reset of no stream")
        stream = self._stream(number)
        if stream is not None:
            del self._streams[number]
            stream.leave()
            self._done()

    def _stream(self, number: int) -> Stream | None:
        """The stream of that number, None if it is over. Raises Broken for one that never began."""
        stream = self._streams.get(number)
        if stream is None and (number > self._last or not number & 1):
            raise Broken(Error.PROTOCOL_ERROR, f"stream {number} never began")
        return stream

    def _data(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise Broken(Error.PROTOCOL_ERROR, "data of no stream")
        size = len(payload)
        self._count(size)
        stream = self._stream(number)
        payload = _unpadded(flags, payload)
        if stream is None or stream.ended:
            if stream is not None:
                self._mistaken(stream, Error.STREAM_CLOSED)
            elif not self._was_reset(number):
                self._mistake(number, Error.STREAM_CLOSED)
            return
        stream.left -= size
        if stream.left < 0:
            self._mistaken(stream, Error.FLOW_CONTROL_ERROR)
            return
        ended = bool(flags & END_STREAM)
        length = stream.request.length
        if length is not None and (
            stream.received + len(payload) > length or (ended and stream.received + len(payload) < length)
        ):
            self._mistaken(stream, Error.PROTOCOL_ERROR)
            return
        try:
            message = stream.take(payload, size, ended)
            if self.held > MOST_HELD and stream.held:
                raise _UNTAKEN
        except Status as refused:
            self._unreadable(stream, refused)
            return
        if message is not None or (ended and stream.request.kind is Kind.FOREIGN):
            self._ready.append((stream, message or b""))

    def _unreadable(self, stream: Stream, refused: Status) -> None:
        """What came of the request is none."""
        if stream.requests is not None and stream.call is not None:
            stream.whole = True
            stream.requests.end(refused)
        else:
            stream.fail(refused)

    def _headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number & 1:
            raise Broken(Error.PROTOCOL_ERROR, f"a call on stream {number}")
        depends = 0
        payload = _unpadded(flags, payload)
        if flags & WITH_PRIORITY:
            if len(payload) < 5:
                raise Broken(Error.FRAME_SIZE_ERROR, "a header without its priority")
            depends = frames.NUMBER.unpack_from(payload)[0] & WIDEST_WINDOW
            payload = payload[5:]
        if not flags & END_HEADERS:
            self._block, self._number, self._flags, self._pieces = bytearray(payload), number, flags, 0
            return
        self._header(number, payload, bool(flags & END_STREAM))
        if depends == number:
            self._mistake(number, Error.PROTOCOL_ERROR)

    def _continuation(self, flags: int, number: int, payload: bytes) -> None:
        block = self._block
        if block is None:
            raise Broken(Error.PROTOCOL_ERROR, "more of a header block that there is not")
        block += payload
        self._pieces += 1
        if len(block) > MOST_BLOCK or self._pieces > MOST_CONTINUATIONS:
            raise Broken(Error.ENHANCE_YOUR_CALM, "a header block without end")
        if flags & END_HEADERS:
            self._block = None
            self._header(number, bytes(block), bool(self._flags & END_STREAM))

    def _header(self, number: int, block: bytes, ended: bool) -> None:
        asked = self._known.get(block) or self._requested(block)
        if number > self._last:
            self._last = number
            if self._ending:
                self.reset(number, Error.REFUSED_STREAM)
                return
            self._open(number, asked, ended)
            return
        stream = self._streams.get(number)
        if stream is None or stream.ended:
            if not self._was_reset(number):
                raise Broken(Error.STREAM_CLOSED, f"a header on stream {number}, which is over")
        elif asked.kind is not Kind.TRAILERS or not ended or stream.request.length not in (None, stream.received):
            self._mistaken(stream, Error.PROTOCOL_ERROR)
        else:
            try:
                stream.end()
            except Status as refused:
                self._unreadable(stream, refused)
            if stream.request.kind is Kind.FOREIGN:
                self._ready.append((stream, b""))

    def _requested(self, block: bytes) -> Request:
        """What a header block says that isn't known. It is forgotten when a header changes the table."""
        decoder = self._decoder
        try:
            fields = decoder.fields(block)
        except ValueError as failed:
            raise Broken(Error.COMPRESSION_ERROR, str(failed)) from None
        found = request.read(fields, self._serving.kinds, len(block))
        if decoder.version != self._version:
            self._version = decoder.version
            self._known, self._once = {}, set()
        elif len(block) <= LONGEST_REMEMBERED:
            if hash(block) in self._once:
                if len(self._known) >= MOST_REQUESTS:
                    self._known = {}
                self._known[block] = found
            else:  # most that have come once never come again: they have an id or a time in them
                if len(self._once) >= MOST_REQUESTS:
                    self._once.clear()
                self._once.add(hash(block))
        return found

    def _count(self, size: int) -> None:
        """So many bytes of data have come."""
        self._left -= size
        if self._left < CONNECTION_WINDOW // 2:
            if self._left < 0:
                raise Broken(Error.FLOW_CONTROL_ERROR, "more data than the connection's window lets pass")
            self.widen(0, CONNECTION_WINDOW - self._left)
            self._left = CONNECTION_WINDOW

    def _was_reset(self, number: int) -> bool:
        """Whether we have ended that stream, so that its client may not have known when it sent more."""
        return self._reset is not None and number in self._reset

    def _close(self) -> None:
        if not self._over:
            self._rest, self._block = b"", None
        super()._close()


def _unpadded(flags: int, payload: bytes) -> bytes:
    if not flags & PADDED:
        return payload
    if not payload or payload[0] >= len(payload):
        raise Broken(Error.PROTOCOL_ERROR, "more padding than there is frame")
    return payload[1 : len(payload) - payload[0]]


_TAKING: Mapping[int, Callable[[Connection, int, int, bytes], None]] = {
    DATA: Connection._data,
    HEADERS: Connection._headers,
    frames.PRIORITY: Connection._priority,
    frames.RST_STREAM: Connection._resetting,
    frames.SETTINGS: Connection._settings,
    frames.PUSH_PROMISE: Connection._promise,
    frames.PING: Connection._ping,
    frames.GOAWAY: Connection._goodbye,
    frames.WINDOW_UPDATE: Connection._window_update,
    CONTINUATION: Connection._continuation,
}
