"""Operations: what is under way.

An operation is a timeline, not a task. What a Get answers is a function of the record (creation time, timeline, polls,
what was done to it by hand) and the clock; nothing runs in the background, so a million waiting operations cost memory
alone. Shapes are those of recorded traffic: a text operation has description, creator and times and no metadata; a
picture's has nothing but its id until it is done; a batch has times and metadata.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from . import wording
from .api import BatchCompletionMetadata, BatchCompletionResponse, Operation, RpcStatus, pack
from .clock import SECOND, Clock
from .errors import Code, Status
from .replies.play import Play
from .replies.statuses import ScriptedStatus, packed
from .replies.timeline import FINAL, Moment, Timeline, default_timeline, failure
from .seed import Seed

if TYPE_CHECKING:
    from .batches import Batch
    from .replies.stored import StoredOperation as StoredOperation

RETENTION = 3 * 24 * 3600 * SECOND
"""How long a finished operation is kept (documented for async results)."""

PREFIXES: Mapping[str, str] = {
    "completion_async": "d7q",
    "generate_image": "fbv",
    "completion_batch": "fbi",
    "validate_dataset": "fds",
}
DESCRIPTIONS: Mapping[str, str] = {"completion_async": "Async GPT Completion"}

TOLD = ("IN_PROGRESS", "COMPLETED")
"""In which an operation tells what it has found out."""

_PICTURES_KEPT = 32


def __getattr__(name: str) -> Any:
    if name == "StoredOperation":  # its classes take milliseconds to make, and only snapshots need them
        from .replies.stored import StoredOperation

        return StoredOperation
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class Record(Struct):
    """One operation.

    `created` is the clock's instant (ns); an age counts from it, and `skew` is what stepping has added to the age.
    `polled` holds the ages at which those Gets came that a stage of the timeline waits for, `asked` the instant of the
    last Get. `ended` is its end by hand. `fetched` tells whether a Get has told that it is done. `folder` is the one
    that it was begun in, empty where that can't be told. `number` grows from one to the next; `batch` is there for
    those that are batches.
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
    asked: int | None = None
    ended: Moment | None = None
    skew: int = 0
    fetched: bool = False
    folder: str = ""
    batch: Batch | None = None
    number: int = 0

    @property
    def timeline(self) -> Timeline:
        """What happens to it unless somebody steps in."""
        return self.play.timeline or default_timeline(self.call)

    def age(self, now: int) -> int:
        """Its age at the instant `now`, in ns."""
        return max(0, now - self.created) + self.skew

    def moment(self, now: int) -> Moment:
        """What the operation is at the instant `now`."""
        return self.ended or self.timeline.at(self.age(now), self.polls, self.polled)

    def reached(self, now: int) -> dict[str, int]:
        """Each status that it has had by the instant `now`, with the instant at which it first came."""
        end = self.ended
        found = self.timeline.reached(self.age(now) if end is None else end.since, self.polls, self.polled)
        if end is not None:
            found = {name: age for name, age in found.items() if age <= end.since}
            found.setdefault(end.status or "", end.since)
        return {name: max(self.created, self.created + age - self.skew) for name, age in found.items()}

    def began(self, status: str, now: int) -> int | None:
        """The instant (ns) at which it was first of that status, or had ended before it could be; None if it hasn't by
        `now`.
        """
        found = self.reached(now)
        return found.get(status, next((found[end] for end in FINAL if end in found), None))

    def changed(self, moment: Moment) -> int:
        """The instant (ns) of its last change before `moment`.

        A step ends in a change, so no last change is older than the last step, and the whole skew lies before it.
        """
        return self.created + moment.since - self.skew


