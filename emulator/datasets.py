"""Datasets: what is stored. A session's datasets by id, in order of creation.

What a dataset is now is a function of the clock, as for operations: where its rows come from (`Origin`) tells it.
"""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct, field

from .content import Content


class Stand(Struct, frozen=True):
    """What a dataset is at an instant: its status by name (DRAFT, VALIDATING, READY, INVALID), when that last changed
    (ns), and how many rows it tells (0 for none).
    """

    status: str
    updated: int
    rows: int = 0


class Origin(Protocol):
    """Where the rows of a dataset come from: an upload, a fixture, a batch."""

    def stand(self, now: int) -> Stand | None:
        """What the dataset is at the instant `now` (ns of the session's clock); None while it isn't there yet, or will
        never be.
        """

    async def file(self) -> Content | None:
        """What a download of it gives: a Parquet file, made when first asked for. None while there is nothing."""


class Dataset(Struct):
    """One dataset; `created` in ns, `account` who made it."""

    id: str
    folder: str
    name: str
    created: int
    account: str
    task_type: str
    origin: Origin
    upload_format: str = ""
    description: str = ""
    metadata: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    allow_data_log: bool = False
