"""The native engine: HTTP/2 by h2corn, which is written in Rust; gRPC on top of it is ours, in `wire`.

Several times as fast as grpc.aio, by choice: `engine="native"`, with the extra of that name. It answers the same calls
in the same way; `tests/wire/test_engines.py` holds the two against each other.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from ..addresses import listening
from ..api import METHODS
from ..call import Answer, Call, messages_of
from ..clock import Monotonic
from ..errors import Code, Status, UsageError
from . import wire
from .connections import drop_if_asked
from .limits import MOST_MESSAGE, Answering, Pausing

if TYPE_CHECKING:
    import socket

    from ..tls import Identity

EXTRA = "fm-emulator[native]"
Event = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Event]]
Send = Callable[[Event], Awaitable[None]]

_LONGEST_STOP = 10.0
"""Real seconds after which h2corn ends what `stop` has not ended by then; docker allows as many."""

_TYPE = (b"content-type", b"application/grpc")
_START = "http.response.start"
_BODY = "http.response.body"
_TRAILERS = "http.response.trailers"
_NO_MORE: Event = {"type": _BODY, "body": b"", "more_body": False}
_WELL: Event = {"type": _TRAILERS, "headers": [(b"grpc-status", b"0")]}
_STOPPED = Status(Code.UNAVAILABLE, "Cancelling all calls")  # as gRPC's core words it
_LATE = Status(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

log = logging.getLogger("emulator")


class Server:
    """Answers every method, known or not, with `answer`. Raises UsageError where h2corn isn't installed.

    The end of a stream is always sent apart from its last message, so nobody is asked whether it has to be.
    """

    def __init__(self, answer: Answering, services: tuple[str, ...], pausing: Pausing | None = None) -> None:
        check_available()
        self._answer = answer
        known = [method for method in METHODS.values() if method.service in services and not method.client_streaming]
        self._unary = frozenset(method.path for method in known if not method.server_streaming)
        self._streaming = frozenset(method.path for method in known if method.server_streaming)
        self._bound: list[tuple[list[socket.socket], Identity | None]] = []
        self._serving: list[tuple[Any, asyncio.Task[None]]] = []
        self._under_way: set[_Exchange] = set()

    def bind(self, host: str, port: int) -> int:
        """Listen on `host`; the port, or a free one for 0. `localhost` is 127.0.0.1 and, where there is IPv6, ::1.

        Raises UsageError if the port is taken or the address isn't ours.
        """
        return self._bind(host, port, "--port", None)

    def bind_tls(self, host: str, port: int, identity: Identity) -> int:
        """The same with TLS, where `identity` is shown."""
        return self._bind(host, port, "--tls-port", identity)

    def _bind(self, host: str, port: int, option: str, identity: Identity | None) -> int:
        sockets, chosen = listening(host, port, option)
        self._bound.append((sockets, identity))
        return chosen

    async def start(self) -> None:
        import h2corn
        from h2corn._lib import prepare_tls
        from h2corn._server import TlsMaterial

        for sockets, identity in self._bound:
            numbers = [one.detach() for one in sockets]
            server = h2corn.Server(self._exchange, _settings(h2corn.Config, numbers))
            shown = None if identity is None else TlsMaterial(identity.certificate, identity.key, None)
            serve = server._serve_worker_fds(numbers, prepared_tls=prepare_tls(server.config, shown))
            self._serving.append((server, asyncio.ensure_future(serve)))
            await server.wait_started()
        self._bound.clear()

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then end them."""
        for sockets, _ in self._bound:
            for one in sockets:
                one.close()
        self._bound.clear()
        for server, _ in self._serving:
            server.shutdown()
        under_way = {exchange.task for exchange in self._under_way}
        if grace and under_way:
            await asyncio.wait(under_way, timeout=grace)
        for exchange in tuple(self._under_way):
            exchange.end(_STOPPED)
        tasks = {task for _, task in self._serving}
        self._serving.clear()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                log.debug("h2corn ended with an error", exc_info=task.exception())

    async def _exchange(self, scope: Event, receive: Receive, send: Send) -> None:
        """A request and what comes of it: the application that h2corn serves."""
        call = Call(_method(scope), b"", (), "")
        try:
            encoding = _opened(call, scope)
            unary = call.method in self._unary
            if unary or call.method in self._streaming:
                request = await _only(receive, encoding)
                if request is None:
                    return
                call.request = request
            else:
                call.requests = _messages(receive, encoding)
            answered = self._answer(call)
        except Status as refused:
            drop_if_asked(call)
            await _begin(send, call)
            await _finish(send, wire.trailers(refused))
            return
        except _NoGrpc:
            await _turn_away(send)
            return
        if isinstance(answered, bytes):
            await _reply(send, call, answered)
            return
        exchange = _Exchange(call, send)
        self._under_way.add(exchange)
        try:
            await exchange.run(answered, unary)
        finally:
            self._under_way.discard(exchange)
            exchange.over()


