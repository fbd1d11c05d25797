"""grpc.health.v1: a state for every service and, under the empty name, for the server as a whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping

from ..api import HealthCheckResponse, HealthListResponse
from ..call import Call, parsed
from ..errors import Code, Status
from ..gates import Handler

SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3
_SERVICE = "/grpc.health.v1.Health/"


class Health:
    """The states; `Watch` streams end when the server shuts down."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {"": SERVING}
        self._changed: set[asyncio.Event] = set()
        self._over = False

    def serve(self, services: Iterable[str]) -> None:
        """These services serve from now on."""
        self._states.update(dict.fromkeys(services, SERVING))

    def shut_down(self) -> None:
        """Nothing serves any more; watchers are told, and then their streams end."""
        self._states = dict.fromkeys(self._states, NOT_SERVING)
        self._over = True
        for event in self._changed:
            event.set()

    def handlers(self) -> Mapping[str, Handler]:
        """The service's methods by path."""
        return {_SERVICE + "Check": self._check, _SERVICE + "Watch": self._watch, _SERVICE + "List": self._list}

    async def _check(self, call: Call) -> AsyncIterator[bytes]:
        name = parsed(call).service
        if name not in self._states:
            raise Status(Code.NOT_FOUND, f"no such service: {name}; List tells them all")
        yield HealthCheckResponse(status=self._states[name]).SerializeToString()

    async def _list(self, call: Call) -> AsyncIterator[bytes]:
        parsed(call)
        response = HealthListResponse()
        for name, state in self._states.items():
            response.statuses[name].status = state
        yield response.SerializeToString()

    async def _watch(self, call: Call) -> AsyncIterator[bytes]:
        name = parsed(call).service
        changed = asyncio.Event()
        self._changed.add(changed)
        try:
            while True:
                changed.clear()
                yield HealthCheckResponse(status=self._states.get(name, SERVICE_UNKNOWN)).SerializeToString()
                if self._over:
                    raise Status(Code.UNAVAILABLE, "the emulator is shutting down")
                await changed.wait()
        finally:
            self._changed.discard(changed)
