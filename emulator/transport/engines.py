"""The engines that there are, and what each of them does."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from .limits import Answering, Pausing

if TYPE_CHECKING:
    from ..tls import Identity


class Server(Protocol):
    """Answers calls at the addresses that it is bound to, from `start` to `stop`."""

    def bind(self, host: str, port: int) -> int:
        """Listen on `host`; the port, or a free one for 0. Raises UsageError if it can't be had."""

    def bind_tls(self, host: str, port: int, identity: Identity) -> int:
        """The same with TLS, where `identity` is shown."""

    async def start(self) -> None:
        """Serve, in the running loop."""

    async def stop(self, grace: float) -> None:
        """Take no new calls, give those under way `grace` seconds, then end them."""


def engine(name: str) -> Callable[[Answering, tuple[str, ...], Pausing], Server]:
    """What makes a server of the engine called `name`, imported when it is chosen.

    It takes whom to ask for answers, the names of the services, and whether streams may end apart from their last
    message. Raises UsageError, when called, where the engine is not installed.
    """
    if name == "native":
        from . import native

        return native.Server
    from . import grpc_aio

    return grpc_aio.Server
