"""Calls on a connection: begun, answered, at once where that can be, and ended, whoever ends them."""

from __future__ import annotations

import contextlib
import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping

from ...call import Call
from ...clock import Monotonic
from ...errors import Code, Status
from .. import wire
from ..limits import Answering
from . import frames, hpack, request
from .bounds import (
    LINGERING,
    MOST_LINGERING,
    MOST_MISTAKES,
    MOST_QUEUED,
    MOST_RESET,
    MOST_STREAMS,
    MOST_UNSENT,
)
from .frames import DATA, END_STREAM, HEAD_AND_PREFIX, Broken, Error
from .request import Kind, Request
from .sending import Sending
from .stream import STOPPED, Requests, Stream

log = logging.getLogger("emulator")

_TURNED_AWAY = b"this port speaks gRPC; HTTP is served on another\n"
_TURNING_AWAY = hpack.block([(b":status", b"415"), (b"content-type", b"text/plain")])
_UNREAD = Status(
    Code.RESOURCE_EXHAUSTED, f"more than {MOST_UNSENT} bytes of replies wait on this connection for their client"
)
_DEFECT = Status(Code.INTERNAL, "a defect of the emulator; its log has the traceback")


class Serving:
    """What the connections of a port share: whom they ask, and who they are."""

    def __init__(self, answer: Answering, kinds: Mapping[str, Kind], *, secure: bool) -> None:
        self.answer, self.kinds, self.secure = answer, kinds, secure
        self.connections: set[Calls] = set()
        self.emptied: Callable[[], None] = lambda: None
        self.closed = False


class Calls(Sending):
    """The part of a connection that has calls answered.

    `held` are the bytes of requests that wait for somebody; `running` has the streams that a task answers, until it has
    ended.
    """

    __slots__ = (
        "_ending",
        "_last",
        "_mistakes",
        "_peer",
        "_ready",
        "_reset",
        "_serving",
        "_streams",
        "held",
        "running",
    )

    def __init__(self, serving: Serving) -> None:
        super().__init__()
        self._serving = serving
        self._peer = ""
        self._last = 0
        self._streams: dict[int, Stream] = {}
        self._ready: list[tuple[Stream, bytes]] = []
        self._reset: deque[int] | None = None
        self._mistakes = 0
        self.running: set[Stream] = set()
        self.held = 0
        self._ending = False  # no new calls are taken

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
