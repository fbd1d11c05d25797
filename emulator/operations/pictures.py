"""`Pictures`: replies that are drawn when somebody first asks for them, which takes a while, and the last of those."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from .record import Record

MOST_KEPT = 32
"""Pictures that are kept once they were drawn; an older one is drawn anew, and is the same."""


class Pictures:
    """`kept` tells whether a record is still there: its id may be another's by the time that a picture is drawn."""

    def __init__(self, kept: Callable[[Record], bool]) -> None:
        self._kept = kept
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        self._last: OrderedDict[str, Any] = OrderedDict()
        self._settled: dict[str, Any] = {}
        self._drawing: dict[str, asyncio.Future[Any]] = {}

    def forget(self, operation_id: str) -> None:
        """Forget that of one operation."""
        for drawn in (self._last, self._settled, self._drawing):
            drawn.pop(operation_id, None)

    def __len__(self) -> int:
        return len(self._last)

    def __contains__(self, operation_id: object) -> bool:
        """Whether it is drawn already."""
        return operation_id in self._last or operation_id in self._settled

    def raw(self, record: Record) -> bytes:
        """The picture of that record as bytes, drawn now unless it was."""
        assert callable(record.reply)
        drawn = self._last.get(record.id, self._settled.get(record.id))
        drawn = record.reply() if drawn is None else drawn
        if record.id not in self._settled:
            self._store(record, drawn)
        raw: bytes = drawn.SerializeToString(deterministic=True)
        return raw

    async def draw(self, record: Record) -> None:
        """Return once it is drawn, in a thread; it is drawn once for all who wait."""
        assert callable(record.reply)
        drawing = self._drawing.get(record.id)
        if drawing is None:
            drawing = self._drawing[record.id] = asyncio.ensure_future(asyncio.to_thread(record.reply))
            drawing.add_done_callback(lambda done: self._over(record, done))
        await asyncio.shield(drawing)

    async def settle(self, record: Record) -> None:
        """Draw it, in a thread, and have it at hand until `settled`, however many others are drawn."""
        assert callable(record.reply)
        drawn = await asyncio.to_thread(record.reply)
        if self._kept(record):
            self._settled[record.id] = drawn

    def settled(self) -> None:
        """Those that were settled are needed no longer."""
        self._settled.clear()

    def _over(self, record: Record, drawing: asyncio.Future[Any]) -> None:
        if self._drawing.get(record.id) is drawing:
            del self._drawing[record.id]
        if not drawing.cancelled() and drawing.exception() is None:
            self._store(record, drawing.result())

    def _store(self, record: Record, drawn: Any) -> None:
        if not self._kept(record):
            return
        self._last[record.id] = drawn
        while len(self._last) > MOST_KEPT:
            self._last.popitem(last=False)
