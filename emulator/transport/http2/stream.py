"""A call's stream: the request as it comes, in pieces; the reply as it goes, within the windows of the client."""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import aclosing
from typing import TYPE_CHECKING

from ...call import Call
from ...clock import Monotonic
from ...errors import Code, Status
from .. import wire
from ..limits import MOST_MESSAGE
from .bounds import STREAM_WINDOW
from .frames import DATA, HEAD, HEAD_AND_PREFIX, PREFIX, Error
from .request import Kind, Request

if TYPE_CHECKING:
    from .calls import Calls

STOPPED = Status(Code.UNAVAILABLE, "Cancelling all calls")  # as gRPC's core words it
LATE = Status(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")
_NO_MORE: Iterator[bytes] = iter(())
_CUT = Status(Code.INTERNAL, "the last message ends before its end")
_EMPTY = Status(Code.INTERNAL, "the call has no message, and one of its kind has one")


class Stream:
    """A call that is not over once its request has come.

    `credit` is what the client lets be sent beyond its initial window; `rest` is what of the reply could not be sent
    yet, from `at` on.
    """

    __slots__ = (
        "at",
        "begun",
        "body",
        "call",
        "closed",
        "connection",
        "credit",
        "deadline",
        "ended",
        "ending",
        "held",
        "left",
        "more",
        "number",
        "owed",
        "received",
        "request",
        "requests",
        "rest",
        "started",
        "task",
        "timer",
        "waiter",
        "whole",
        "why",
    )

    def __init__(self, connection: Calls, number: int, request: Request) -> None:
        self.connection, self.number, self.request = connection, number, request
        self.call: Call | None = None
        self.closed = False  # nothing more may be sent
        # what comes
        self.ended = False  # the client has sent all
        self.whole = False  # nothing more is wanted of it
        self.body: bytearray | None = None
        self.requests: Requests | None = None
        self.received = 0
        self.left = STREAM_WINDOW
        self.owed = 0
        self.held = 0
        # what goes
        self.credit = 0
        self.begun = False
        self.rest: bytes | None = None
        self.at = 0
        self.more: Iterator[bytes] | None = None
        self.ending: bytes | None = None
        self.waiter: asyncio.Future[None] | None = None
        # who answers, where that takes a while
        self.task: asyncio.Task[None] | None = None
        self.started = False
        self.deadline: float | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.why: Status | None = None

    # -- the request

    def take(self, piece: bytes, size: int, ended: bool) -> bytes | None:
        """Take a piece of the body, from a frame of `size` bytes; the call's only message, when it is whole.

        Raises the Status that the call ends with for what is no message.
        """
        self.received += len(piece)
        self.ended = ended
        message = None
        if not self.whole:
            if self.body is None:
                self.body = bytearray()
            self.body += piece
            self.hold(len(piece))
            message = self._messages(self.body)
            if ended:
                self._end(message)
        if not ended:
            self.owed += size
            if self.requests is None or not self.requests.waiting:
                self.give_back()
        return message

    def end(self) -> None:
        """The client has sent all, as a frame that has no part of a message tells. Raises as `take` does."""
        self.ended = True
        if not self.whole:
            self._end(None)

    def _messages(self, body: bytearray) -> bytes | None:
        at, end, requests = 0, len(body), self.requests
        while end - at >= wire.PREFIX:
            past = at + wire.PREFIX + wire.length(body[at : at + wire.PREFIX], MOST_MESSAGE)
            if past > end:
                break
            raw = bytes(memoryview(body)[at + wire.PREFIX : past])
            message = wire.message(body[at], raw, self.request.encoding, MOST_MESSAGE)
            if requests is None:
                self.body, self.whole = None, True
                self.hold(-self.held)
                return message
            requests.put(message)
            self.hold(len(message) - (past - at))
            at = past
        del body[:at]
        return None

    def _end(self, message: bytes | None) -> None:
        self.whole = True
        if self.body:
            raise _CUT
        if self.requests is not None:
            self.requests.end(None)
        elif message is None:
            raise _EMPTY

    def hold(self, size: int) -> None:
        """So many more bytes of the request wait for somebody."""
        self.held += size
        self.connection.held += size

    def give_back(self) -> None:
        """Let the client send as much as was taken from it."""
        wanted = not self.whole or self.request.kind is Kind.FOREIGN
        if wanted and not self.ended and not self.closed and self.left < STREAM_WINDOW // 2:
            self.connection.widen(self.number, self.owed)
            self.left += self.owed
            self.owed = 0

    # -- the reply

    def send(self, message: bytes) -> bool:
        """Send a message of a reply that has begun; whether that is done, else `sent` waits until it is."""
        connection = self.connection
        size = len(message) + wire.PREFIX
        if (
            size <= connection.window
            and size <= connection.initial + self.credit
            and size <= connection.most_frame
            and not connection.full
            and not self.closed
        ):
            connection.window -= size
            self.credit -= size
            connection.write(
                HEAD_AND_PREFIX.pack(size << 8 | DATA, 0, self.number, 0, size - wire.PREFIX) + message, size
            )
            return True
        if not self.closed:
            self._put(PREFIX.pack(0, len(message)) + message)
        return False

    def queue(self, message: bytes, more: Iterator[bytes] = _NO_MORE) -> None:
        """Send `message` and `more` of a reply that has begun, and its end, as the client lets it."""
        self.more = more
        self._put(PREFIX.pack(0, len(message)) + message)
        if not self.connection.full:
            self.push()

    def queue_raw(self, body: bytes, ending: bytes) -> None:
        """Send what is no message of gRPC, and its end, as the client lets it."""
        self.more, self.ending = _NO_MORE, ending
        self._put(body)
        if not self.connection.full:
            self.push()

    async def sent(self) -> None:
        """Wait until what `send` could not send is."""
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def _put(self, rest: bytes) -> None:
        """What is sent next, when it can be."""
        self.rest, self.at = rest, 0
        self.connection.unsent += len(self.rest)
        self.connection.waiting[self] = None
        self.connection.schedule()

    def _next(self) -> None:
        """Go on to the next message of those that are there, or to the end."""
        if self.more is None:
            if self.waiter is not None and not self.waiter.done():
                self.waiter.set_result(None)
            return
        try:
            message = next(self.more, None)
        except Status as status:
            self.fail(status)
            return
        if message is not None:
            self._put(PREFIX.pack(0, len(message)) + message)
            return
        ending = self.ending
        if ending is None:
            assert self.call is not None
            ending = self.connection.ending(self.number, self.call)
        self.connection.write(ending)
        self.connection.over(self)

    def push(self) -> None:
        """Send a frame of what waits, if there is room; what is left waits for its next turn, or a wider window."""
        connection, rest = self.connection, self.rest
        if rest is None or self.closed:
            return
        left = len(rest) - self.at
        size = min(left, connection.window, connection.initial + self.credit, connection.most_frame)
        if size <= 0:
            return
        connection.window -= size
        self.credit -= size
        piece = memoryview(rest)[self.at : self.at + size]
        connection.write(HEAD.pack(size << 8 | DATA, 0, self.number) + piece, size)
        self.at += size
        connection.unsent -= size
        if size < left:
            connection.waiting[self] = None
            return
        self.rest = None
        try:
            self._next()
        except Exception as failed:
            connection.defect(self, failed)

    # -- answers that have to be waited for

    def answer(self, messages: AsyncIterator[bytes]) -> None:
        """Send what `messages` gives, in a task."""
        connection, call = self.connection, self.call
        assert call is not None
        self.task = connection.loop.create_task(self._run(call, messages))
        connection.running.add(self)
        if call.deadline is not None and self.timer is None:
            self.due(call.deadline - Monotonic.now())

    def due(self, within: float) -> None:
        """End the call if it isn't over within so many seconds."""
        if self.deadline is None:
            self.deadline = Monotonic.now() + within
        self.timer = self.connection.loop.call_later(max(0.0, within), self.stop, LATE)

    def stop(self, why: Status | None) -> None:
        """End the call with `why`, None where the client has left."""
        if self.closed or self.why is not None:
            return
        if self.task is None:
            if why is not None:
                self.fail(why)
            return
        self.why = why
        self._cancel()

    def _cancel(self) -> None:
        task = self.task
        if task is None or task.done():
            return
        # What is cancelled before its first step never runs, and nobody would hear of the call's end.
        if self.started:
            task.cancel()
        else:
            self.connection.loop.call_soon(task.cancel)

    async def _run(self, call: Call, messages: AsyncIterator[bytes]) -> None:
        self.started = True
        try:
            status = await self._outcome(call, messages)
            if status is not None:
                self.fail(status)
        except Exception as failed:
            self.connection.defect(self, failed)
        finally:
            self.connection.ran(self)

    async def _outcome(self, call: Call, messages: AsyncIterator[bytes]) -> Status | None:
        """What the call ends with, None where it has ended well."""
        try:
            await self._send_all(call, messages)
        except Status as status:
            return status
        except asyncio.CancelledError:
            if self.why is None:
                if not self.closed:  # else the client has left
                    self.reset(Error.CANCEL)
                raise
            if sys.version_info >= (3, 11) and self.task is not None:
                self.task.uncancel()
            return self.why
        return None

    async def _send_all(self, call: Call, messages: AsyncIterator[bytes]) -> None:
        unary, only = self.request.kind is Kind.UNARY, b""
        async with aclosing(messages) as coming:  # type: ignore[type-var]
            async for message in coming:
                if unary:
                    only = message
                    continue
                if not self.begun:
                    self.begin(call)
                if not self.send(message):
                    if self.closed:
                        return
                    await self.sent()
        if self.closed:
            return
        if unary:
            self.connection.reply(self.number, call, only, self)
            return
        if not self.begun:
            self.begin(call)
        self.connection.write(self.connection.ending(self.number, call))
        self.connection.over(self)

    def begin(self, call: Call) -> None:
        """Send the header of the reply."""
        self.begun = True
        if self.closed:
            return
        self.connection.write(self.connection.opening(self.number, call))

    def fail(self, status: Status) -> None:
        """End the call with `status`, and what could not be sent of it with it."""
        if self.closed:
            return
        connection, call = self.connection, self.call
        if call is not None and call.dropped:
            connection.drop()
            return
        if not self.begun:
            self.begun = True
            connection.write(connection.opening(self.number, call))
        connection.write(connection.failing(self.number, status))
        connection.over(self)

    def close(self) -> None:
        """It is over, whoever ended it: let go of all that it holds."""
        self.closed = True
        if self.timer is not None:
            self.timer.cancel()
        self.hold(-self.held)
        self.body = None
        if self.rest is not None:
            self.connection.unsent -= len(self.rest) - self.at
            self.rest = None
        more, self.more = self.more, None
        if isinstance(more, Generator):
            more.close()
        self.connection.waiting.pop(self, None)

    def leave(self) -> None:
        """The client has left: what is done for it ends."""
        self.close()
        if self.requests is not None:
            self.requests.end(None)
        self._cancel()

    def reset(self, error: Error) -> None:
        """End the stream without a status."""
        self.ended = True
        self.connection.reset(self.number, error)
        self.connection.over(self)


class Requests:
    """The messages that a client sends in a call, as they come. As an iterator, it is for one reader."""

    __slots__ = ("_error", "_over", "_stream", "_waiter", "waiting")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.waiting: deque[bytes] = deque()
        self._over = False
        self._error: Status | None = None
        self._waiter: asyncio.Future[None] | None = None

    def put(self, message: bytes) -> None:
        """One has come."""
        self.waiting.append(message)
        self._wake()

    def end(self, error: Status | None) -> None:
        """No more will come, because of `error` if it is one."""
        if not self._over:
            self._over, self._error = True, error
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __aiter__(self) -> Requests:
        return self

    async def __anext__(self) -> bytes:
        while not self.waiting:
            if self._error is not None:
                raise self._error
            if self._over:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        message = self.waiting.popleft()
        self._stream.hold(-len(message) if self._stream.held >= len(message) else 0)
        if not self.waiting:
            self._stream.give_back()
        return message
