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
from ..call import Call
from ..clock import Monotonic
from ..errors import Code, Status, UsageError
from . import wire
from .limits import MOST_MESSAGE, MOST_METADATA, Answer

if TYPE_CHECKING:
    import socket

    from ..tls import Identity

EXTRA = "fm-emulator[native]"
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_SETTLING = 5.0
"""Real seconds that connections are given, when the server stops, for what has been answered already."""

_TYPE = (b"content-type", b"application/grpc")
_START = "http.response.start"
_BODY = "http.response.body"
_TRAILERS = "http.response.trailers"
_END: MutableMapping[str, Any] = {"type": _BODY, "body": b"", "more_body": False}
_WELL: MutableMapping[str, Any] = {"type": _TRAILERS, "headers": [(b"grpc-status", b"0")]}
_ENDING = Status(Code.UNAVAILABLE, "Cancelling all calls")  # as gRPC's core words it
_LATE = Status(Code.DEADLINE_EXCEEDED, "Deadline Exceeded")

log = logging.getLogger("emulator")


class Server:
    """Answers every method, known or not, with `answer`. Raises UsageError where h2corn isn't installed."""

    def __init__(self, answer: Answer, services: tuple[str, ...]) -> None:
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
            exchange.end(_ENDING)
        tasks = {task for _, task in self._serving}
        self._serving.clear()
        if tasks:
            await asyncio.wait(tasks)
        for task in tasks:
            if not task.cancelled() and task.exception() is not None:
                log.debug("h2corn ended with an error", exc_info=task.exception())

    async def _exchange(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request and what comes of it: the application that h2corn serves."""
        if scope["type"] != "http":
            return
        path = scope["path"]
        try:
            pairs, own = wire.metadata(scope["headers"])
            if not own.get(b"content-type", b"").startswith(b"application/grpc"):
                await _not_grpc(send)
                return
            _check_size(scope["headers"])
            given = own.get(b"grpc-timeout")
            left = None if given is None else wire.timeout(given)
            deadline = None if left is None else Monotonic.now() + left
            encoding = own.get(b"grpc-encoding")
            secure = scope["scheme"] == "https"
            call = Call(path, b"", pairs, wire.peer(scope.get("client")), deadline, secure=secure)
            unary = path in self._unary
            if unary or path in self._streaming:
                request = await _only(receive, encoding)
                if request is None:
                    return
                call.request = request
            else:
                call.requests = _messages(receive, encoding)
        except Status as refused:
            await _refuse(send, refused)
            return
        exchange = _Exchange(call, send)
        self._under_way.add(exchange)
        try:
            await exchange.run(self._answer, unary)
        finally:
            self._under_way.discard(exchange)
            exchange.over()


class _Exchange:
    """A call that is being answered, by the task that it was made in."""

    def __init__(self, call: Call, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.task = task
        self._call = call
        self._send = send
        self._begun = False
        self._why: Status | None = None
        self._timer: asyncio.TimerHandle | None = None
        if call.deadline is not None:
            left = max(0.0, call.deadline - Monotonic.now())
            self._timer = task.get_loop().call_later(left, self.end, _LATE)

    def end(self, why: Status) -> None:
        """End the call with `why` unless it has been answered."""
        if self._why is None and not self.task.done():
            self._why = why
            self.task.cancel()

    def over(self) -> None:
        """It has been answered, or its client has left."""
        if self._timer is not None:
            self._timer.cancel()

    async def run(self, answer: Answer, unary: bool) -> None:
        try:
            await (self._reply(answer) if unary else self._stream(answer))
        except Status as status:
            await self._finish(wire.trailers(status))
        except asyncio.CancelledError:
            if self._why is None:
                raise
            if sys.version_info >= (3, 11):
                self.task.uncancel()
            await self._finish(wire.trailers(self._why))

    async def _reply(self, answer: Answer) -> None:
        call, send = self._call, self._send
        reply = b""
        async with aclosing(answer(call)) as messages:  # type: ignore[type-var]
            async for message in messages:
                reply = message
        self._begun = True
        await send({"type": _START, "status": 200, "headers": [_TYPE, *wire.fields(call.headers)], "trailers": True})
        await send({"type": _BODY, "body": wire.framed(reply), "more_body": False})
        trailers = call.trailers
        await send({"type": _TRAILERS, "headers": wire.well(trailers)} if trailers else _WELL)

    async def _stream(self, answer: Answer) -> None:
        call, send = self._call, self._send
        async with aclosing(answer(call)) as messages:  # type: ignore[type-var]
            async for message in messages:
                if not self._begun:
                    await self._begin()
                await send({"type": _BODY, "body": wire.framed(message), "more_body": True})
        await self._finish(wire.well(call.trailers))

    async def _begin(self) -> None:
        self._begun = True
        headers = [_TYPE, *wire.fields(self._call.headers)]
        await self._send({"type": _START, "status": 200, "headers": headers, "trailers": True})

    async def _finish(self, trailers: Sequence[tuple[bytes, bytes]]) -> None:
        if not self._begun:
            await self._begin()
        await self._send(_END)
        await self._send({"type": _TRAILERS, "headers": trailers})


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
        h2_max_header_list_size=2 * MOST_METADATA,
        timeout_keep_alive=0.0,
        timeout_graceful_shutdown=_SETTLING,
        h2_timeout_response_stall=0.0,
        h2_timeout_write=0.0,
    )


def _check_size(fields: Sequence[tuple[bytes, bytes]]) -> None:
    size = sum(len(name) + len(value) + 32 for name, value in fields)  # as HTTP/2 counts
    if size > MOST_METADATA:
        raise Status(Code.RESOURCE_EXHAUSTED, f"received metadata size exceeds hard limit ({size} vs. {MOST_METADATA})")


async def _only(receive: Receive, encoding: bytes | None) -> bytes | None:
    """The one message of a call; None if its client leaves before it has come."""
    event = await receive()
    body = event.get("body", b"")
    if event.get("more_body") or len(body) < wire.PREFIX or len(body) != wire.PREFIX + wire.length(body, MOST_MESSAGE):
        async for message in _frames(receive, encoding, event):
            return message
        if event["type"] != "http.request":
            return None
        raise Status(Code.INTERNAL, "the call has no message, and one of its kind has one")
    return wire.message(body[0], body[wire.PREFIX :], encoding, MOST_MESSAGE)


async def _messages(receive: Receive, encoding: bytes | None) -> AsyncIterator[bytes]:
    """All messages of a call, as they come."""
    async for message in _frames(receive, encoding, await receive()):
        yield message


async def _frames(receive: Receive, encoding: bytes | None, event: MutableMapping[str, Any]) -> AsyncIterator[bytes]:
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


async def _refuse(send: Send, status: Status) -> None:
    await send({"type": _START, "status": 200, "headers": [_TYPE], "trailers": True})
    await send(_END)
    await send({"type": _TRAILERS, "headers": wire.trailers(status)})


async def _not_grpc(send: Send) -> None:
    """As gRPC asks servers to answer other requests."""
    await send({"type": _START, "status": 415, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": _BODY, "body": b"this port speaks gRPC; HTTP is served on another\n", "more_body": False})
