"""The HTTP listener: sockets that listen from the start, and a server that begins with the first connection.

Importing aiohttp takes longer than the whole start of the emulator, and most never speak HTTP to it. It runs in the
loop that serves gRPC. aiohttp is an extra of the package: without it there is no listener.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import importlib.util
import logging
import socket
from collections.abc import Callable
from typing import Any

from ..addresses import listening
from ..errors import UsageError

EXTRA = "fm-emulator[http]"
DEFAULT_PORT = 50052

log = logging.getLogger("emulator.http")


def available() -> bool:
    """Whether aiohttp is installed."""
    return importlib.util.find_spec("aiohttp") is not None


class Listener:
    """`application` makes the aiohttp application when the first connection arrives."""

    def __init__(self, application: Callable[[], Any]) -> None:
        self._application = application
        self._sockets: list[socket.socket] = []
        self._beginning: asyncio.Task[None] | None = None
        self._runner: Any = None
        self._sites: list[Any] = []

    def bind(self, host: str, port: int | None) -> int:
        """Listen on `host`; the port. None takes 50052 if that is free, and 0 or a taken 50052 any free one.

        Raises UsageError if a port that was asked for is taken or the address isn't ours.
        """
        if port is None:
            with contextlib.suppress(UsageError):
                return self.bind(host, DEFAULT_PORT)
        self._sockets, chosen = listening(host, port or 0, "--http-port")
        return chosen

    def start(self) -> None:
        """Wait for the first connection, in the running loop."""
        loop = asyncio.get_running_loop()
        try:
            for one in self._sockets:
                loop.add_reader(one.fileno(), self._begin)
        except NotImplementedError:  # a loop that can't watch sockets, as there are on Windows
            self._begin()

    async def stop(self, grace: float) -> None:
        """Take no new connections, give requests under way `grace` seconds, then end them."""
        if self._beginning is not None:
            await asyncio.wait([self._beginning])
        else:
            self._unwatch()
        sites, self._sites = self._sites, []
        for site in sites:
            await site.stop()
        for one in self._sockets:
            one.close()
        self._sockets = []
        if self._runner is not None:
            under_way = self._runner.app["under way"]
            if grace and under_way:
                await asyncio.wait(under_way, timeout=grace)
            for task in under_way:
                task.cancel()
            await self._runner.cleanup()
            self._runner = None

    def _unwatch(self) -> None:
        loop = asyncio.get_running_loop()
        for one in self._sockets:
            with contextlib.suppress(NotImplementedError):
                loop.remove_reader(one.fileno())

    def _begin(self) -> None:
        """The first connection: it waits in the socket's queue until the server is there."""
        if self._beginning is None:
            self._unwatch()
            self._beginning = asyncio.ensure_future(self._serve())

    async def _serve(self) -> None:
        try:
            web = await asyncio.to_thread(importlib.import_module, "aiohttp.web")
            self._runner = web.AppRunner(self._application(), access_log=None, shutdown_timeout=0.0)
            await self._runner.setup()
            for one in self._sockets:
                site = web.SockSite(self._runner, one)
                await site.start()
                self._sites.append(site)
        except Exception:
            log.exception("HTTP can't be served: aiohttp does not start")
            for one in self._sockets:
                one.close()
