"""`Operations`: those of a session, by id, in order of creation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import wording
from ..clock import SECOND, Clock
from ..errors import Code, Status
from ..replies.play import Play
from ..replies.statuses import ScriptedStatus, packed
from ..replies.timeline import Moment, default_timeline
from ..seed import Seed
from .alike import Alike
from .ends import Ends
from .pictures import Pictures
from .record import Begun, Record
from .record import record as new_record
from .reply import parts
from .told import TOLD, told

if TYPE_CHECKING:
    from ..replies.stored import StoredOperation

RETENTION = 3 * 24 * 3600 * SECOND
"""How long a finished operation is kept (documented for async results)."""

MOST_OPERATIONS = 1_000_000
"""Operations that a session keeps unless told otherwise: about a quarter of a gigabyte, if their replies are alike."""

PREFIXES: Mapping[str, str] = {
    "completion_async": "d7q",
    "generate_image": "fbv",
    "completion_batch": "fbi",
    "validate_dataset": "fds",
}
MOST_REPLIES = 1 << 30
"""Bytes of the long replies that operations of a session keep, each counted once however many have it (our choice)."""

LONG_REPLY = 4096
"""From this many bytes on a reply counts; as many short ones as operations are bounded with those."""

_LET_GO = 4
"""Operations whose time is over that one which begins lets go of at most: many may be over at once."""


class Operations:
    """The operations of a session, by id, in order of creation, `most` of them at most."""

    def __init__(self, clock: Clock, most: int = MOST_OPERATIONS) -> None:
        self._clock, self._most = clock, most
        self._records: dict[str, Record] = {}
        self._alike = Alike()
        self._ends, self._pictures = Ends(self._keeps), Pictures(self._keeps)
        self.clear()

    def clear(self) -> None:
        """Forget all of them."""
        for record in self._records.values():
            if record.batch is not None:
                record.batch.forget()
        self._numbered = 0
        self._records = {}
        self._aside: dict[str, Record] = {}  # batches and validations, which are few
        self._long: dict[bytes, tuple[bytes, int]] = {}  # long replies, and how many operations have each
        self._replies = 0
        self._tasks: dict[str, str] = {}  # other ids that an operation has given away, with its own
        self._alike.clear()
        self._ends.clear()
        self._pictures.clear()

    def _keeps(self, record: Record) -> bool:
        return self._records.get(record.id) is record

    def remove(self, operation_id: str) -> None:
        """Forget that one."""
        self._forget(operation_id)

    def forget(self, call: str) -> None:
        """Forget those of one kind."""
        for record in tuple(self._aside.values() if call in _ASIDE else self._records.values()):
            if record.call == call:
                self._forget(record.id)

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Record]:
        """The records that are kept, the oldest first."""
        return (record for record in tuple(self._records.values()) if not self._expired(record))

    def batches(self) -> Iterator[Record]:
        """Those that are batches, the oldest first."""
        found = (record for record in tuple(self._aside.values()) if record.batch is not None)
        return (record for record in found if not self._expired(record))

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

    def begin(
        self,
        id: str,
        call: str,
        created: int,
        account: str,
        play: Play,
        *,
        folder: str = "",
        task_id: str = "",
        dataset_id: str = "",
    ) -> Record:
        """Keep a new operation of `call`, which is answered by `play`, and let go of those whose time is over.

        Raises RESOURCE_EXHAUSTED where there are as many as may be and none is done.
        """
        self._forget(id)
        self._let_go()
        self.make_room()
        record = self._record(id, call, created, account, play, folder, task_id, dataset_id)
        self._make_room_for(record)
        self._add(record)
        return record

    def make_room(self) -> None:
        """See to it that one more can be kept: that which has been done the longest goes. Raises RESOURCE_EXHAUSTED
        where none is done.
        """
        while len(self._records) >= self._most:
            done = self._ends.first(self._clock.now())
            if done is None:
                text = (
                    f"there are {self._most} operations in this session and none of them is done; finish, cancel or "
                    "reset some, or start the emulator with a higher --max-operations"
                )
                raise Status(Code.RESOURCE_EXHAUSTED, text)
            self._forget(done.id)

    def _make_room_for(self, record: Record) -> None:
        """The same for a long reply, of which there are not as many yet."""
        reply = record.reply
        if not isinstance(reply, bytes) or len(reply) < LONG_REPLY:
            return
        while reply not in self._long and self._replies + len(reply) > MOST_REPLIES:
            done = self._ends.first(self._clock.now())
            if done is None:
                text = (
                    f"the replies of the operations in this session that differ hold more than {MOST_REPLIES} bytes "
                    f"with this one of {len(reply)}, and none of the operations is done; finish, cancel or reset some"
                )
                raise Status(Code.RESOURCE_EXHAUSTED, text)
            self._forget(done.id)

    def _let_go(self) -> None:
        """Let go of some of those whose time is over."""
        now = self._clock.now()
        for _ in range(_LET_GO):
            done = self._ends.first(now - RETENTION)
            if done is None or not self._expired(done):
                return
            self._forget(done.id)

    def _record(
        self,
        id: str,
        call: str,
        created: int,
        account: str,
        play: Play,
        folder: str = "",
        task_id: str = "",
        dataset_id: str = "",
    ) -> Record:
        alike = self._alike
        timeline = play.timeline or default_timeline(call)
        record = new_record(id, created, alike.begun(Begun(call, account, play.rule, folder, timeline)))
        if play.metadata is not None or play.ready is not None:
            record.own().work = play
        else:
            reply, rest = parts(play)
            record.reply = alike.raw(reply) if isinstance(reply, bytes) and reply else reply
            record.rest = alike.raw(rest)
        if task_id or dataset_id:
            own = record.own()
            own.task_id, own.dataset_id = task_id, dataset_id
        return record

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

    def poll(self, operation_id: str) -> tuple[Record, int]:
        """The record of that id, one Get later, and the instant (ns) of that Get. Raises NOT_FOUND, or what the
        timeline scripts for this very Get.

        What that Get tells is `message` of the two; whether an earlier one has told that the operation is done,
        `fetched` says before.
        """
        record, now = self.get(operation_id), self._clock.now()
        record.count(record.polls + 1, record.age(now))
        fault = record.timeline.faults.get(record.polls)
        moment = record.moment(now)
        if moment.done and not record.fetched:
            self._over(record, moment)
        if fault is not None:
            raise fault.status({})
        record.fetched = record.fetched or moment.done
        return record, now

    # -- by hand, whatever the timeline says

    def finish(self, operation_id: str) -> Record:
        """Complete it now, with the response it would have had. Raises NOT_FOUND, and FAILED_PRECONDITION for one that
        is done already or has no response.
        """
        record, now = self._pending(operation_id)
        if not record.answers:
            text = f"operation {operation_id} has no response to finish with; fail or cancel it"
            raise Status(Code.FAILED_PRECONDITION, text)
        before = record.moment(now)
        totals = [stage.total for stage in record.timeline.stages if stage.total is not None]
        total = totals[-1] if totals else before.total
        done = max(total, before.completed)
        return self._end(record, Moment("COMPLETED", True, None, total, done, record.age(now)))

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
        return self._break_off(record, "FAILED", status, now)

    def cancel(self, operation_id: str) -> Record:
        """Cancel it if it is pending; a done operation stays as it is. Raises NOT_FOUND."""
        record, now = self.get(operation_id), self._clock.now()
        return record if record.moment(now).done else self._break_off(record, "CANCELED", None, now)

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
            record.own().skew += stage.at - age
        elif stage.poll is not None:
            record.count(stage.poll, age)
        moment = record.moment(now)
        if moment.done:
            self._over(record, moment)
        elif stage.at is not None and record.timeline.ends is not None:
            self._ends.ended(record, record.created + record.timeline.ends - record.more.skew, len(self))
        return record

    def _pending(self, operation_id: str) -> tuple[Record, int]:
        """The record, and the instant at which it is not done. Raises NOT_FOUND and FAILED_PRECONDITION."""
        record, now = self.get(operation_id), self._clock.now()
        moment = record.moment(now)
        if moment.done:
            text = f"operation {operation_id} is done already ({moment.status})"
            raise Status(Code.FAILED_PRECONDITION, text)
        return record, now

    def _break_off(self, record: Record, status: str, error: ScriptedStatus | None, now: int) -> Record:
        before = record.moment(now)
        return self._end(record, Moment(status, True, error, before.total, before.completed, record.age(now)))

    def _end(self, record: Record, end: Moment) -> Record:
        record.own().ended = end
        self._over(record, end)
        return record

    def _over(self, record: Record, moment: Moment) -> None:
        """It is done, perhaps sooner than it was expected to be."""
        ends, since = record.timeline.ends, record.changed(moment)
        if ends is not None and since >= record.created + ends:
            return
        self._ends.ended(record, min(since, self._clock.now()), len(self))

    def put_back(self) -> None:
        """The clock was put back, or they were restored: what is done is done all the same."""
        self._ends.again(self._records.values(), self._clock.now())

    # -- as data

    async def settle(self) -> int:
        """Find out, make and draw what there is to be told, one by one, so that the `dump` that follows has all at
        hand. Returns the instant of which that is true; nothing has waited since.
        """
        settled: set[str] = set()
        while True:
            now = self._clock.now()
            owing = [record for record in self if record.id not in settled and self._owes(record, now)]
            if not owing:
                return now
            for record in owing:
                settled.add(record.id)
                await self._pay(record)

    def _owes(self, record: Record, now: int) -> bool:
        if record.work is not None and record.work.ready is not None:
            return record.moment(now).status in TOLD
        if record.batch is not None:
            return not record.batch.settled(now)
        return record.slow and record.id not in self._pictures

    async def _pay(self, record: Record) -> None:
        if record.work is not None and record.work.ready is not None:
            await record.work.ready()
            return
        if record.batch is not None:
            await record.batch.results()
            return
        await self._pictures.settle(record)

    def dump(self, now: int | None = None) -> list[StoredOperation]:
        """Those that are kept, as data, in order of creation, as they are at the instant `now` (the present one if
        None) that `settle` has told. Pictures are drawn now that it has not drawn.
        """
        from .stored import stored

        now = self._clock.now() if now is None else now
        found = [stored(record, now, self._final(record)) for record in self]
        self._pictures.settled()
        return found

    def checked(self, stored: Iterable[StoredOperation]) -> list[Record]:
        """The records of that data, for `put`. Raises ValueError for data that `dump` can't have made; it names the
        operation and the place.
        """
        from ..replies.stored import within
        from .stored import restore

        records: dict[str, Record] = {}
        for one in stored:
            record = within(f"operation {one.id[:100]}", partial(restore, one, self._record))
            if record.id in records:
                raise ValueError(f"operation {record.id[:100]}: there are two of that id")
            records[record.id] = record
        if len(records) > self._most:
            text = f"it holds {len(records)} operations, and this emulator keeps {self._most}"
            raise ValueError(f"{text}; start it with a higher --max-operations")
        return list(records.values())

    def put(self, records: Iterable[Record]) -> None:
        """Keep these and no others."""
        self.clear()
        for record in records:
            self._add(record)
        self.put_back()

    def load(self, stored: Iterable[StoredOperation]) -> None:
        """`checked` and `put` in one: where it raises ValueError, what there was stays."""
        self.put(self.checked(stored))

    def _final(self, record: Record) -> bytes | None:
        """Its whole reply, drawn if need be; None where it has none, or one that is still to be found out."""
        if record.slow:
            return self._pictures.raw(record)
        return record.reply + record.rest if isinstance(record.reply, bytes) else None

    # -- as clients see them

    def message(self, record: Record, now: int | None = None) -> Any:
        """The Operation as clients see it at the instant `now` (the present one if None). A picture is drawn when
        first asked for, which takes a while: see `slow`.
        """
        return told(record, record.moment(self._clock.now() if now is None else now), self._pictures.raw)

    def slow(self, record: Record, now: int | None = None) -> bool:
        """Whether `message` will take long enough to be asked in a thread."""
        finds_out = record.work is not None and record.work.ready is not None
        if not finds_out and (not record.slow or record.id in self._pictures):
            return False
        moment = record.moment(self._clock.now() if now is None else now)
        return moment.status in TOLD if finds_out else moment.status == "COMPLETED" and moment.done

    async def drawn(self, record: Record) -> None:
        """Return once the response has been made, in a thread, so that `message` has it at hand; it is made once."""
        if record.work is not None and record.work.ready is not None:
            await record.work.ready()
            return
        if record.slow:
            await self._pictures.draw(record)

    # -- what is kept

    def _add(self, record: Record) -> None:
        if record.call in _ASIDE:
            self._aside[record.id] = record
        if record.call == "completion_batch":
            self._numbered += 1
            record.own().number = self._numbered
        self._records[record.id] = record
        self._weigh(record, 1)
        self._tasks.update((id_, record.id) for id_ in (record.task_id, record.dataset_id) if id_)
        self._ends.expect(record, len(self))

    def _weigh(self, record: Record, more: int) -> None:
        """So many more operations have the reply of that one, which is kept once."""
        reply = record.reply
        if not isinstance(reply, bytes) or len(reply) < LONG_REPLY:
            return
        kept, before = self._long.get(reply, (reply, 0))
        record.reply, after = kept, before + more
        self._replies += len(kept) * ((after > 0) - (before > 0))
        if after > 0:
            self._long[kept] = kept, after
        else:
            self._long.pop(kept, None)

    def _forget(self, operation_id: str) -> None:
        record = self._records.pop(operation_id, None)
        if record is None:
            return
        self._aside.pop(operation_id, None)
        self._weigh(record, -1)
        if record.batch is not None:
            record.batch.forget()
        for id_ in (record.task_id, record.dataset_id):
            if self._tasks.get(id_) == operation_id:
                del self._tasks[id_]
        self._pictures.forget(operation_id)

    def _expired(self, record: Record) -> bool:
        now = self._clock.now()
        if now - record.created < RETENTION:
            return False
        moment = record.moment(now)
        return moment.done and now - record.changed(moment) > RETENTION


_ASIDE = ("completion_batch", "validate_dataset")
