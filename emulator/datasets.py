"""Datasets: what is stored. A session's datasets by id, in order of creation.

What a dataset is now is a function of the clock, as for operations: where its rows come from (`Origin`) tells it. What
its rows are is found out once, when it is first asked for, outside the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from . import wording
from .apart import in_process, in_thread
from .api import DatasetInfo, ValidateDatasetMetadata, ValidateDatasetResponse
from .clock import SECOND, Clock
from .content import MOST_IN_MEMORY, Content, Store
from .errors import Code, Status
from .operations import Record
from .replies.play import Play
from .rows.verdict import Fault, Verdict
from .seed import Seed

MOST_DATASETS = 1000
"""Datasets that a session holds (our choice)."""

FIRST = -1_000_000
"""Less than the number of every dataset: those of fixtures come first."""

UPLOADABLE = ("DRAFT", "INVALID")
"""In which rows may be uploaded."""

VALIDATION = "validate_dataset"
"""The kind of operation that checks a dataset."""


class Stand(Struct, frozen=True):
    """What a dataset is at an instant: its status by name (DRAFT, VALIDATING, READY, INVALID), when that last changed
    (ns), how many rows and how many bytes it tells (0 for none), and what is wrong with its rows.
    """

    status: str
    updated: int
    rows: int = 0
    size: int = 0
    faults: tuple[Fault, ...] = ()


class Origin(Protocol):
    """Where the rows of a dataset come from: an upload, a fixture, a batch."""

    def stand(self, now: int) -> Stand | None:
        """What the dataset is at the instant `now` (ns of the session's clock); None while it isn't there yet, or will
        never be. Ask `settled` first.
        """

    async def settled(self, now: int) -> None:
        """Return once everything is found out that `stand(now)` tells, such as whether the rows are sound."""

    async def file(self) -> Content | None:
        """What a download of it gives: a Parquet file, made when first asked for. None while there is nothing.

        Raises FAILED_PRECONDITION where pyarrow is missing.
        """

    async def lines(self) -> Content | None:
        """The rows as JSON lines; None while there are none."""

    def close(self) -> None:
        """End what is under way; nobody asks any more."""


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


class Rows:
    """JSON lines of a task type, and what becomes of them: a verdict and a Parquet file, made once, when first asked
    for, and shared by all who wait.
    """

    def __init__(self, content: Content, task_type: str, store: Store) -> None:
        self.content, self.task_type = content, task_type
        self.verdict: Verdict | None = None
        self.stored: Content | None = None
        self._store = store
        self._checking: asyncio.Task[None] | None = None

    async def checked(self) -> Verdict:
        """The verdict. Raises INTERNAL where the disk is full or the check died; it is made anew when next asked."""
        while self.verdict is None:
            if self._checking is None:
                self._checking = asyncio.ensure_future(self._check())
                self._checking.add_done_callback(self._done)
            checking = self._checking
            try:
                await asyncio.shield(checking)
            except (OSError, RuntimeError) as failed:
                raise Status(Code.INTERNAL, f"the rows could not be checked: {failed}") from None
            except asyncio.CancelledError:
                if checking.cancelled():
                    raise Status(Code.CANCELLED, "the dataset is gone") from None
                raise
        return self.verdict

    async def file(self) -> Content:
        """The rows as Parquet. Raises FAILED_PRECONDITION where pyarrow is missing, and what `checked` raises."""
        await self.checked()
        if self.stored is None:
            raise Status(Code.FAILED_PRECONDITION, needs("pyarrow", "parquet", "datasets are downloaded as Parquet"))
        return self.stored

    @property
    def size(self) -> int:
        """Bytes of what is stored: the Parquet file, or what was uploaded where pyarrow is missing."""
        return (self.stored or self.content).size

    def drop(self) -> None:
        """Let go of all of it."""
        if self._checking is not None:
            self._checking.cancel()
        for content in (self.content, self.stored):
            if content is not None:
                content.drop()

    async def _check(self) -> None:
        from .rows.check import check
        from .rows.parquet import available

        path = self._store.free_path() if available() else None
        large = self.content.size > MOST_IN_MEMORY
        source = self.content.path or self.content.read()
        try:
            verdict = await (in_process if large else in_thread)(check, source, self.task_type, path)
            if verdict.stored and path is not None:
                self.stored = await in_thread(self._store.taken, path)
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise
        self.verdict = verdict

    def _done(self, checking: asyncio.Task[None]) -> None:
        self._checking = None
        if not checking.cancelled():
            checking.exception()  # whoever waits is told; if nobody does any more, it is no news


def needs(package: str, extra: str, why: str) -> str:
    """What to install where a package is missing that is an extra of ours."""
    return f"{why}, which needs {package}: pip install 'fm-emulator[{extra}]'"


class Upload:
    """Rows that a client uploads: nothing at first, then a draft that can be validated. An `Origin`.

    `declared` is the size in bytes of which the last URL spoke. `validation` is the operation that checks what was
    uploaded.
    """

    def __init__(self, task_type: str, created: int, store: Store) -> None:
        self.task_type, self.created = task_type, created
        self.declared = 0
        self.rows: Rows | None = None
        self.validation: Record | None = None
        self.parts: Parts | None = None
        self._store = store

    def take(self, content: Content) -> None:
        """This is what was uploaded, in place of what was before."""
        self._drop_rows()
        self.rows, self.validation = Rows(content, self.task_type, self._store), None

    def validate(self, record: Record) -> None:
        """The operation `record` checks it, and tells of that."""
        rows = self.rows
        assert rows is not None
        self.validation = record
        record.play = validating(record, rows)

    def stand(self, now: int) -> Stand:
        record, rows = self.validation, self.rows
        if record is None or rows is None:
            return Stand("DRAFT", self.created)
        moment = record.moment(now)
        if moment.status in ("FAILED", "CANCELED"):
            return Stand("DRAFT", record.changed(moment))
        found = record.began("IN_PROGRESS", now)
        if found is None or rows.verdict is None:
            return Stand("VALIDATING", record.created)
        verdict = rows.verdict
        if verdict.sound:
            return Stand("READY", found, verdict.rows, rows.size)
        return Stand("INVALID", found, verdict.rows, rows.size, tuple(verdict.faults))

    async def settled(self, now: int) -> None:
        if self.rows is None or self.validation is None or self.validation.began("IN_PROGRESS", now) is None:
            return
        await self.rows.checked()

    async def file(self) -> Content | None:
        return await self.rows.file() if self.rows is not None and (await self.rows.checked()).sound else None

    async def lines(self) -> Content | None:
        return self.rows.content if self.rows is not None else None

    def close(self) -> None:
        self._drop_rows()
        self.start_parts(None)

    def start_parts(self, parts: Parts | None) -> None:
        """Parts are uploaded from now on, in place of those before; None for no more."""
        before, self.parts = self.parts, parts
        if before is not None:
            before.drop()

    def _drop_rows(self) -> None:
        if self.rows is not None:
            self.rows.drop()
            self.rows = None


class Parts:
    """An upload by parts: `id` of the upload, how many parts it has and what has come of them, by number from 1."""

    def __init__(self, id: str, count: int, size: int) -> None:
        self.id, self.count, self.size = id, count, size
        self.contents: dict[int, Content] = {}

    def take(self, number: int, content: Content) -> None:
        """This is that part, in place of what was before."""
        before = self.contents.pop(number, None)
        if before is not None:
            before.drop()
        self.contents[number] = content

    def joined(self, store: Store) -> Content:
        """All parts as one; this takes as long as copying them. Raises OSError where the disk is full."""
        writer = store.writer()
        try:
            for number in sorted(self.contents):
                with self.contents[number].open() as part:
                    while chunk := part.read(1 << 20):
                        writer.write(chunk)
            return writer.finish()
        except BaseException:
            writer.discard()
            raise

    def drop(self) -> None:
        """Let go of all parts."""
        for content in self.contents.values():
            content.drop()
        self.contents.clear()


def validating(record: Record, rows: Rows) -> Play:
    """What the operation of a validation tells: how many rows there are once that is found out, then whether they are
    sound (recorded).
    """
    id_ = record.dataset_id

    def metadata() -> Any:
        verdict = rows.verdict
        assert verdict is not None
        return ValidateDatasetMetadata(
            dataset_id=id_, valid_rows=verdict.valid, processed_rows=verdict.rows, total_rows=verdict.rows
        )

    def final() -> Any:
        verdict = rows.verdict
        assert verdict is not None
        response = ValidateDatasetResponse(dataset_id=id_, is_valid=verdict.sound)
        for fault in verdict.faults:
            response.errors.add(error=fault.error, error_description=fault.description, row_numbers=fault.rows)
        return response

    async def ready() -> None:
        await rows.checked()

    return Play("", final=final, metadata=metadata, ready=ready, timeline=record.play.timeline)


class Datasets:
    """The datasets of a session. `store` holds their contents; `made` and `uploads` count those ever created and
    uploads by parts ever begun.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.store = Store()
        self.made = self.uploads = 0
        self._all: dict[str, Dataset] = {}

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Dataset]:
        """Those that are there, the oldest first. What is asked of their rows may have to settle first."""
        now = self._clock.now()
        return (dataset for dataset in tuple(self._all.values()) if dataset.origin.stand(now) is not None)

    def __contains__(self, dataset_id: object) -> bool:
        found = self._all.get(dataset_id) if isinstance(dataset_id, str) else None
        return found is not None and found.origin.stand(self._clock.now()) is not None

    def owns(self, dataset_id: str) -> bool:
        """Whether that is the id of a dataset which only this session has."""
        return dataset_id in self._all

    def get(self, dataset_id: str) -> Dataset:
        """The dataset of that id. Raises NOT_FOUND."""
        if dataset_id not in self:
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset_id))
        return self._all[dataset_id]

    async def look(self, dataset_id: str) -> tuple[Dataset, Stand]:
        """The dataset of that id and what it is now. Raises NOT_FOUND."""
        dataset, now = self.get(dataset_id), self._clock.now()
        await dataset.origin.settled(now)
        stand = dataset.origin.stand(now)
        assert stand is not None
        return dataset, stand

    def fresh(self, seed: Seed, *purpose: object) -> str:
        """An id for something new."""
        found, n = seed.identifier("fds", *purpose), 0
        while found in self._all:
            n += 1
            found = seed.identifier("fds", *purpose, "again", n)
        return found

    def add(self, dataset: Dataset) -> None:
        """Keep a new one. Raises RESOURCE_EXHAUSTED at the limit."""
        if len(self._all) >= MOST_DATASETS:
            text = f"there are {MOST_DATASETS} datasets in this session; delete some"
            raise Status(Code.RESOURCE_EXHAUSTED, text)
        self.made += 1
        dataset.number = self.made
        self._all[dataset.id] = dataset

    def change(self, dataset_id: str, changes: Mapping[str, Any]) -> Dataset:
        """Change fields of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.updated = self._clock.now()
        return dataset

    async def joined(self, dataset: Dataset, parts: Parts) -> None:
        """Put the parts together, in a thread; they are what was uploaded. Raises INTERNAL where the disk is full, and
        NOT_FOUND where the dataset is deleted meanwhile.
        """
        try:
            content = await in_thread(parts.joined, self.store)
        except OSError as failed:
            raise Status(Code.INTERNAL, f"the parts could not be joined: {failed.strerror or failed}") from None
        finally:
            parts.drop()
        if self._all.get(dataset.id) is not dataset or not isinstance(dataset.origin, Upload):
            content.drop()
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset.id))
        dataset.origin.take(content)

    def delete(self, dataset_id: str) -> Dataset:
        """Let go of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        del self._all[dataset_id]
        dataset.origin.close()
        return dataset

    def clear(self) -> None:
        """Let go of all."""
        for dataset in self._all.values():
            dataset.origin.close()
        self._all.clear()
        self.made = self.uploads = 0

    def close(self) -> None:
        """Let go of all, and of the files."""
        self.clear()
        self.store.close()


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
