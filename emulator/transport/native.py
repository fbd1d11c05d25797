"""The native engine: gRPC on HTTP/2 of our own, in `http2`, for one event loop and no threads.

Many times as fast as grpc.aio, by choice: `engine="native"`. It answers the same calls in the same way;
`tests/wire/test_engines.py` holds the two against each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import ssl
import tempfile
from functools import partial
from typing import TYPE_CHECKING

from ..addresses import listening
from ..api import METHODS
from .http2.calls import Calls, Serving
from .http2.connection import Connection
from .http2.request import Kind
from .limits import Answering, Pausing

if TYPE_CHECKING:
    import socket

    from ..tls import Identity

_BACKLOG = 1024
"""Connections that wait to be taken."""

_LONGEST_END = 1.0
"""Real seconds for calls that are ended to say so, and then for connections that are cut off to be gone."""


class Server:
    """Answers every method, known or not, with `answer`.

    The end of a stream is always sent apart from its last message, so nobody is asked whether it has to be.
    """

    def __init__(self, answer: Answering, services: tuple[str, ...], pausing: Pausing | None = None) -> None:
        known = [method for method in METHODS.values() if method.service in services and not method.client_streaming]
        kinds = {method.path: Kind.STREAMING if method.server_streaming else Kind.UNARY for method in known}
        self._plain, self._secure = Serving(answer, kinds, secure=False), Serving(answer, kinds, secure=True)
        self._bound: list[tuple[list[socket.socket], Identity | None]] = []
        self._listeners: list[asyncio.AbstractServer] = []

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
        loop = asyncio.get_running_loop()
        while self._bound:
            sockets, identity = self._bound.pop()
            serving = self._plain if identity is None else self._secure
            context = None if identity is None else _context(identity)
            for one in sockets:
                made = partial(Connection, serving)
                self._listeners.append(await loop.create_server(made, sock=one, backlog=_BACKLOG, ssl=context))

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then end them."""
        for sockets, _ in self._bound:
            for one in sockets:
                one.close()
        self._bound.clear()
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        emptied = asyncio.Event()
        for serving in (self._plain, self._secure):
            serving.closed = True
            serving.emptied = lambda: None if self._connections else emptied.set()
        if not self._connections:
            return
        for connection in self._connections:
            connection.stop()
        await _at_most(grace, emptied)
        running = [stream.task for connection in self._connections for stream in connection.running if stream.task]
        for connection in self._connections:
            connection.cut()
        if running:
            await asyncio.wait(running, timeout=_LONGEST_END)
        await _at_most(_LONGEST_END, emptied)
        for connection in self._connections:
            connection.drop()
        await _at_most(_LONGEST_END, emptied)

    @property
    def _connections(self) -> list[Calls]:
        return [*self._plain.connections, *self._secure.connections]


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)


def _context(identity: Identity) -> ssl.SSLContext:
    """What TLS is served with: HTTP/2 and nothing else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    # The key is read from a file, for want of another way; nobody else may open it, and it is gone at once.
    number, name = tempfile.mkstemp(prefix="fm-emulator-", suffix=".pem")
    try:
        with open(number, "wb") as file:
            file.write(identity.certificate + b"\n" + identity.key)
        context.load_cert_chain(name)
    finally:
        os.unlink(name)
    return context
