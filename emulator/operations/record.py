"""`Record`: one operation, as small as it can be kept.

There may be a million, so a record holds what is its own (id, instant, Gets) and points at what others have, too: who
began it by which rule, its timeline, its reply as bytes. What few operations have (an end by hand, a batch) is aside.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..clock import SECOND
from ..replies.timeline import FINAL, Moment, Timeline

if TYPE_CHECKING:
    from ..batches import Batch
    from ..replies.play import Play

_YEAR_2020 = 1_577_836_800 * SECOND
"""Counted from here, an instant of these years is an int that takes 32 bytes, and 48 from 1970."""


class More(Struct, gc=False):
    """What few operations have.

    `polled` holds the Gets that a stage of the timeline waits for, each with the age at which it came, `ended` is its
    end by hand, `skew` what stepping has added to the age. A batch has a `task_id` and a `number` that grows from one
    to the next. `work` makes the reply of one that has something to find out first.
    """

    polled: tuple[tuple[int, int], ...] = ()
    ended: Moment | None = None
    skew: int = 0
    task_id: str = ""
    dataset_id: str = ""
    number: int = 0
    work: Play | None = None


NOTHING = More()
"""What an operation has that has no more; it must not be changed."""


class Begun(Struct, frozen=True, gc=False):
    """How an operation was begun: by which call and account, answered by which rule, in which folder (empty where that
    can't be told), with which timeline. Operations that have no `more` share it with others.
    """

    call: str
    account: str
    rule: str
    folder: str
    timeline: Timeline
    more: More = field(default_factory=lambda: NOTHING)


class Record(Struct, gc=False, eq=False):
    """One operation. `since_2020` is when it was created, `created` tells it; its age counts from there.

    `reply` is the final message as bytes, of which `rest` is the end that differs between calls (the usage), or draws
    it, which takes long, or is None where there is none. `gets` is twice the number of Gets, and one more where one has
    told that it is done. Each field takes 8 bytes of every operation. The collector passes records by, as it would look
    at a million; nothing that a record holds may lead back to it, but for those of batches, which are of the class
    below.
    """

    id: str
    since_2020: int
    begun: Begun
    reply: bytes | Callable[[], Any] | None = None
    rest: bytes = b""
    gets: int = 0

    def __lt__(self, other: Record) -> bool:
        """Whether its timeline ends before that of `other`, for those that end by age."""
        return self.created + (self.timeline.ends or 0) < other.created + (other.timeline.ends or 0)

    def own(self) -> More:
        """What it has that few have, to be changed."""
        if self.begun.more is NOTHING:
            self.begun = replace(self.begun, more=More())
        return self.begun.more

    @property
    def more(self) -> More:
        """What it has that few have, to be looked at."""
        return self.begun.more

    @property
    def created(self) -> int:
        """The clock's instant (ns) at which it was created."""
        return self.since_2020 + _YEAR_2020

    @property
    def timeline(self) -> Timeline:
        """What it is at which age."""
        return self.begun.timeline

    @property
    def polls(self) -> int:
        """How many Gets there were."""
        return self.gets >> 1

    @property
    def fetched(self) -> bool:
        """Whether a Get has told that it is done."""
        return bool(self.gets & 1)

    @fetched.setter
    def fetched(self, fetched: bool) -> None:
        self.gets = self.gets & ~1 | fetched

    @property
    def call(self) -> str:
        """The kind of operation, by the fixture language's name."""
        return self.begun.call

    @property
    def account(self) -> str:
        """The id of the account that began it."""
        return self.begun.account

    @property
    def rule(self) -> str:
        """What answered the call that began it, as the journal names it."""
        return self.begun.rule

    @property
    def folder(self) -> str:
        """The folder that it was begun in; empty where that can't be told."""
        return self.begun.folder

    @property
    def task_id(self) -> str:
        """The id of its task, if it is a batch."""
        return self.more.task_id

    @property
    def dataset_id(self) -> str:
        """The id of the dataset that it fills or checks."""
        return self.more.dataset_id

    @property
    def number(self) -> int:
        """For a batch, a number that grows from one to the next."""
        return self.more.number

    @property
    def ended(self) -> Moment | None:
        """Its end by hand."""
        return self.more.ended

    @property
    def batch(self) -> Batch | None:
        """What it is a batch of."""
        return None

    @property
    def work(self) -> Play | None:
        """What makes its reply, where that has to be found out."""
        return self.more.work

    @property
    def slow(self) -> bool:
        """Whether its reply is drawn when first asked for."""
        return callable(self.reply)

    @property
    def answers(self) -> bool:
        """Whether it has a response to be done with."""
        return self.reply is not None or self.more.work is not None or self.call == "completion_batch"

    def age(self, now: int) -> int:
        """Its age at the instant `now`, in ns."""
        return max(0, now - self.created) + self.more.skew

    def moment(self, now: int) -> Moment:
        """What the operation is at the instant `now`."""
        return self.more.ended or self.timeline.at(self.age(now), self.polls, dict(self.more.polled))

    def reached(self, now: int) -> dict[str, int]:
        """Each status that it has had by the instant `now`, with the instant at which it first came."""
        end = self.more.ended
        found = self.timeline.reached(self.age(now) if end is None else end.since, self.polls, dict(self.more.polled))
        if end is not None:
            found = {name: age for name, age in found.items() if age <= end.since}
            found.setdefault(end.status or "", end.since)
        return {name: max(self.created, self.created + age - self.more.skew) for name, age in found.items()}

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
        return self.created + moment.since - self.more.skew

    def count(self, polls: int, age: int) -> None:
        """Let `polls` Gets have come, the last ones at `age`."""
        for stage in self.timeline.stages:
            if stage.poll is not None and self.polls < stage.poll <= polls:
                own = self.own()
                own.polled = *own.polled, (stage.poll, age)
        self.gets = polls << 1 | self.gets & 1


class Tied(Record, gc=True, eq=False):
    """The record of a batch, which knows its record."""

    batch: Batch | None = None


def record(id: str, created: int, begun: Begun) -> Record:
    """A new operation, without a reply yet; `created` is the clock's instant (ns)."""
    return (Tied if begun.call == "completion_batch" else Record)(id, created - _YEAR_2020, begun)
