"""`Batch`: what a batch task is beside its operation, and `Results`, the dataset that it fills.

Everything that changes with time is a function of the operation's record. The rows are answered when somebody first
needs what they came to: the task's errors, the result's size, the file itself. That is done off the loop, once, and in
a process of its own where the dataset is large.
"""

from __future__ import annotations

import asyncio
import io
import weakref
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from . import apart, wording
from .content import MOST_IN_MEMORY, Content, Store
from .datasets import Origin, Stand
from .datasets.rows import needs
from .engine.results import Made, written, written_apart
from .engine.rows import Fork
from .errors import Code, Status
from .operations import Record, Tied
from .replies.timeline import FINAL
from .rows.parquet import available

if TYPE_CHECKING:  # its classes take milliseconds to make, and only snapshots need them
    from .replies.stored import StoredBatch, StoredOperation

UNSUPPORTED = frozenset({"yandexgpt"})
"""Models that are known not to run in batch: their tasks end FAILED soon after they were accepted (recorded)."""


BROKEN = ("FAILED", "CANCELED")
"""How a task ends that is not complete."""


class View(Struct, frozen=True):
    """A task at one instant; instants in ns, None for what has not come. `results` tells whether there is a result
    dataset, `told` whether the task tells of errors, which are known once all rows are answered.
    """

    status: str
    started: int | None = None
    finished: int | None = None
    results: bool = False
    told: bool = False


class Batch:
    """A batch inference task. `request` is the BatchCompletionRequest, `source` the dataset's JSON lines, None where
    there is no such dataset; what they come to goes to `store`. `deleted` tasks are listed no more, `logged` ones allow
    their data to be looked at.
    """

    def __init__(self, record: Record, request: Any, fork: Fork | None, source: Content | None, store: Store) -> None:
        self.record, self.request = record, request
        self.deleted = False
        self.logged = False
        self._forgotten = self._unwanted = False
        self._fork = fork
        self._source = source.hold() if source is not None else None
        self._store = store
        self._made: Made | None = None
        self._file: Content | None = None
        self._once = apart.Once(self._answer, "the batch's work on its rows")
        # The rows are needed until they are answered, or nobody asks any more.
        self._release = weakref.finalize(self, source.drop) if source is not None else None

    def view(self, now: int) -> View:
        """What the task is at the instant `now`."""
        record = self.record
        reached = record.reached(now)
        status = record.moment(now).status or "CREATED"
        finished = reached.get(status) if status in FINAL else None
        begun = [reached[name] for name in ("PENDING", "IN_PROGRESS", "COMPLETED") if name in reached]
        started = reached.get("IN_PROGRESS", finished if status == "COMPLETED" else None)
        if status == "CANCELED":  # recorded: such a task has nothing but its end
            started = None
        told = self._due(now) is not None and status not in BROKEN
        return View(status, started, finished, bool(begun), told)

    def stand(self, now: int) -> Stand | None:
        """What the result dataset is at the instant `now`; None before there is one, and where there never will be."""
        reached = self.record.reached(now)
        begun = [reached[name] for name in ("PENDING", "IN_PROGRESS", "COMPLETED") if name in reached]
        if not begun:
            return None
        due = self._due(now)
        if due is None:
            return Stand("DRAFT", min(begun))
        return Stand("READY", due, size=self._file.size if self._file is not None else 0)

    def _due(self, now: int) -> int | None:
        """Since when all rows are answered: shortly before the task is complete, as recorded. What breaks it off later
        leaves the result as it is.
        """
        reached = self.record.reached(now)
        until = min([now, *(reached[end] for end in BROKEN if end in reached)])
        stages = {stage.status: stage.at for stage in reversed(self.record.timeline.stages) if stage.at is not None}
        started, completed = stages.get("IN_PROGRESS"), stages.get("COMPLETED")
        if "IN_PROGRESS" in reached and started is not None and completed is not None and completed > started:
            due = reached["IN_PROGRESS"] + (completed - started) * 9 // 10
            if due <= until:
                return min(due, reached.get("COMPLETED", due))
        return reached.get("COMPLETED")

    # -- the rows

    @property
    def made(self) -> Made | None:
        """What the rows came to, where that is known already."""
        return self._made

    async def results(self) -> Made:
        """What the rows came to. Raises what `Once.done` does."""
        await self._once.done()
        assert self._made is not None
        return self._made

    def settled(self, now: int) -> bool:
        """Whether nothing is left to be made that anybody could ask for: all rows are answered, or never will be."""
        return self._made is not None or (self.record.moment(now).done and self._due(now) is None)

    async def file(self) -> Content:
        """The Parquet file. Raises NOT_FOUND where the result is deleted, FAILED_PRECONDITION where nothing can write
        one.
        """
        await self.results()
        if self._unwanted:
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(self.record.dataset_id))
        if self._file is None:
            raise Status(Code.FAILED_PRECONDITION, needs("pyarrow", "parquet", "results are downloaded as Parquet"))
        return self._file

    @property
    def stored_file(self) -> Content | None:
        """The Parquet file, where it is made already."""
        return self._file

    @property
    def size(self) -> int:
        """Bytes of what a snapshot would hold of it: the file, or the rows that it is still to be made of."""
        held = self._file if self._made is not None else self._source
        return held.size if held is not None else 0

    def stored(self) -> StoredBatch:
        """The batch as data; it must be `settled`."""
        from .replies.stored import StoredBatch

        made = self._made or Made()
        return StoredBatch(
            self.request.SerializeToString(deterministic=True),
            made.rows,
            made.failed,
            made.errors,
            self._file.read() if self._file is not None else None,
            self.deleted,
            self.logged,
        )

    @classmethod
    def restored(cls, record: Record, stored: StoredBatch, store: Store) -> Batch:
        """The batch of that data. Raises ValueError."""
        from .replies.stored import restored_message

        request = restored_message("yandex.cloud.ai.foundation_models.v1.BatchCompletionRequest", stored.request)
        batch = cls(record, request, None, None, store)
        batch.deleted, batch.logged = stored.deleted, stored.logged
        batch._made = Made(stored.rows, stored.failed, stored.errors)
        batch._file = store.kept(stored.file) if stored.file is not None else None
        batch._once.settle()
        return batch

    def close(self) -> None:
        """Stop working on the rows."""
        self._once.cancel()

    def forget(self) -> None:
        """Nobody asks about the task any more."""
        self._forgotten = True
        if self._unwanted:
            self.close()

    def delete(self) -> None:
        """Nobody asks for the result any more; about the task perhaps."""
        self._unwanted = True
        if self._file is not None:
            self._file.drop()
            self._file = None
        if self._forgotten:
            self.close()

    def under_way(self) -> list[asyncio.Task[None]]:
        """The work on the rows, if it is going on."""
        return self._once.under_way()

    async def _answer(self) -> None:
        assert self._fork is not None
        source = self._source or Content.of(b"")
        filed = available() and not self._unwanted
        if source.size > MOST_IN_MEMORY:
            made, file = await self._answer_apart(self._fork, source, filed)
        else:
            parquet = io.BytesIO() if filed else None
            made = await apart.in_thread(written, self._fork, source.open(), parquet)
            file = self._store.kept(parquet.getvalue()) if parquet is not None else None
        self._made, self._file = made, file
        self._fork = self._source = None
        if self._release is not None:
            self._release()
        if self._unwanted:
            self.delete()

    async def _answer_apart(self, fork: Fork, source: Content, filed: bool) -> tuple[Made, Content | None]:
        """The same in a process of its own, which writes to the disk."""
        path = self._store.free_path() if filed else None
        try:
            packed = await apart.in_thread(fork.packed)
            made: Made = await apart.in_process(written_apart, packed, source.path or source.read(), path)
            return made, await apart.in_thread(self._store.taken, path) if path is not None else None
        except BaseException:
            if path is not None:
                path.unlink(missing_ok=True)
            raise


