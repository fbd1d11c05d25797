"""Datasets as data: what a snapshot holds of them, their contents included, and the way back.

Uploads that are under way are no part of it. What is read may have been changed by hand, so the way back refuses what
no dataset could be: it raises ValueError that names the place.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Annotated

from msgspec import Meta, Struct, field

from ..content import Content, Store
from ..errors import Code, Status
from ..operations import Record
from .collection import Datasets
from .given import Given, Kept
from .model import Dataset, Origin
from .rows import Rows
from .upload import VALIDATION, Upload

MOST_STORED = 16 * 1024 * 1024
"""Bytes of contents that a snapshot takes (our choice)."""

_LONGEST = 2**63 - 1
_Count = Annotated[int, Meta(ge=0, le=_LONGEST)]
_Instant = Annotated[int, Meta(ge=0)]  # as those of `replies.stored`


class StoredDataset(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A dataset with its rows. `content` are the JSON lines, None for a draft without; `validation` is the pending
    operation that checks them, `found` the instant since which it is settled what they are, or since which they are
    READY where they were `given`; `batch` is the operation whose rows are in it, and where that is forgotten they are
    `given` as a Parquet `file`. Instants are ns.
    """

    id: str
    created: _Instant
    account: str
    task_type: str
    number: int
    folder: str = ""
    name: str = ""
    upload_format: str = ""
    description: str = ""
    metadata: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    allow_data_log: bool = False
    updated: _Instant = 0
    given: bool = False
    drafted: _Instant = 0
    declared: _Count = 0
    content: bytes | None = None
    validation: str = ""
    found: _Instant | None = None
    batch: str = ""
    file: bytes | None = None


class StoredDatasets(Struct, forbid_unknown_fields=True):
    """All of a session's own; `hidden` are those of fixtures that it has deleted."""

    since: _Instant
    made: _Count
    uploads: _Count
    hidden: list[str]
    datasets: list[StoredDataset]


def check_size(datasets: Datasets) -> None:
    """Raise FAILED_PRECONDITION where the contents of all datasets are too many bytes for a snapshot."""
    sizes = [(dataset.origin.held, dataset.id) for dataset in datasets.own()]
    total = sum(size for size, _ in sizes)
    if total > MOST_STORED:
        raise Status(
            Code.FAILED_PRECONDITION,
            f"the datasets of this session hold {total} bytes, and a snapshot takes {MOST_STORED}; "
            f"delete some of them, {max(sizes)[1]} first",
        )


async def settle(datasets: Datasets, operations: Container[str], now: int) -> None:
    """Make what batches have filled that are not among `operations` any more, so that `dumped` has it at hand."""
    for dataset in datasets.own():
        if _orphaned(dataset, operations):
            await datasets.stand(dataset, now)


def dumped(datasets: Datasets, operations: Container[str], now: int) -> StoredDatasets:
    """The datasets as data; what batches among `operations` have filled is with those.

    Raises what `check_size` does.
    """
    check_size(datasets)
    stored = [_stored(dataset, operations, now) for dataset in datasets.own()]
    return StoredDatasets(datasets.since, datasets.made, datasets.uploads, sorted(datasets.hidden), stored)


def _orphaned(dataset: Dataset, operations: Container[str]) -> bool:
    return bool(dataset.origin.operation_id) and dataset.origin.operation_id not in operations


def _rows(dataset: Dataset) -> Rows | None:
    return dataset.origin.rows if isinstance(dataset.origin, (Upload, Given)) else None


def _stored(dataset: Dataset, operations: Container[str], now: int) -> StoredDataset:
    origin, rows = dataset.origin, _rows(dataset)
    out = StoredDataset(
        **{name: getattr(dataset, name) for name in Dataset.__struct_fields__ if name != "origin"},
        content=rows.content.read() if rows is not None else None,
    )
    stand = origin.stand(now)
    if isinstance(origin, Kept) or _orphaned(dataset, operations):
        kept = origin.kept
        out.given, out.file = True, kept.read() if kept is not None else None
        out.found = stand.updated if stand is not None else now
    elif origin.operation_id:
        out.batch = origin.operation_id
    elif isinstance(origin, Given):
        out.given, out.found = True, origin.since
    elif isinstance(origin, Upload):
        out.declared = origin.declared
        out.validation, out.found, out.drafted = origin.standing(now)
    return out


def restored(
    stored: StoredDatasets, store: Store, operations: Mapping[str, Record], results: Mapping[str, Origin]
) -> list[Dataset]:
    """The datasets again; `operations` has those that check some of them, `results` what batches have filled, by the
    ids of their operations. Raises ValueError.
    """
    found: dict[str, Dataset] = {}
    for one in stored.datasets:
        if one.id in found:
            raise ValueError(f"dataset {one.id[:100]}: there are two of that id")
        try:
            found[one.id] = _restored(one, store, operations, results)
        except ValueError as wrong:
            raise ValueError(f"dataset {one.id[:100]}: {wrong}") from None
    return list(found.values())


def _restored(
    stored: StoredDataset, store: Store, operations: Mapping[str, Record], results: Mapping[str, Origin]
) -> Dataset:
    origin: Origin
    if stored.batch:
        if stored.batch not in results:
            raise ValueError(f"batch: there is no batch operation {stored.batch[:100]}")
        origin = results[stored.batch]
    elif stored.given:
        if stored.found is None:
            raise ValueError("found: what was given has it")
        if stored.content is not None:
            origin = Given(Rows(Content.of(stored.content), stored.task_type, store), stored.found)
        else:
            origin = Kept(store.kept(stored.file) if stored.file is not None else None, stored.found)
    else:
        origin = _uploaded(stored, store, operations)
    fields = {name: getattr(stored, name) for name in Dataset.__struct_fields__ if name != "origin"}
    return Dataset(**fields, origin=origin)


def _uploaded(stored: StoredDataset, store: Store, operations: Mapping[str, Record]) -> Upload:
    upload = Upload(stored.task_type, stored.drafted, store)
    upload.declared = stored.declared
    if stored.content is not None:
        upload.take(store.kept(stored.content))
    if stored.content is None and (stored.validation or stored.found is not None):
        raise ValueError("content: there is none, and yet it was validated")
    upload.found = stored.found
    if stored.validation:
        record = operations.get(stored.validation)
        if record is None or record.call != VALIDATION:
            raise ValueError(f"validation: there is no operation {stored.validation[:100]} that checks it")
        upload.validate(record)
    return upload
