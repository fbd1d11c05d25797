"""grpc.aio: the default transport. It makes a `Call` of each RPC and writes what the router yields; nothing else
knows grpc.

Messages are bytes in both directions: a deserializer that fails inside grpc.aio would reach the client as UNKNOWN.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from ..addresses import check_free, joined, on_every_loopback
from ..api import METHODS
from ..call import QUIET, Answer, Call, messages_of
from ..clock import Monotonic
from ..errors import Code, Status, UsageError
from .connections import drop_if_asked
from .limits import MOST_MESSAGE, MOST_METADATA, Answering

if TYPE_CHECKING:
    from ..tls import Identity

OPTIONS = (
    ("grpc.http2.max_ping_strikes", 0),  # or clients that keep idle connections alive, as the Go SDK does, are cut off
    ("grpc.so_reuseport", 0),  # or a taken port would be shared silently
    ("grpc.server.max_pending_requests", 100_000),  # without these two, bursts on one channel come back CANCELLED
    ("grpc.server.max_pending_requests_hard_limit", 100_000),
    ("grpc.max_receive_message_length", MOST_MESSAGE),
    ("grpc.max_metadata_size", 64 * 1024),
    ("grpc.absolute_max_metadata_size", MOST_METADATA),
)

_OFTEN = ("yandex.cloud.ai.foundation_models.", "yandex.cloud.operation.")
"""How the services begin whose methods gRPC is told of: for each it has 5 KB and a task ready from the start."""

_NOTHING = Status(Code.UNAVAILABLE, "the stream ended before its first message")
"""What a stream without messages ends with where that fault was laid over while the call was under way already."""

_CODES = {code.value[0]: code for code in grpc.StatusCode}


class Server:
    """A grpc.aio server that answers every method, known or not, with `answer`. `pausing` tells whether a stream may
    wait after its last message.
    """

    def __init__(self, answer: Answering, services: tuple[str, ...], pausing: Callable[[], bool]) -> None:
        self._answer, self._pausing = answer, pausing
        self._server = grpc.aio.server(options=OPTIONS)
        self._secure = False
        by_service: dict[str, dict[str, Any]] = {}
        for method in METHODS.values():
            if method.service in services and method.service.startswith(_OFTEN):
                by_service.setdefault(method.service, {})[method.name] = self._handler(method.path)
        for service, handlers in by_service.items():
            register = getattr(self._server, "add_registered_method_handlers", None)
            if register is not None:
                register(service, handlers)
        self._server.add_generic_rpc_handlers((_Everything(by_service, self._handler),))

    def bind(self, host: str, port: int) -> int:
        """Listen on `host`; the port, or a free one for 0. `localhost` is 127.0.0.1 and, where there is IPv6, ::1.

        Raises UsageError if the port is taken or the address isn't ours.
        """
        return on_every_loopback(self._bind_one, host, port)

    def bind_tls(self, host: str, port: int, identity: Identity) -> int:
        """The same with TLS, where `identity` is shown."""
        self._secure = True
        credentials = grpc.ssl_server_credentials([(identity.key, identity.certificate)])
        return on_every_loopback(lambda host, port: self._bind_one(host, port, credentials), host, port)

    def _bind_one(self, host: str, port: int, credentials: grpc.ServerCredentials | None = None) -> int:
        address = joined(host, port)
        if port:
            check_free(host, port, "--port" if credentials is None else "--tls-port")
        try:
            if credentials is None:
                bound = self._server.add_insecure_port(address)
            else:
                bound = self._server.add_secure_port(address, credentials)
        except RuntimeError as failed:
            raise UsageError(f"can't listen on {address}: {failed}") from None
        if not bound:
            raise UsageError(f"can't listen on {address}: it is taken, or no address of this machine")
        return int(bound)

    async def start(self) -> None:
        await self._server.start()

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then end them."""
        await self._server.stop(grace)

    def _handler(self, path: str) -> Any:
        method = METHODS.get(path)
        if method is None or method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(self._streams(path))
        if method.server_streaming:
            tools = path.startswith(QUIET)
            return _Completion(self, path) if not tools else grpc.unary_stream_rpc_method_handler(self._stream(path))
        return grpc.unary_unary_rpc_method_handler(self._unary(path))

    def _unary(self, path: str) -> Any:
        async def unary(request: bytes, context: Any) -> bytes:
            call = self._call(path, request, context)
            try:
                return await self._reply(call, context)
            except grpc.aio.InternalError:
                await _left()
                raise

        return unary

    async def _reply(self, call: Call, context: Any) -> bytes:
        try:
            answer = self._answer(call)
            reply = answer if isinstance(answer, bytes) else await _only(call, answer)
        except Status as status:
            await _end(status, call, context)
        await context.send_initial_metadata(call.headers)
        if call.trailers:
            context.set_trailing_metadata(tuple(call.trailers))
        return reply

    def _most(self, path: str) -> Any:
        """A stream whose last message is returned, so that it goes out with the status."""

        async def most(request: bytes, context: Any) -> bytes:
            call = self._call(path, request, context)
            try:
                answer = self._answer(call)
                if isinstance(answer, bytes):
                    await context.send_initial_metadata(call.headers)
                    if call.trailers:
                        context.set_trailing_metadata(tuple(call.trailers))
                    return answer
                return await self._all_but_last(call, answer, context)
            except Status as status:
                await _end(status, call, context)
                raise
            except grpc.aio.InternalError:
                await _left()
                raise

        return most

    async def _all_but_last(self, call: Call, answer: Iterator[bytes] | AsyncIterator[bytes], context: Any) -> bytes:
        written = _Written(call, context)
        try:
            if isinstance(answer, Iterator):
                with closing(answer) as ready:  # type: ignore[type-var]
                    for message in ready:
                        await written.all_but_last(message)
            else:
                async with aclosing(answer) as messages:  # type: ignore[type-var]
                    async for message in messages:
                        await written.all_but_last(message)
            if written.held is None:
                raise _NOTHING
        except Status as status:
            if written.held is not None:
                await context.write(written.held)
            await _end(status, call, context, written.begun)
        if call.trailers:
            context.set_trailing_metadata(tuple(call.trailers))
        assert written.held is not None
        return written.held

    def _stream(self, path: str) -> Any:
        async def stream(request: bytes, context: Any) -> None:
            await self._write(self._call(path, request, context), context)

        return stream

    def _streams(self, path: str) -> Any:
        async def streams(requests: AsyncIterator[bytes], context: Any) -> None:
            call = self._call(path, b"", context)
            call.requests = requests
            await self._write(call, context)

        return streams

    def _call(self, path: str, request: bytes, context: Any) -> Call:
        left = context.time_remaining()
        deadline = None if left is None else Monotonic.now() + left
        secure = self._secure and _with_tls(context)
        return Call(path, request, tuple(context.invocation_metadata() or ()), context.peer(), deadline, secure=secure)

    async def _write(self, call: Call, context: Any) -> None:
        try:
            await self._write_all(call, context)
        except grpc.aio.InternalError:
            await _left()
            raise

    async def _write_all(self, call: Call, context: Any) -> None:
        written = _Written(call, context)
        try:
            async with aclosing(messages_of(call, self._answer(call))) as messages:  # type: ignore[type-var]
                async for message in messages:
                    await written.write(message)
        except Status as status:
            await _end(status, call, context, written.begun)
        if call.trailers:
            context.set_trailing_metadata(tuple(call.trailers))