class Results(Origin):
    """Where the rows of a result dataset come from: an `Origin`."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch
        self.operation_id = batch.record.id

    @property
    def held(self) -> int:
        return self.batch.size

    def stand(self, now: int) -> Stand | None:
        return self.batch.stand(now)

    async def settled(self, now: int) -> None:
        stand = self.batch.stand(now)
        if stand is not None and stand.status == "READY":
            await self.batch.results()

    async def file(self) -> Content | None:
        return await self.batch.file()

    async def lines(self) -> Content | None:
        """Results are answers, and no questions for another batch."""
        return None

    @property
    def kept(self) -> Content | None:
        return self.batch.stored_file

    def let_go(self, now: int) -> bool:
        stand = self.stand(now)
        return stand is None or stand.status != "READY"

    def never(self, now: int) -> bool:
        return self.batch.record.moment(now).done and self.stand(now) is None

    def close(self) -> None:
        self.batch.delete()

    def under_way(self) -> list[asyncio.Task[None]]:
        return self.batch.under_way()


def restored(records: Iterable[Record], stored: Iterable[StoredOperation], store: Store) -> dict[str, Origin]:
    """Give batch operations their batches again; what those have filled, by the operation's id. Raises ValueError."""
    from .replies.stored import within

    found: dict[str, Origin] = {}
    for record, one in zip(records, stored, strict=True):
        if (record.call == "completion_batch") != (one.batch is not None):
            raise ValueError(f"operation {record.id[:100]}: batch: a completion_batch has one, and nothing else")
        if one.batch is not None:
            assert isinstance(record, Tied)
            batch = record.batch = within(
                f"operation {record.id[:100]}", partial(Batch.restored, record, one.batch, store)
            )
            found[record.id] = Results(batch)
    return found
