"""`Upload`: a dataset's rows on their way, from a draft to what a validation finds."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

from ..api import ValidateDatasetMetadata, ValidateDatasetResponse
from ..content import Content, Store
from ..operations import Record
from ..replies.play import Play
from .model import Origin, Stand
from .rows import Rows

UPLOADABLE = ("DRAFT", "INVALID")
"""In which rows may be uploaded."""

VALIDATION = "validate_dataset"
"""The kind of operation that checks a dataset."""


class Upload(Origin):
    """Rows that a client uploads: nothing at first, then a draft that can be validated.

    `declared` is the size in bytes of which the last URL spoke. `validation` is the operation that checks what was
    uploaded; once that is over, and the operation may be forgotten, `found` is the instant (ns) since which it is known
    what the rows are.
    """

    def __init__(self, task_type: str, drafted: int, store: Store) -> None:
        self.task_type, self.drafted = task_type, drafted
        self.declared = 0
        self.rows: Rows | None = None
        self.validation: Record | None = None
        self.found: int | None = None
        self.parts: Parts | None = None
        self._store = store
        self._joining: set[asyncio.Task[None]] = set()

    def take(self, content: Content) -> None:
        """This is what was uploaded, in place of what was before."""
        self._drop_rows()
        self.rows, self.validation, self.found = Rows(content, self.task_type, self._store), None, None

    def validate(self, record: Record) -> None:
        """The operation `record` checks it, and tells of that."""
        rows = self.rows
        assert rows is not None
        self.validation = record
        record.own().work = validating(record, rows)

    def standing(self, now: int) -> tuple[str, int | None, int]:
        """The operation that checks it and is not over, if there is one; the instant since which it is known what the
        rows are, None for not yet; and the instant since which it is a draft.
        """
        record = self.validation
        if record is None:
            return "", self.found, self.drafted
        moment = record.moment(now)
        if moment.status in ("FAILED", "CANCELED"):
            return "", None, record.changed(moment)
        return "" if moment.done else record.id, record.began("IN_PROGRESS", now), self.drafted

    def let_go(self, now: int) -> bool:
        """Its operation is forgotten: what has not been found out by then never is, and it stays a draft."""
        pending, found, self.drafted = self.standing(now)
        self.validation, self.found = None, None if pending else found
        return False

    @property
    def held(self) -> int:
        return self.rows.content.size if self.rows is not None else 0

    def stand(self, now: int) -> Stand:
        pending, found, drafted = self.standing(now)
        rows = self.rows
        if rows is None or (found is None and not pending):
            return Stand("DRAFT", drafted)
        if found is None or rows.verdict is None:
            return Stand("VALIDATING", self.validation.created if self.validation is not None else drafted)
        verdict = rows.verdict
        if verdict.sound:
            return Stand("READY", found, verdict.rows, rows.size)
        return Stand("INVALID", found, verdict.rows, rows.size, tuple(verdict.faults))

    async def settled(self, now: int) -> None:
        if self.rows is not None and self.standing(now)[1] is not None:
            await self.rows.checked()

    async def file(self) -> Content | None:
        return await self.rows.file() if self.rows is not None and (await self.rows.checked()).sound else None

    async def lines(self) -> Content | None:
        return self.rows.content if self.rows is not None else None

    def close(self) -> None:
        self._drop_rows()
        self.start_parts(None)

    def under_way(self) -> Sequence[asyncio.Task[Any]]:
        return [*self._joining, *(self.rows.under_way() if self.rows is not None else ())]

    def joining(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Parts are put together, whether or not the client waits for it."""
        task = asyncio.ensure_future(work)
        self._joining.add(task)
        task.add_done_callback(self._joined)
        return task

    def _joined(self, task: asyncio.Task[None]) -> None:
        self._joining.discard(task)
        if not task.cancelled():
            task.exception()  # whoever waits is told; if nobody does any more, it is no news

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

    @property
    def taken(self) -> int:
        """Bytes of the parts that have come."""
        return sum(content.size for content in self.contents.values())

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

    return Play("", final=final, metadata=metadata, ready=ready, timeline=record.timeline)
