"""What a dataset is: its fields, what it is at an instant, and where its rows come from."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec import Struct, field

from ..api import DatasetInfo
from ..clock import SECOND
from ..content import Content
from ..rows.verdict import Fault


class Stand(Struct, frozen=True):
    """What a dataset is at an instant: its status by name (DRAFT, VALIDATING, READY, INVALID), when that last changed
    (ns), how many rows and how many bytes it tells (0 for none), and what is wrong with its rows.
    """

    status: str
    updated: int
    rows: int = 0
    size: int = 0
    faults: tuple[Fault, ...] = ()


class Origin:
    """Where the rows of a dataset come from: an upload, a fixture, a batch, whose operation has this id."""

    operation_id = ""

    @property
    def held(self) -> int:
        """Bytes that a snapshot would hold of it."""
        return 0

    def stand(self, now: int) -> Stand | None:
        """What the dataset is at the instant `now` (ns of the session's clock); None while it isn't there yet, or will
        never be. Ask `settled` first.
        """
        raise NotImplementedError

    async def settled(self, now: int) -> None:
        """Return once everything is found out that `stand(now)` tells, such as whether the rows are sound."""

    async def file(self) -> Content | None:
        """What a download of it gives: a Parquet file, made when first asked for. None while there is nothing.

        Raises FAILED_PRECONDITION where pyarrow is missing.
        """
        raise NotImplementedError

    async def lines(self) -> Content | None:
        """The rows as JSON lines; None while there are none."""
        raise NotImplementedError

    @property
    def kept(self) -> Content | None:
        """The Parquet file, where that is all there is and it is made already."""
        return None

    def never(self, now: int) -> bool:
        """Whether the dataset isn't there at the instant `now` and never will be."""
        return False

    def let_go(self, now: int) -> bool:
        """Its operation is forgotten at the instant `now`; tells whether the dataset goes with it."""
        return False

    def close(self) -> None:
        """End what is under way; nobody asks any more."""

    def under_way(self) -> Sequence[asyncio.Task[Any]]:
        """What `close` cancels, and a server that stops waits for."""
        return ()


class Dataset(Struct):
    """One dataset; `created` in ns, `account` who made it; `updated` is when somebody last changed name, description or
    labels (ns), 0 for never; `number` puts it in its order.
    """

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
    updated: int = 0
    number: int = 0


def described(dataset: Dataset, stand: Stand) -> Any:
    """The DatasetInfo that clients see, in the recorded shape: times in whole seconds, the creator twice."""
    info = DatasetInfo(
        dataset_id=dataset.id,
        folder_id=dataset.folder,
        name=dataset.name,
        description=dataset.description,
        metadata=dataset.metadata,
        status=DatasetInfo.Status.Value(stand.status),
        task_type=dataset.task_type,
        rows=stand.rows,
        size_bytes=stand.size,
        created_by_id=dataset.account,
        created_by=dataset.account,
        updated_by=dataset.account if dataset.updated else "",
        labels=dataset.labels,
        allow_data_log=dataset.allow_data_log,
    )
    info.created_at.seconds = dataset.created // SECOND
    info.updated_at.seconds = max(stand.updated, dataset.updated) // SECOND
    for fault in stand.faults:
        info.validation_error.add(error=fault.error, error_description=fault.description, row_numbers=fault.rows)
    return info
