"""A connection: what its client sends is read as it comes, and what is answered at once goes out in one piece."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping

from ...call import Call
from ...clock import Monotonic
from ...errors import Code, Status
from .. import wire
from ..limits import MOST_METADATA, Answering
from . import frames, hpack, request
from .bounds import (
    CONNECTION_WINDOW,
    LINGERING,
    LONGEST_REMEMBERED,
    MOST_AT_ONCE,
    MOST_BLOCK,
    MOST_CALLS_AT_ONCE,
    MOST_CONTINUATIONS,
    MOST_HELD,
    MOST_LINGERING,
    MOST_MISTAKES,
    MOST_QUEUED,
    MOST_REQUESTS,
    MOST_RESET,
    MOST_STREAMS,
    MOST_UNREAD,
    MOST_UNSENT,
    STREAM_WINDOW,
)
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
from .sending import Sending
from .stream import STOPPED, Requests, Stream

log = logging.getLogger("emulator")

_GREETING = frames.settings(
    (frames.MAX_CONCURRENT_STREAMS, MOST_STREAMS),
    (frames.INITIAL_WINDOW_SIZE, STREAM_WINDOW),
    (frames.MAX_HEADER_LIST_SIZE, MOST_METADATA),
) + frames.wider(0, CONNECTION_WINDOW - DEFAULT_WINDOW)
_AGREED = frames.frame(frames.SETTINGS, frames.ACK, 0)

_TURNED_AWAY = b"this port speaks gRPC; HTTP is served on another\n"
_TURNING_AWAY = hpack.block([(b":status", b"415"), (b"content-type", b"text/plain")])
_UNREAD = Status(
    Code.RESOURCE_EXHAUSTED, f"more than {MOST_UNSENT} bytes of replies wait on this connection for their client"
)
_UNTAKEN = Status(Code.RESOURCE_EXHAUSTED, f"more than {MOST_HELD} bytes of requests wait on this connection")
_DEFECT = Status(Code.INTERNAL, "a defect of the emulator; its log has the traceback")


class Serving:
    """What the connections of a port share: whom they ask, and who they are."""

    def __init__(self, answer: Answering, kinds: Mapping[str, Kind], *, secure: bool) -> None:
        self.answer, self.kinds, self.secure = answer, kinds, secure
        self.connections: set[Connection] = set()
        self.emptied: Callable[[], None] = lambda: None
        self.closed = False


class Connection(Sending):
    """One client's connection.

    `held` are the bytes of requests that wait for somebody; `running` has the streams that a task answers, until it has
    ended.
    """

    __slots__ = (
        "_block",
        "_decoder",
        "_ending",
        "_flags",
        "_greeted",
        "_known",
        "_last",
        "_left",
        "_mistakes",
        "_more",
        "_number",
        "_once",
        "_peer",
        "_pieces",
        "_ready",
        "_reset",
        "_rest",
        "_resting",
        "_serving",
        "_stopped_reading",
        "_streams",
        "_version",
        "_wider",
        "held",
        "running",
    )

    def __init__(self, serving: Serving) -> None:
        super().__init__()
        self._serving = serving
        self._peer = ""
        # reading
        self._rest = b""
        self._greeted = 0  # 1 when the preface has come, 2 when the settings after it have
        self._last = 0
        self._left = CONNECTION_WINDOW
        self._decoder = hpack.Decoder()
        self._known: dict[bytes, Request] = {}
        self._once: set[int] = set()
        self._version = 0
        self._block: bytearray | None = None  # a header block of which more is to come
        self._number = self._flags = self._pieces = 0
        self._ready: list[tuple[Stream, bytes]] = []
        self._stopped_reading = self._wider = False
        self._more = False  # frames have come that nobody has looked at
        self._resting = False  # others have their turn
        self._reset: deque[int] | None = None
        self._mistakes = 0
        # calls
        self._streams: dict[int, Stream] = {}
        self.running: set[Stream] = set()
        self.held = 0
        self._ending = False  # no new calls are taken

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

    # -- calls

    def _roomy(self) -> bool:
        """Whether one more call may be looked at."""
        return self.unsent <= MOST_UNSENT and len(self._streams) < MOST_STREAMS and len(self.running) < MOST_STREAMS

    def _open(self, number: int, asked: Request, ended: bool) -> None:
        """A stream begins."""
        kind = asked.kind
        if kind is Kind.MALFORMED or kind is Kind.TRAILERS or (ended and asked.length):
            self._mistake(number, Error.PROTOCOL_ERROR)
            return
        if len(self._streams) >= MOST_STREAMS or len(self.running) >= MOST_STREAMS:
            self.reset(number, Error.REFUSED_STREAM)
            return
        stream = self._streams[number] = Stream(self, number, asked)
        stream.ended = ended
        if asked.timeout is not None:
            stream.due(asked.timeout)
        if kind is Kind.FOREIGN:
            stream.whole = True
            if ended:
                self._ready.append((stream, b""))
        elif asked.refusal is not None:
            stream.fail(asked.refusal)
        elif self.unsent > MOST_UNSENT:
            stream.fail(_UNREAD)
        elif kind is Kind.STREAMS:
            stream.requests = Requests(stream)
            self._ready.append((stream, b""))
            if ended:
                stream.end()
        elif ended:
            self._end_at_once(stream)

    def _end_at_once(self, stream: Stream) -> None:
        try:
            stream.end()
        except Status as refused:
            stream.fail(refused)

    def _turn_away(self, stream: Stream) -> None:
        """As gRPC asks servers to answer other requests."""
        self.write(frames.header(stream.number, _TURNING_AWAY, self.most_frame))
        stream.begun = True
        stream.queue_raw(_TURNED_AWAY, frames.frame(DATA, END_STREAM, stream.number))

    def _begin_ready(self) -> None:
        """Answer the calls whose message has come, now that all that came with it is known."""
        ready, self._ready = self._ready, []
        for stream, message in ready:
            if stream.closed or self._over:
                continue
            if stream.request.kind is Kind.FOREIGN:
                self._turn_away(stream)
            else:
                self._ask(stream.number, stream.request, message, stream)

    def _ask(self, number: int, asked: Request, message: bytes, stream: Stream | None = None) -> None:
        """Have a call answered."""
        requests = deadline = None
        if stream is not None:
            requests, deadline = stream.requests, stream.deadline
        elif asked.timeout is not None:
            deadline = Monotonic.now() + asked.timeout
        call = Call(asked.path, message, asked.metadata, self._peer, deadline, requests, self._serving.secure)
        if stream is not None:
            stream.call = call
        try:
            try:
                answer = self._serving.answer(call)
            except Status as refused:
                if stream is None and not call.dropped:
                    self.write(self.opening(number, call) + self.failing(number, refused))
                else:
                    (stream or self._kept(number, asked, call)).fail(refused)
                return
            if isinstance(answer, bytes):
                self.reply(number, call, answer, stream)
            elif isinstance(answer, Iterator):
                self._reply_in_turn(number, asked, call, answer, stream)
            else:
                (stream or self._kept(number, asked, call)).answer(answer)
        except Exception as failed:
            self.defect(stream or self._kept(number, asked, call), failed)

    def _kept(self, number: int, asked: Request, call: Call) -> Stream:
        """The stream of a call that isn't over, though its request has come."""
        stream = self._streams[number] = Stream(self, number, asked)
        stream.ended = stream.whole = True
        stream.call, stream.deadline = call, call.deadline
        return stream

    def reply(self, number: int, call: Call, message: bytes, stream: Stream | None) -> None:
        """Send the only message of a reply, and its end."""
        size = len(message) + wire.PREFIX
        if (
            size <= self.window
            and size <= self.initial + (0 if stream is None else stream.credit)
            and size <= self.most_frame
            and not self.full
        ):
            prefix = HEAD_AND_PREFIX.pack(size << 8 | DATA, 0, number, 0, size - wire.PREFIX)
            self.write(b"".join((self.opening(number, call), prefix, message, self.ending(number, call))), size)
            self.window -= size
            if stream is not None:
                self.over(stream)
            return
        if stream is None:
            stream = self._waiting(number, request.TRAILERS, call)
        stream.begin(call)
        stream.queue(message)

    def _reply_in_turn(
        self, number: int, asked: Request, call: Call, messages: Iterator[bytes], stream: Stream | None
    ) -> None:
        """Send the messages of a reply, which has nothing to wait for but its client, and its end."""
        credit = 0 if stream is None else stream.credit
        room = 0 if self.full else min(self.window, self.initial + credit, MOST_QUEUED)
        pack, most, sent = HEAD_AND_PREFIX.pack, self.most_frame, 0
        pieces: list[bytes] = []
        held: bytes | None = None
        try:
            for message in messages:
                if not pieces:
                    pieces.append(self.opening(number, call))
                size = len(message) + wire.PREFIX
                if sent + size > room or size > most:
                    held = message
                    break
                sent += size
                pieces += (pack(size << 8 | DATA, 0, number, 0, size - wire.PREFIX), message)
        except Status as status:
            ended: Status | None = status
        except Exception:
            if isinstance(messages, Generator):
                messages.close()
            raise
        else:
            ended = None
        self.window -= sent
        if stream is None and (held is not None or ended is not None):
            stream = self._waiting(number, asked, call)
        if stream is not None:
            stream.credit -= sent
            stream.begun = bool(pieces)
        if held is None and ended is None:
            pieces = pieces or [self.opening(number, call)]
            pieces.append(self.ending(number, call))
        if pieces:
            self.write(b"".join(pieces), sent)
        if stream is None:
            return
        if held is not None:
            stream.queue(held, messages)
        elif ended is not None:
            stream.fail(ended)
        else:
            self.over(stream)

    def _waiting(self, number: int, asked: Request, call: Call) -> Stream:
        """The stream of a call that has been answered, and whose client doesn't let all of it be sent yet."""
        stream = self._kept(number, asked, call)
        if call.deadline is not None:
            stream.due(call.deadline - Monotonic.now())
        return stream

    def over(self, stream: Stream) -> None:
        """A stream has been answered: its last frame is written."""
        if stream.closed:
            return
        self._streams.pop(stream.number, None)
        if not stream.ended:
            self.reset(stream.number, Error.NO_ERROR)
        stream.close()
        if stream.requests is not None:
            stream.requests.end(None)
        self._done()

    def ran(self, stream: Stream) -> None:
        """The task of a stream has ended."""
        self.running.discard(stream)
        self._done()

    def defect(self, stream: Stream, failed: Exception) -> None:
        """Answering has failed for a reason that is our own."""
        log.error("a defect of the emulator, in %s", stream.request.path, exc_info=failed)
        if stream.closed:
            return
        if not stream.begun:
            self.write(self.opening(stream.number, None))
        self.write(self.failing(stream.number, _DEFECT))
        self.over(stream)

    # -- what clients do wrong

    def _mistaken(self, stream: Stream, error: Error) -> None:
        self._streams.pop(stream.number, None)
        stream.leave()
        self._mistake(stream.number, error)
        self._done()

    def _mistake(self, number: int, error: Error) -> None:
        """End a stream for what the client did on it. Raises Broken where it never began, and when that comes too
        often.
        """
        if number > self._last:
            raise Broken(error, f"stream {number} never began")
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.leave()
        self._mistakes += 1
        if self._mistakes > MOST_MISTAKES:
            raise Broken(Error.ENHANCE_YOUR_CALM, "too many streams that had to be ended")
        self.reset(number, error)

    def reset(self, number: int, error: Error) -> None:
        """End a stream; what may still come on it is passed over."""
        if self._reset is None:
            self._reset = deque(maxlen=MOST_RESET)
        self._reset.append(number)
        self.write(frames.reset(number, error))

    # -- the end

    def drop(self) -> None:
        """End the connection, with all calls on it, as when the network fails."""
        if not self._over:
            self._over = True
            self._flush()
            self._leave_all()
        self.loop.call_soon(self._transport.abort)  # what was just written is on its way by then

    def stop(self) -> None:
        """Take no new calls; close when those under way have ended."""
        if not self._ending and not self._over:
            self._ending = True
            self.write(frames.goodbye(self._last, Error.NO_ERROR))
            self._done()

    def cut(self) -> None:
        """End the calls under way."""
        for stream in tuple(self._streams.values()):
            stream.stop(STOPPED)

    def _done(self) -> None:
        """A call is over: perhaps that was the last."""
        if self._ending and not self._over and not self._streams and not self.running:
            self._close()

    def end(self, error: Error, why: str) -> None:
        """End the connection because of what the client did."""
        self._leave_all()
        self.write(frames.goodbye(self._last, error, why))
        self._close()

    def _leave_all(self) -> None:
        for stream in tuple(self._streams.values()):
            stream.leave()
        self._streams.clear()
        self._ready.clear()

    def _close(self) -> None:
        """Send what is left, and give the client a moment to read it: what is closed before is reset."""
        if self._over:
            return
        self._over = True
        self._rest, self._block = b"", None
        self._flush()
        with contextlib.suppress(OSError):  # the client has gone
            if self._transport.can_write_eof() and not self._transport.is_closing():
                self._transport.write_eof()
        self._linger(MOST_LINGERING)

    def _linger(self, times: int) -> None:
        if self not in self._serving.connections:
            return
        if times and (times == MOST_LINGERING or self._transport.get_write_buffer_size()):
            self.loop.call_later(LINGERING, self._linger, times - 1)
        else:
            self._transport.abort()


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
