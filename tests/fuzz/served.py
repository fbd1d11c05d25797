"""An emulator that answers without sockets: calls go straight to its router, and every answer is held to what a client
may be told.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

from emulator import Emulator
from emulator.api import METHODS
from emulator.call import Call, messages_of
from emulator.engine.book import Book
from emulator.errors import Code, Status

PATIENCE = 0.02
"""Real seconds after which a client leaves a call that waits: fixtures may say hours, and watchers wait for ever."""

LONG = 8
"""The same for calls that make what they need first, as snapshots do pictures: they have to end."""

MOST_TRAILERS = 8192 - 512
"""Bytes of trailers that clients take, without the few of HTTP/2's own."""

Metadata = Sequence[tuple[str, "str | bytes"]]
_KEY = re.compile(r"[0-9a-z_.\-]+")
_TEXT = re.compile(r"[ -~]*")


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.raised: list[BaseException] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info and record.exc_info[1] is not None:
            self.raised.append(record.exc_info[1])


class Served:
    """`ask` it calls, of one emulator; `begin` anew with other rules."""

    def __init__(self, fixtures: Any = (), **options: Any) -> None:
        self.emulator = Emulator(fixtures=fixtures, **{"speed": 1e6, "seed": 1, **options})
        self.book = self.emulator.book
        self._records = _Records()
        self._propagated = {name: logging.getLogger(name).propagate for name in ("emulator", "asyncio")}
        for name in self._propagated:
            logging.getLogger(name).addHandler(self._records)
            logging.getLogger(name).propagate = False
        self._loop = asyncio.new_event_loop()
        self._loop.run_until_complete(self.emulator.start())

    def close(self) -> None:
        """Stop it."""
        self._loop.run_until_complete(self.emulator.stop(0))
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        for name, propagated in self._propagated.items():
            logging.getLogger(name).removeHandler(self._records)
            logging.getLogger(name).propagate = propagated

    def begin(self, book: Book | None = None) -> None:
        """Everything as it was, with the rules of `book`, or those it came with."""

        async def renew() -> None:
            self.emulator.renew(self.emulator.config, self.book if book is None else book)

        self._loop.run_until_complete(renew())

    def ask(
        self,
        method: str,
        request: bytes,
        metadata: Metadata = (),
        scripted: bool = False,
        patience: float = PATIENCE,
    ) -> list[Any] | Status:
        """The messages of the answer, or the Status it ended with; no message where the client lost patience.

        Raises AssertionError, or what was raised within, for an answer that no client should get. `scripted`: rules may
        say any status there is.
        """
        messages, ended = self._loop.run_until_complete(self._asked(method, request, metadata, patience))
        if self._records.raised:
            raised, self._records.raised = self._records.raised, []
            raise raised[0]
        if ended is None:
            return messages
        assert scripted or ended.code not in (Code.UNKNOWN, Code.INTERNAL), f"{method}: {ended}"
        return ended

    async def _asked(
        self, method: str, request: bytes, metadata: Metadata, patience: float
    ) -> tuple[list[Any], Status | None]:
        call = Call(method, request, tuple(metadata), "ipv4:127.0.0.1:1")
        known = METHODS.get(method)
        if known is None or known.client_streaming:
            call.request, call.requests = b"", _one(request)
        raw: list[bytes] = []
        status = None
        try:
            answer = self.emulator._router.answer(call)
            if isinstance(answer, bytes):
                raw.append(answer)
            else:
                await asyncio.wait_for(_all(messages_of(call, answer), raw), patience)
        except Status as ended:
            status = ended
            _check(list(ended.trailers.items()))
        except asyncio.TimeoutError:
            assert patience < LONG, f"{method} does not end"
        _check(call.headers)
        _check(call.trailers)
        return [known.output.FromString(one) if known is not None else one for one in raw], status


_SERVING: dict[str, Served] = {}


def serving(name: str, fixtures: Any = (), **options: Any) -> Served:
    """The emulator called `name`, made of these options when it is first asked for."""
    if name not in _SERVING:
        _SERVING[name] = Served(fixtures, **options)
    return _SERVING[name]


def close() -> None:
    """Stop all that serve, the last one first, so that logging is as it was."""
    while _SERVING:
        _SERVING.popitem()[1].close()


async def _all(answer: AsyncIterator[bytes], into: list[bytes]) -> None:
    async with aclosing(answer) as messages:  # type: ignore[type-var]
        async for message in messages:
            into.append(message)
            if len(into) % 100 == 0:
                await asyncio.sleep(0)  # or nobody could lose patience


async def _one(request: bytes) -> AsyncIterator[bytes]:
    yield request


def _check(pairs: Metadata) -> None:
    """Assert that gRPC can send these, and clients take them."""
    for key, value in pairs:
        assert _KEY.fullmatch(key), f"no key of metadata: {key!r}"
        assert isinstance(value, bytes) == key.endswith("-bin"), f"{key}: {value!r}"
        assert isinstance(value, bytes) or _TEXT.fullmatch(value), f"{key}: not printable ASCII: {value!r}"
    size = sum(len(key) + len(value) * (4 / 3 if isinstance(value, bytes) else 1) + 32 for key, value in pairs)
    assert size <= MOST_TRAILERS, f"{size:.0f} bytes of metadata"