class _Exchange:
    """A call whose answer has to be waited for, by the task that it came in."""

    def __init__(self, call: Call, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._call = call
        self._send = send
        self._begun = self._writing = False
        self._why: Status | None = None
        self._timer: asyncio.TimerHandle | None = None
        if call.deadline is not None:
            left = max(0.0, call.deadline - Monotonic.now())
            self._timer = task.get_loop().call_later(left, self.end, _LATE)

    def end(self, why: Status) -> None:
        """End the call with `why` if it hasn't ended yet."""
        if self._why is None and not self.task.done():
            self._why = why
            self.task.cancel()

    def over(self) -> None:
        """It has ended."""
        if self._timer is not None:
            self._timer.cancel()

    async def run(self, answered: Answer, unary: bool) -> None:
        """Write what `answered` gives, and how it ends."""
        try:
            await (self._reply(answered) if unary else self._stream(answered))
        except Status as status:
            await self._end(status)
        except asyncio.CancelledError:
            if self._why is None:  # the client has left
                raise
            if sys.version_info >= (3, 11):
                self.task.uncancel()
            if not self._writing:  # else the client doesn't read; what is left unfinished is reset
                await self._end(self._why)

    async def _reply(self, answered: Answer) -> None:
        reply = b""
        async with aclosing(messages_of(self._call, answered)) as messages:  # type: ignore[type-var]
            async for message in messages:
                reply = message
        self._begun = True
        await _reply(self._send, self._call, reply)

    async def _stream(self, answered: Answer) -> None:
        send = self._send
        async with aclosing(messages_of(self._call, answered)) as messages:  # type: ignore[type-var]
            async for message in messages:
                if not self._begun:
                    self._begun = True
                    await _begin(send, self._call)
                self._writing = True
                await send({"type": _BODY, "body": wire.framed(message), "more_body": True})
                self._writing = False
        if not self._begun:
            await _begin(send, self._call)
        await _finish(send, wire.well(self._call.trailers))

    async def _end(self, status: Status) -> None:
        drop_if_asked(self._call)
        if not self._begun:
            await _begin(self._send, self._call)
        await _finish(self._send, wire.trailers(status))


class _NoGrpc(Exception):
    """The request is another one than gRPC's."""


def check_available() -> None:
    """Raise UsageError where h2corn is not installed, or can't be."""
    try:
        import h2corn  # noqa: F401
    except ImportError:
        if sys.version_info < (3, 11):
            raise UsageError("engine: native needs Python 3.11 or newer; leave it out for grpc.aio") from None
        raise UsageError(f"engine: native needs h2corn: pip install '{EXTRA}'") from None


def _settings(config: Any, numbers: Sequence[int]) -> Any:
    """How h2corn is to serve: as grpc.aio does, with no limits of its own on how long and how much at once."""
    return config(
        bind=tuple(f"fd://{number}" for number in numbers),
        grpc=True,
        http1=False,
        lifespan="off",
        access_log=False,
        date_header=False,
        max_concurrent_streams=2**31 - 1,
        limit_request_fields=0,
        timeout_keep_alive=0.0,
        timeout_graceful_shutdown=_LONGEST_STOP,
        h2_timeout_response_stall=0.0,
        h2_timeout_write=0.0,
    )


def _method(scope: Event) -> str:
    """The path as it was sent: for gRPC nothing in it is escaped, nor a query."""
    path, query = scope["raw_path"], scope["query_string"]
    return str((path + b"?" + query if query else path).decode("latin-1"))


def _opened(call: Call, scope: Event) -> bytes | None:
    """Tell `call` what stands in the request's header; how its messages are compressed. Raises Status and _NoGrpc."""
    if scope["type"] != "http":
        raise _NoGrpc
    call.metadata, own = wire.metadata(scope["headers"])
    if not own.get(b"content-type", b"").startswith(b"application/grpc"):
        raise _NoGrpc
    call.peer = wire.peer(scope.get("client"))
    call.secure = scope["scheme"] == "https"
    given = own.get(b"grpc-timeout")
    left = None if given is None else wire.timeout(given)
    if left is not None:
        call.deadline = Monotonic.now() + left
    return own.get(b"grpc-encoding")


async def _only(receive: Receive, encoding: bytes | None) -> bytes | None:
    """The one message of a call; None if its client leaves before it has come. More of them would be passed over."""
    event = await receive()
    body: bytes = event.get("body", b"")
    if len(body) >= wire.PREFIX and len(body) >= (end := wire.PREFIX + wire.length(body, MOST_MESSAGE)):
        return wire.message(body[0], body[wire.PREFIX : end], encoding, MOST_MESSAGE)
    async for message in _frames(receive, encoding, event):
        return message
    if event["type"] != "http.request":
        return None
    raise Status(Code.INTERNAL, "the call has no message, and one of its kind has one")


async def _messages(receive: Receive, encoding: bytes | None) -> AsyncIterator[bytes]:
    """All messages of a call, as they come."""
    async for message in _frames(receive, encoding, await receive()):
        yield message


async def _frames(receive: Receive, encoding: bytes | None, event: Event) -> AsyncIterator[bytes]:
    """The messages in what comes, from `event` on, until the client has sent all or left."""
    held = bytearray()
    while event["type"] == "http.request":
        held += event.get("body", b"")
        while len(held) >= wire.PREFIX and len(held) >= (end := wire.PREFIX + wire.length(held, MOST_MESSAGE)):
            compressed, raw = held[0], bytes(memoryview(held)[wire.PREFIX : end])
            del held[:end]
            yield wire.message(compressed, raw, encoding, MOST_MESSAGE)
        if not event.get("more_body"):
            if held:
                raise Status(Code.INTERNAL, "the last message ends before its end")
            return
        event = await receive()


async def _begin(send: Send, call: Call) -> None:
    await send({"type": _START, "status": 200, "headers": [_TYPE, *wire.fields(call.headers)], "trailers": True})


async def _reply(send: Send, call: Call, reply: bytes) -> None:
    """All of a unary call that went well."""
    await send({"type": _START, "status": 200, "headers": [_TYPE, *wire.fields(call.headers)], "trailers": True})
    await send({"type": _BODY, "body": wire.framed(reply), "more_body": False})
    await send({"type": _TRAILERS, "headers": wire.well(call.trailers)} if call.trailers else _WELL)


async def _finish(send: Send, trailers: wire.Fields) -> None:
    await send(_NO_MORE)
    await send({"type": _TRAILERS, "headers": trailers})


async def _turn_away(send: Send) -> None:
    """As gRPC asks servers to answer other requests."""
    await send({"type": _START, "status": 415, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": _BODY, "body": b"this port speaks gRPC; HTTP is served on another\n", "more_body": False})
