"""Rows that are there from the start: a fixture's, or those of a snapshot whose dataset was a fixture's once, or what
a batch has filled of which nothing more is known.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from ..content import Content
from .model import Origin, Stand
from .rows import Rows


class Fixture(Struct, frozen=True, eq=False):
    """A dataset of the fixtures, checked: `raw` are its `rows` as JSON lines. An empty folder is every folder."""

    id: str
    name: str
    task_type: str
    raw: bytes
    folder: str = ""
    description: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


class Given(Origin):
    """Sound rows, READY since an instant (ns)."""

    def __init__(self, rows: Rows, since: int) -> None:
        self.rows, self.since = rows, since

    @property
    def held(self) -> int:
        return self.rows.content.size

    def stand(self, now: int) -> Stand:
        """READY, always; rows and size are there once `settled`."""
        verdict = self.rows.verdict
        return Stand("READY", self.since, verdict.rows if verdict is not None else 0, self.rows.size)

    async def settled(self, now: int) -> None:
        await self.rows.checked()

    async def file(self) -> Content:
        return await self.rows.file()

    async def lines(self) -> Content:
        return self.rows.content

    def under_way(self) -> Sequence[asyncio.Task[Any]]:
        return self.rows.under_way()

    def close(self) -> None:
        self.rows.drop()


class Kept(Origin):
    """A Parquet file, READY since an instant (ns); None where it could not be made."""

    def __init__(self, stored: Content | None, since: int) -> None:
        self.stored, self.since = stored, since

    @property
    def held(self) -> int:
        return self.stored.size if self.stored is not None else 0

    @property
    def kept(self) -> Content | None:
        return self.stored

    def stand(self, now: int) -> Stand:
        return Stand("READY", self.since, size=self.held)

    async def file(self) -> Content | None:
        return self.stored

    async def lines(self) -> Content | None:
        return None

    def close(self) -> None:
        if self.stored is not None:
            self.stored.drop()