class _Written:
    """What was written of a stream: `begun` when its header was; `held`, the last message, waits for the end."""

    __slots__ = ("_call", "_context", "begun", "held")

    def __init__(self, call: Call, context: Any) -> None:
        self._call, self._context = call, context
        self.begun = False
        self.held: bytes | None = None

    async def write(self, message: bytes) -> None:
        """Write a message, the header before the first."""
        if not self.begun:
            await self._begin()
        await self._context.write(message)

    async def all_but_last(self, message: bytes) -> None:
        """Write a message, or hold it if it is the last."""
        if self._call.last:
            if not self.begun:
                await self._begin()
            self.held = message
        else:
            await self.write(message)

    async def _begin(self) -> None:
        self.begun = True
        await self._context.send_initial_metadata(self._call.headers)


class _Completion:
    """A streaming method whose answer mostly is one message.

    gRPC sends the last message of a unary call and its status in one operation, those of a stream in two, each a fifth
    of what a call costs; what arrives is the same. So streams are answered as unary calls that write messages before
    their reply, unless one may have to be told apart from its end.

    Where that comes to light only while a call waits at a gate, its last message waits for its end.
    """

    request_streaming = False
    request_deserializer = response_serializer = None
    stream_unary = stream_stream = None

    def __init__(self, server: Server, path: str) -> None:
        self._pausing = server._pausing
        self.unary_unary, self.unary_stream = server._most(path), server._stream(path)

    @property
    def response_streaming(self) -> bool:
        """Whether it is answered as a stream; asked once a call."""
        return self._pausing()


class _Everything(grpc.GenericRpcHandler):
    """Answers what isn't registered as well, what is rarely called and what there isn't: a mistyped method gets a hint
    and a journal entry.
    """

    def __init__(self, known: Mapping[str, Mapping[str, Any]], make: Callable[[str], Any]) -> None:
        self._known = {f"/{service}/{name}": h for service, handlers in known.items() for name, h in handlers.items()}
        self._make = make

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        path = handler_call_details.method
        known = self._known.get(path)
        if known is None:
            known = self._make(path)
            if path in METHODS:
                self._known[path] = known
        return known


async def _only(call: Call, answer: Answer) -> bytes:
    """The one message of a unary call's answer that has to be waited for."""
    return b"".join([one async for one in messages_of(call, answer)])


def yield_to_loop() -> bool:
    """Have gRPC's poller wait for its turn where it shares a processor with the event loop; whether that could be done.

    The poller wakes the loop for everything that happens, eight times a call. Each time the system would interrupt what
    the loop does, since who has slept comes first; as a batch thread it doesn't (Linux). A call takes 8 to 10 % less
    for it, and nothing waits where a processor is idle. For processes that do nothing else than serve.
    """
    policy: int | None = getattr(os, "SCHED_BATCH", None)
    if policy is None:
        return False
    pollers = [thread.native_id or 0 for thread in threading.enumerate() if "_poll_wrapper" in thread.name]
    try:
        for number in filter(None, pollers):
            os.sched_setscheduler(number, policy, os.sched_param(0))
    except OSError:  # not allowed
        return False
    return bool(pollers)


def _with_tls(context: Any) -> bool:
    return b"ssl" in context.auth_context().get("transport_security_type", ())


async def _left() -> None:
    """Wait to be cancelled: gRPC could not send, as the client has left, and says so to the handler a moment later. An
    error that came to it before would be logged as one of ours.
    """
    await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=1)


async def _end(status: Status, call: Call, context: Any, begun: bool = False) -> None:
    """End the RPC with `status`; abort raises, so nothing after it runs."""
    drop_if_asked(call)
    if not begun:
        await context.send_initial_metadata(call.headers)
    await context.abort(_CODES[int(status.code)], status.message, tuple(status.trailers.items()))