class Operations:
    """The operations of a session, by id, in order of creation."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._records: dict[str, Record] = {}
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        for record in self._records.values():
            if record.batch is not None:
                record.batch.forget()
        self._numbered = 0
        self._records = {}
        self._tasks: dict[str, str] = {}  # other ids that an operation has given away, with its own
        self._old: deque[str] = deque()  # in which order to look for those whose time is over
        self._responses: OrderedDict[str, Any] = OrderedDict()
        self._drawing: dict[str, asyncio.Future[Any]] = {}
        self._at_hand: dict[str, Any] = {}

    def remove(self, operation_id: str) -> None:
        """Forget that one."""
        self._forget(operation_id)

    def forget(self, call: str) -> None:
        """Forget those of one kind."""
        for record in tuple(self._records.values()):
            if record.call == call:
                self._forget(record.id)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        """The records that are kept, the oldest first."""
        return (record for record in tuple(self._records.values()) if not self._expired(record))

    def __contains__(self, operation_id: object) -> bool:
        """Whether a Get would find an operation of that id."""
        record = self._records.get(operation_id) if isinstance(operation_id, str) else None
        return record is not None and not self._expired(record)

    def fresh(self, seed: Seed, prefix: str, *purpose: object) -> str:
        """An id for something new: that of the seed, or another where an operation that is kept has it already.

        Counters, and so seeds, begin again when they are reset, while operations may stay.
        """
        found, n = seed.identifier(prefix, *purpose), 0
        while found in self or self._tasks.get(found) in self:
            n += 1
            found = seed.identifier(prefix, *purpose, "again", n)
        return found

    def start(self, record: Record) -> None:
        """Keep a new operation, and let go of those whose time is over."""
        self._forget(record.id)
        self._add(record)
        for _ in range(min(2, len(self._old))):
            old = self._records.get(self._old[0])
            if old is not None and self._expired(old):
                self._forget(old.id)
            if old is None or old.id not in self._records:
                self._old.popleft()
            else:
                self._old.rotate(-1)  # one that never ends must not keep others from being looked at

    def get(self, operation_id: str) -> Record:
        """The record of that id; it is no poll. Raises NOT_FOUND."""
        record = self._records.get(operation_id)
        if record is None or self._expired(record):
            self._forget(operation_id)
            raise Status(Code.NOT_FOUND, wording.operation_not_found(operation_id))
        return record

    def of_task(self, task_id: str) -> Record | None:
        """The record of the batch operation whose task that is."""
        record = self._records.get(self._tasks.get(task_id, ""))
        return record if record is not None and record.task_id == task_id and not self._expired(record) else None

    def poll(self, operation_id: str) -> Record:
        """The record of that id, one Get later. Raises NOT_FOUND, or what the timeline scripts for this very Get.

        What that Get tells is `message(record, record.asked)`; whether an earlier one has told that the operation is
        done, `fetched` says before.
        """
        record = self.get(operation_id)
        timeline, now = record.timeline, self._clock.now()
        record.asked = now
        self._count(record, record.polls + 1, record.age(now))
        fault = timeline.faults.get(record.polls)
        if fault is not None:
            raise fault.status({})
        record.fetched = record.fetched or record.moment(now).done
        return record

    # -- by hand, whatever the timeline says

    def finish(self, operation_id: str) -> Record:
        """Complete it now, with the response it would have had. Raises NOT_FOUND, and FAILED_PRECONDITION for one that
        is done already or has no response.
        """
        record, now = self._pending(operation_id)
        play = record.play
        own = play.slow or play.ready is not None or record.call == "completion_batch"
        nothing = play.failure is not None or (not own and not play.final())
        if nothing:
            text = f"operation {operation_id} has no response to finish with; fail or cancel it"
            raise Status(Code.FAILED_PRECONDITION, text)
        before = record.moment(now)
        totals = [stage.total for stage in record.timeline.stages if stage.total is not None]
        total = totals[-1] if totals else before.total
        done = max(total, before.completed)
        record.ended = Moment("COMPLETED", True, None, total, done, record.age(now))
        return record

    def fail(self, operation_id: str, error: Status | Code = Code.INTERNAL) -> Record:
        """Fail it now with `error`, a code in the service's words for its call. Raises NOT_FOUND, FAILED_PRECONDITION
        for one that is done already, and INVALID_ARGUMENT for an error that is OK.
        """
        record, now = self._pending(operation_id)
        if isinstance(error, Code) and error is not Code.OK:
            error = Status(error, wording.for_code(error, folder=record.folder, call=record.call))
        if isinstance(error, Code) or error.code is Code.OK:
            raise Status(Code.INVALID_ARGUMENT, "OK is no error; leave the error out, or finish the operation")
        status = ScriptedStatus(error.code, error.message, tuple(packed(detail) for detail in error.details))
        return self._end(record, "FAILED", status, now)

    def cancel(self, operation_id: str) -> Record:
        """Cancel it if it is pending; a done operation stays as it is. Raises NOT_FOUND."""
        record, now = self.get(operation_id), self._clock.now()
        return record if record.moment(now).done else self._end(record, "CANCELED", None, now)

    def step(self, operation_id: str) -> Record:
        """Bring it to the next stage of its timeline, as if the time, or the Gets, until then had passed; what follows
        comes at the same distances. Raises NOT_FOUND, and FAILED_PRECONDITION for one that is done already or has no
        further stage.
        """
        record, now = self._pending(operation_id)
        age = record.age(now)
        stage = record.timeline.following(age, record.polls)
        if stage is None:
            text = f"operation {operation_id} has no further stage in its timeline; finish, fail or cancel it"
            raise Status(Code.FAILED_PRECONDITION, text)
        if stage.at is not None:
            record.skew += stage.at - age
        elif stage.poll is not None:
            self._count(record, stage.poll, age)
        return record

    def _pending(self, operation_id: str) -> tuple[Record, int]:
        """The record, and the instant at which it is not done. Raises NOT_FOUND and FAILED_PRECONDITION."""
        record, now = self.get(operation_id), self._clock.now()
        moment = record.moment(now)
        if moment.done:
            text = f"operation {operation_id} is done already ({moment.status})"
            raise Status(Code.FAILED_PRECONDITION, text)
        return record, now

    @staticmethod
    def _end(record: Record, status: str, error: ScriptedStatus | None, now: int) -> Record:
        before = record.moment(now)
        record.ended = Moment(status, True, error, before.total, before.completed, record.age(now))
        return record

    @staticmethod
    def _count(record: Record, polls: int, age: int) -> None:
        """Let `polls` Gets have come, the last ones at `age`."""
        for stage in record.timeline.stages:
            if stage.poll is not None and record.polls < stage.poll <= polls:
                record.polled[stage.poll] = age
        record.polls = polls

    # -- as data

    async def settle(self) -> int:
        """Find out, make and draw what there is to be told, one by one, so that the `dump` that follows has all at
        hand. Returns the instant of which that is true; nothing has waited since.
        """
        settled: set[str] = set()
        while True:
            now = self._clock.now()
            record = next((r for r in self if r.id not in settled and self._owes(r, now)), None)
            if record is None:
                return now
            settled.add(record.id)
            await self._pay(record)

    def _owes(self, record: Record, now: int) -> bool:
        if record.play.ready is not None:
            return record.moment(now).status in TOLD
        if record.batch is not None:
            return not record.batch.settled(now)
        return record.play.slow and not self._drawn(record)

    async def _pay(self, record: Record) -> None:
        if record.play.ready is not None:
            await record.play.ready()
            return
        if record.batch is not None:
            await record.batch.results()
            return
        final = await asyncio.to_thread(record.play.final)
        if self._records.get(record.id) is record:
            self._at_hand[record.id] = final

    def dump(self, now: int | None = None) -> list[StoredOperation]:
        """Those that are kept, as data, in order of creation, as they are at the instant `now` (the present one if
        None) that `settle` has told. Pictures are drawn now that it has not drawn.
        """
        now = self._clock.now() if now is None else now
        from .replies.stored import StoredOperation, stored_end, stored_response, stored_stage, stored_status

        found = []
        for record in self:
            timeline = record.timeline
            told = record.play.ready is None or record.moment(now).status in TOLD
            response_type, response = stored_response(self._final(record) if told else None)
            _, metadata = stored_response(record.play.metadata() if told and record.play.metadata else None)
            stored = StoredOperation(
                id=record.id,
                call=record.call,
                created=record.created,
                account=record.account,
                rule=record.play.rule,
                stages=[stored_stage(stage) for stage in timeline.stages],
                faults={n: stored_status(fault) for n, fault in timeline.faults.items()},
                given=timeline.given,
                response_type=response_type,
                response=response,
                metadata=metadata,
                task_id=record.task_id,
                dataset_id=record.dataset_id,
                polls=record.polls,
                polled=dict(record.polled),
                asked=record.asked,
                ended=stored_end(record.ended) if record.ended is not None else None,
                skew=record.skew,
                fetched=record.fetched,
                folder=record.folder,
                batch=record.batch.stored() if record.batch is not None else None,
            )
            found.append(stored)
        self._at_hand.clear()
        return found

    def checked(self, stored: Iterable[StoredOperation]) -> list[Record]:
        """The records of that data, for `put`. Raises ValueError for data that `dump` can't have made; it names the
        operation and the place.
        """
        from .replies.stored import within

        records: dict[str, Record] = {}
        for one in stored:
            record = within(f"operation {one.id[:100]}", partial(_restored, one))
            if record.id in records:
                raise ValueError(f"operation {record.id[:100]}: there are two of that id")
            records[record.id] = record
        return list(records.values())

    def put(self, records: Iterable[Record]) -> None:
        """Keep these and no others."""
        self.clear()
        for record in records:
            self._add(record)

    def load(self, stored: Iterable[StoredOperation]) -> None:
        """`checked` and `put` in one: where it raises ValueError, what there was stays."""
        self.put(self.checked(stored))

    def _final(self, record: Record) -> Any:
        if not record.play.slow:
            return record.play.final()
        for drawn in (self._at_hand, self._responses):
            if record.id in drawn:
                return drawn[record.id]
        return record.play.final()

    def _drawn(self, record: Record) -> bool:
        return record.id in self._at_hand or record.id in self._responses

    # -- as clients see them

    def message(self, record: Record, now: int | None = None) -> Any:
        """The Operation as clients see it at the instant `now` (the present one if None). A picture is drawn when
        first asked for, which takes a while: see `slow`.
        """
        moment = record.moment(self._clock.now() if now is None else now)
        operation = Operation(id=record.id, done=moment.done)
        if record.call in DESCRIPTIONS:
            operation.description = DESCRIPTIONS[record.call]
            operation.created_by = record.account
        if record.call != "generate_image":
            operation.created_at.seconds = record.created // SECOND
            operation.modified_at.seconds = record.changed(moment) // SECOND
        if record.call == "completion_batch":
            operation.metadata.CopyFrom(pack(self._metadata(record, moment)))
        if record.play.metadata is not None and moment.status in TOLD:
            operation.metadata.CopyFrom(pack(record.play.metadata()))
        if not moment.done:
            return operation
        if moment.status != "COMPLETED":
            operation.error.CopyFrom(error_of(moment))
            return operation
        operation.response.CopyFrom(pack(self._response(record)))
        return operation

    def slow(self, record: Record, now: int | None = None) -> bool:
        """Whether `message` will take long enough to be asked in a thread."""
        if (not record.play.slow or record.id in self._responses) and record.play.ready is None:
            return False
        moment = record.moment(self._clock.now() if now is None else now)
        if record.play.ready is not None:
            return moment.status in TOLD
        return moment.status == "COMPLETED" and moment.done

    async def drawn(self, record: Record) -> None:
        """Return once the response has been made, in a thread, so that `message` has it at hand; it is made once."""
        if record.play.ready is not None:
            await record.play.ready()
            return
        drawing = self._drawing.get(record.id)
        if drawing is None:
            drawing = self._drawing[record.id] = asyncio.ensure_future(asyncio.to_thread(record.play.final))
            drawing.add_done_callback(lambda done: self._keep(record, done))
        await asyncio.shield(drawing)

    def _keep(self, record: Record, drawing: asyncio.Future[Any]) -> None:
        if self._drawing.get(record.id) is drawing:
            del self._drawing[record.id]
        if drawing.cancelled() or drawing.exception() is not None:
            return
        if self._records.get(record.id) is record:  # else it was forgotten meanwhile, and its id may be another's
            self._store(record.id, drawing.result())

    def _store(self, operation_id: str, response: Any) -> None:
        self._responses[operation_id] = response
        while len(self._responses) > _PICTURES_KEPT:
            self._responses.popitem(last=False)

    def _response(self, record: Record) -> Any:
        if record.play.slow:
            response = self._responses[record.id] if record.id in self._responses else record.play.final()
            if self._records.get(record.id) is record:
                self._store(record.id, response)
            return response
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

    def _add(self, record: Record) -> None:
        self._numbered += 1
        record.number = self._numbered
        self._records[record.id] = record
        self._tasks.update((id_, record.id) for id_ in (record.task_id, record.dataset_id) if id_)
        self._old.append(record.id)

    def _forget(self, operation_id: str) -> None:
        record = self._records.pop(operation_id, None)
        if record is None:
            return
        if record.batch is not None:
            record.batch.forget()
        for id_ in (record.task_id, record.dataset_id):
            if self._tasks.get(id_) == operation_id:
                del self._tasks[id_]
        for drawn in (self._responses, self._at_hand, self._drawing):
            drawn.pop(operation_id, None)

    def _expired(self, record: Record) -> bool:
        now = self._clock.now()
        if now - record.created < RETENTION:
            return False
        moment = record.moment(now)
        return moment.done and now - record.changed(moment) > RETENTION


def error_of(moment: Moment) -> Any:
    """The google.rpc.Status of an operation that has ended without a response."""
    ended = failure(moment, {})
    return RpcStatus(code=int(ended.code), message=ended.message, details=map(packed, ended.details))


def _restored(stored: StoredOperation) -> Record:
    """The record of stored data. Raises ValueError."""
    from .replies.stored import check_gets, check_texts, restored_end, restored_play, restored_timeline, within

    check_texts(stored)
    if stored.call not in PREFIXES:
        raise ValueError(f"call: no such call: {stored.call[:60]!r}; there are {', '.join(PREFIXES)}")
    timeline = restored_timeline(stored)
    check_gets(stored.polls, stored.polled, timeline)
    end = stored.ended
    return Record(
        id=stored.id,
        call=stored.call,
        created=stored.created,
        account=stored.account,
        play=restored_play(stored, timeline),
        task_id=stored.task_id,
        dataset_id=stored.dataset_id,
        polls=stored.polls,
        polled=dict(stored.polled),
        asked=stored.asked,
        ended=within("ended", partial(restored_end, end, stored.skew)) if end is not None else None,
        skew=stored.skew,
        fetched=stored.fetched,
        folder=stored.folder,
    )


_STATUS = {"CREATED": 1, "PENDING": 2, "IN_PROGRESS": 3, "COMPLETED": 4, "FAILED": 5, "CANCELED": 6}
assert set(FINAL) <= set(_STATUS)
