"""Operations: what is under way.

An operation is a timeline, not a task. What a Get answers is a function of the record (creation time, timeline, polls,
cancellation) and the clock; nothing runs in the background, so a million waiting operations cost memory alone. Shapes
are
those of recorded traffic: a text operation has description, creator and times and no metadata; a picture's has nothing
but its id until it is done; a batch has times and metadata.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from . import wording
from .api import BatchCompletionMetadata, BatchCompletionResponse, Operation, pack
from .clock import SECOND, Clock
from .errors import Code, Status
from .replies.play import Play
from .replies.timeline import FINAL, Moment, Timeline, default_timeline, failure

RETENTION = 3 * 24 * 3600 * SECOND
"""How long a finished operation is kept (documented for async results)."""

PREFIXES: Mapping[str, str] = {"completion_async": "d7q", "generate_image": "fbv", "completion_batch": "fbi"}
DESCRIPTIONS: Mapping[str, str] = {"completion_async": "Async GPT Completion"}

_PICTURES_KEPT = 32


class Record(Struct):
    """One operation. `created` is the clock's instant (ns); `polled` the ages at which those Gets came that a stage
    of the timeline waits for; `cancelled` the age at which it was cancelled while pending.
    """

    id: str
    call: str
    created: int
    account: str
    play: Play
    task_id: str = ""
    dataset_id: str = ""
    polls: int = 0
    polled: dict[int, int] = field(default_factory=dict)
    cancelled: int | None = None

    @property
    def timeline(self) -> Timeline:
        return self.play.timeline or default_timeline(self.call)

    def moment(self, now: int) -> Moment:
        """What the operation is at the instant `now`."""
        if self.cancelled is not None:
            before = self.timeline.at(self.cancelled, self.polls, self.polled)
            return Moment("CANCELED", True, None, before.total, before.completed, self.cancelled)
        return self.timeline.at(max(0, now - self.created), self.polls, self.polled)


class Operations:
    """The operations of a session, by id."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: OrderedDict[str, Record] = OrderedDict()
        self._responses: OrderedDict[str, Any] = OrderedDict()
        self._drawing: dict[str, asyncio.Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._records)

    def start(self, record: Record) -> None:
        """Keep a new operation, and let go of those whose time is over."""
        self._records[record.id] = record
        for old in list(_first(self._records, 2)):
            if self._expired(old):
                self._forget(old.id)
            else:
                self._records.move_to_end(old.id)  # one that never ends must not keep others from being looked at

    def get(self, operation_id: str) -> Record:
        """The record of that id; it is no poll. Raises NOT_FOUND."""
        record = self._records.get(operation_id)
        if record is None or self._expired(record):
            self._forget(operation_id)
            raise Status(Code.NOT_FOUND, wording.operation_not_found(operation_id))
        return record

    def poll(self, operation_id: str) -> Record:
        """The record of that id, one Get later. Raises NOT_FOUND, or what the timeline scripts for this very Get."""
        record = self.get(operation_id)
        timeline = record.timeline
        record.polls += 1
        if any(stage.poll == record.polls for stage in timeline.stages):
            record.polled[record.polls] = self._clock.now() - record.created
        fault = timeline.faults.get(record.polls)
        if fault is not None:
            raise fault.status({})
        return record

    def cancel(self, operation_id: str) -> Record:
        """Cancel it if it is pending; a done operation stays as it is. Raises NOT_FOUND."""
        record = self.get(operation_id)
        now = self._clock.now()
        if not record.moment(now).done:
            record.cancelled = max(0, now - record.created)
        return record

    def message(self, record: Record) -> Any:
        """The Operation as clients see it now. A picture is drawn when first asked for, which takes a while: see
        `slow`.
        """
        moment = record.moment(self._clock.now())
        operation = Operation(id=record.id, done=moment.done)
        if record.call in DESCRIPTIONS:
            operation.description = DESCRIPTIONS[record.call]
            operation.created_by = record.account
        if record.call != "generate_image":
            operation.created_at.seconds = record.created // SECOND
            operation.modified_at.seconds = (record.created + moment.since) // SECOND
        if record.call == "completion_batch":
            operation.metadata.CopyFrom(pack(self._metadata(record, moment)))
        if not moment.done:
            return operation
        if moment.status != "COMPLETED":
            ended = failure(moment, {})
            operation.error.code, operation.error.message = int(ended.code), ended.message
            for detail in ended.details:
                operation.error.details.add().CopyFrom(pack(detail))
            return operation
        operation.response.CopyFrom(pack(self._response(record)))
        return operation

    def slow(self, record: Record) -> bool:
        """Whether `message` will take long enough to be asked in a thread."""
        return record.play.slow and record.id not in self._responses and record.moment(self._clock.now()).done

    async def drawn(self, record: Record) -> None:
        """Return once the response has been made, in a thread, so that `message` has it at hand; it is made once."""
        drawing = self._drawing.get(record.id)
        if drawing is None:
            drawing = self._drawing[record.id] = asyncio.ensure_future(asyncio.to_thread(record.play.final))
            drawing.add_done_callback(lambda done: self._keep(record.id, done))
        await asyncio.shield(drawing)

    def _keep(self, operation_id: str, drawing: asyncio.Future[Any]) -> None:
        self._drawing.pop(operation_id, None)
        if not drawing.cancelled() and drawing.exception() is None:
            self._store(operation_id, drawing.result())

    def _store(self, operation_id: str, response: Any) -> None:
        self._responses[operation_id] = response
        while len(self._responses) > _PICTURES_KEPT:
            self._responses.popitem(last=False)

    def _response(self, record: Record) -> Any:
        if record.play.slow:
            if record.id not in self._responses:
                self._store(record.id, record.play.final())
            return self._responses[record.id]
        response = record.play.final()
        if record.call != "completion_batch":
            return response
        own = BatchCompletionResponse()  # a rule's message is shared by all who get it
        if response is not None:
            own.CopyFrom(response)
        own.task_id = own.task_id or record.task_id
        own.task_status = own.task_status or _STATUS["COMPLETED"]
        own.result_dataset_id = own.result_dataset_id or record.dataset_id
        return own

    def _metadata(self, record: Record, moment: Moment) -> Any:
        metadata = BatchCompletionMetadata(task_id=record.task_id)
        if moment.status is not None:
            metadata.task_status = _STATUS[moment.status]
        metadata.completed_batches, metadata.total_batches = moment.completed, moment.total
        return metadata

    def _forget(self, operation_id: str) -> None:
        self._records.pop(operation_id, None)
        self._responses.pop(operation_id, None)

    def _expired(self, record: Record) -> bool:
        now = self._clock.now()
        if now - record.created < RETENTION:
            return False
        moment = record.moment(now)
        return moment.done and now - record.created - moment.since > RETENTION


def _first(records: OrderedDict[str, Record], n: int) -> list[Record]:
    found: list[Record] = []
    for record in records.values():
        if len(found) == n:
            break
        found.append(record)
    return found


_STATUS = {"CREATED": 1, "PENDING": 2, "IN_PROGRESS": 3, "COMPLETED": 4, "FAILED": 5, "CANCELED": 6}
assert set(FINAL) <= set(_STATUS)
