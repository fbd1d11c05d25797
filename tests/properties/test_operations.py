"""Any history of operations, held against a model that lives through it step by step."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

import emulator.operations.collection as bounds
from emulator.api import (
    BatchCompletionMetadata,
    CompletionResponse,
    ImageGenerationResponse,
    ValidateDatasetResponse,
)
from emulator.clock import SECOND, Clock
from emulator.errors import Code, Status
from emulator.operations import PREFIXES, RETENTION, Operations, Record
from emulator.replies.play import Play
from emulator.replies.statuses import ScriptedStatus
from emulator.replies.timeline import DEFAULTS, FINAL, Stage, Timeline
from emulator.seed import Seed

BEGAN = 1_700_000_000 * SECOND
LOST = ScriptedStatus(Code.INTERNAL, "узел потерян")
BUSY = ScriptedStatus(Code.UNAVAILABLE, "занят")
LONG = 600
"""From this many bytes on a reply counts here, and three of them are as many as may be."""


@st.composite
def timelines(draw: Any, call: str) -> Timeline | None:
    """Of every shape that a fixture can give, at few instants, so that they meet."""
    shape = draw(st.sampled_from(("default", "ages", "ages with a failing Get", "Gets", "never")))
    faults = dict.fromkeys(draw(st.sets(st.integers(1, 4), max_size=2)), BUSY)
    if shape == "default":
        return None
    if shape == "never":
        return Timeline((Stage(at=draw(st.integers(0, 3)) * SECOND),), faults)
    n = draw(st.integers(1, 4))
    places = sorted(draw(st.lists(st.integers(0, 6), min_size=n, max_size=n)))
    total = draw(st.integers(0, 9)) if call == "completion_batch" else None
    said = sorted(draw(st.lists(st.integers(0, total or 0), min_size=n, max_size=n)))
    stages = []
    for i, place in enumerate(places):
        last = i == n - 1
        status = draw(st.sampled_from(FINAL if last else ("CREATED", "PENDING", "IN_PROGRESS", "COMPLETED")))
        error = draw(st.sampled_from((LOST, BUSY, None))) if status == "FAILED" else None
        completed = said[i] if total is not None and status != "COMPLETED" and draw(st.booleans()) else None
        where: dict[str, int] = {"poll": place + 1} if shape == "Gets" else {"at": place * SECOND}
        stages.append(
            Stage(**where, status=status, done=last, error=error, total=None if i else total, completed=completed)
        )
    if shape == "ages with a failing Get":
        stages.insert(0, Stage(poll=draw(st.integers(1, 4)), status="FAILED", done=True, error=LOST))
    return Timeline(tuple(stages), faults)


@dataclass
class Life:
    """What an operation is to be, as somebody would know who has watched it all the time."""

    call: str
    timeline: Timeline
    created: int
    reply: bytes
    age: int = 0
    polls: int = 0
    status: str | None = None
    done: bool = False
    error: ScriptedStatus | None = None
    total: int = 0
    completed: int = 0
    over: int = 0
    fetched: bool = False
    _stage: int | None = None

    def __post_init__(self) -> None:
        self._reached: set[int] = set()
        self.grow(0, self.created)

    def grow(self, by: int, now: int) -> None:
        """It gets older by so much, until `now`."""
        until = self.age + by
        due = [(s.at, i) for i, s in enumerate(self.timeline.stages) if s.at is not None and s.at <= until]
        for at, i in sorted(due):
            if i not in self._reached and not self.done:
                self._reach(i, now - (until - at))
        self.age = until

    def get(self, now: int) -> None:
        """A Get comes."""
        self.polls += 1
        self._count(now)

    def _count(self, now: int) -> None:
        for i, stage in enumerate(self.timeline.stages):
            if stage.poll is not None and stage.poll <= self.polls and i not in self._reached and not self.done:
                self._reach(i, now)

    def _reach(self, i: int, now: int) -> None:
        stage = self.timeline.stages[i]
        self.completed = self.progress()  # as far as it had come by then
        self._reached.add(i)
        self._stage, self.status, self.done, self.error = i, stage.status, stage.done, stage.error
        self.total = self.total if stage.total is None else stage.total
        if stage.completed is not None:
            self.completed = stage.completed
        elif stage.status == "COMPLETED":
            self.completed = self.total
        if stage.done:
            self.over = now

    def progress(self) -> int:
        """Batches completed by now: a share of the way to the next stage."""
        if self.done or self._stage is None:
            return self.completed
        stages, i = self.timeline.stages, self._stage
        this, following = stages[i], stages[i + 1] if i + 1 < len(stages) else None
        if following is None or following.at is None or this.at is None or this.status != "IN_PROGRESS":
            return self.completed
        goal = following.completed
        if goal is None:
            goal = self.total if following.status == "COMPLETED" else self.completed
        if goal <= self.completed or following.at <= this.at:
            return self.completed
        share = min(Fraction(self.age - this.at, following.at - this.at), Fraction(1))
        return self.completed + int(share * (goal - self.completed))

    def end(self, status: str, error: ScriptedStatus | None, now: int) -> None:
        """Somebody ends it by hand."""
        self.completed = self.progress()
        if status == "COMPLETED":
            totals = [stage.total for stage in self.timeline.stages if stage.total is not None]
            self.total = totals[-1] if totals else self.total
            self.completed = max(self.completed, self.total)
        self.status, self.done, self.error, self.over = status, True, error, now

    def step(self, now: int) -> bool:
        """It is brought to its next stage; False where there is none."""
        stages = self.timeline.stages
        ages = sorted(s.at for s in stages if s.at is not None and s.at > self.age)
        ends = {s.at for s in stages if s.done and s.at is not None}
        polls = sorted(s.poll for s in stages if s.poll is not None and s.poll > self.polls)
        if ages and (ages[0] not in ends or not polls or any(s.at == ages[0] and not s.done for s in stages)):
            self.grow(ages[0] - self.age, now)
        elif polls:
            self.polls = polls[0]
            self._count(now)
        else:
            return False
        return True


class Histories(RuleBasedStateMachine):
    """Operations under a clock that goes on, a few of which are kept."""

    ids: Bundle[str] = Bundle("ids")

    @initialize(most=st.integers(1, 6))
    def begin(self, most: int) -> None:
        self.before = bounds.LONG_REPLY, bounds.MOST_REPLIES
        bounds.LONG_REPLY, bounds.MOST_REPLIES = LONG, 3 * LONG + LONG // 2
        self.clock = Clock(BEGAN, frozen=True)
        self.most = most
        self.operations = Operations(self.clock, most)
        self.lives: dict[str, Life] = {}
        self.made = 0
        self.given: set[str] = set()

    def teardown(self) -> None:
        if hasattr(self, "before"):
            bounds.LONG_REPLY, bounds.MOST_REPLIES = self.before

    # -- what happens

    @rule(
        target=ids, data=st.data(), call=st.sampled_from(sorted(PREFIXES)), text=st.sampled_from(("", "а", "б" * LONG))
    )
    def create(self, data: st.DataObject, call: str, text: str) -> Any:
        timeline = data.draw(timelines(call))
        size = len(text.encode())
        finals: dict[str, Any] = {
            "completion_async": CompletionResponse(alternatives=[{"message": {"text": f"{text}{self.made % 3}"}}]),
            "generate_image": ImageGenerationResponse(image=f"{text}{self.made % 4}".encode()),
            "completion_batch": None,
            "validate_dataset": ValidateDatasetResponse(dataset_id="fds1", is_valid=True),
        }
        final = finals[call]
        slow = call == "generate_image" and size < 3
        play = Play("a rule", final=lambda: final, timeline=timeline, slow=slow)
        raw = final.SerializeToString(deterministic=True) if final is not None else b""
        self.made += 1
        now = self.clock.now()
        id_ = self.operations.fresh(Seed(3), PREFIXES[call], "operation", self.made)
        assert id_ not in self.given
        evicted = self._evicted_for(b"" if slow else raw)
        begin = partial(self.operations.begin, id_, call, now, "aje1", play)
        if evicted is None:  # there is no room, and nothing is done
            with pytest.raises(Status, match=r"none of (them|the operations) is done"):
                begin(task_id=f"t{self.made}", dataset_id=f"f{self.made}")
            self._forget_gone()
            return multiple()
        begin(task_id=f"t{self.made}", dataset_id=f"f{self.made}")
        self.given.add(id_)
        self._forget_gone()
        self.lives[id_] = Life(call, timeline or Timeline(DEFAULTS[call]), now, raw)
        return id_

    def _there(self) -> dict[str, Life]:
        now = self.clock.now()
        return {id_: life for id_, life in self.lives.items() if not life.done or now - life.over <= RETENTION}

    def _evicted_for(self, raw: bytes) -> list[str] | None:
        """Those that have to go for one more with that reply, of which one that is done goes as the oldest; None where
        none is done.
        """
        there = dict(self._there())
        gone: list[str] = []
        # What is past its time may be kept still, and goes first.
        expired = [id_ for id_ in self.lives if id_ not in there]
        for id_ in expired:
            self.lives.pop(id_)

        def over() -> bool:
            long = {life.reply for life in there.values() if _counts(life)}
            more = 0 if len(raw) < LONG or raw in long else len(raw)
            return len(there) >= self.most or bool(more and sum(map(len, long)) + more > bounds.MOST_REPLIES)

        while over():
            done = sorted((life.over, id_) for id_, life in there.items() if life.done)
            if not done:
                return None
            first = [id_ for at, id_ in done if at == done[0][0]]
            self.candidates = {*getattr(self, "candidates", ()), *first}
            gone.append(first[0])
            del there[first[0]]
        return gone

    def _forget_gone(self) -> None:
        """What was evicted is known by now: each is of those that had been done the longest."""
        gone = {id_ for id_ in self.lives if id_ not in self.operations}
        stay = [life.over for id_, life in self.lives.items() if life.done and id_ not in gone]
        for id_ in gone:
            life = self.lives.pop(id_)
            assert life.done, "what is under way was evicted"
            assert all(life.over <= other for other in stay), "one that is done longer stayed"

    @rule(by=st.sampled_from((0, 1, SECOND // 2, SECOND, SECOND, 2 * SECOND, 5 * SECOND, RETENTION, RETENTION + 1)))
    def advance(self, by: int) -> None:
        self.clock.set(self.clock.now() + by, True, 1)
        for life in self.lives.values():
            life.grow(by, self.clock.now())

    @rule(id_=ids)
    def get(self, id_: str) -> None:
        life, now = self._there().get(id_), self.clock.now()
        if life is None:
            return self._not_found(self.operations.poll, id_)
        life.get(now)
        fault = life.timeline.faults.get(life.polls)
        if fault is not None:
            self._refused(self.operations.poll, id_, fault.code)
        else:
            life.fetched = life.fetched or life.done
            self._is(self.operations.poll(id_)[0], life)
        return None

    @rule(id_=ids)
    def cancel(self, id_: str) -> None:
        life = self._there().get(id_)
        if life is None:
            return self._not_found(self.operations.cancel, id_)
        if not life.done:
            life.end("CANCELED", None, self.clock.now())
        return self._is(self.operations.cancel(id_), life)

    @rule(id_=ids, how=st.sampled_from(("finish", "fail", "step")))
    def by_hand(self, id_: str, how: str) -> None:
        life, act, now = self._there().get(id_), getattr(self.operations, how), self.clock.now()
        if life is None:
            return self._not_found(act, id_)
        if life.done:
            return self._refused(act, id_, Code.FAILED_PRECONDITION)
        if how == "finish":
            life.end("COMPLETED", None, now)
        elif how == "fail":
            life.end("FAILED", None, now)
        elif not life.step(now):
            return self._refused(act, id_, Code.FAILED_PRECONDITION)
        record = act(id_)
        if how == "fail":
            life.error = record.moment(now).error
            assert life.error is not None
        return self._is(record, life)

    @rule(id_=consumes(ids))
    def remove(self, id_: str) -> None:
        self.operations.remove(id_)
        self.lives.pop(id_, None)

    @rule()
    def through_data(self) -> None:
        """A restore changes nothing, of which instant soever."""
        stored = self.operations.dump()
        self.operations.load(stored)
        assert self.operations.dump() == stored

    # -- what holds

    def _not_found(self, act: Any, id_: str) -> None:
        self._refused(act, id_, Code.NOT_FOUND)
        assert id_ not in self.operations

    def _refused(self, act: Any, id_: str, code: Code) -> None:
        with pytest.raises(Status) as refused:
            act(id_)
        assert refused.value.code == code

    def _is(self, record: Record, life: Life) -> None:
        now = self.clock.now()
        moment = record.moment(now)
        assert (moment.status, moment.done, moment.error) == (life.status, life.done, life.error)
        assert (moment.total, moment.completed) == (life.total, life.progress())
        assert (record.polls, record.fetched) == (life.polls, life.fetched)
        assert life.created <= record.changed(moment) <= now
        if life.done:
            assert record.changed(moment) == life.over
        message = self.operations.message(record)
        assert message == self.operations.message(record, now)  # looking is no Get
        assert message.done is life.done
        assert message.HasField("response") == (life.done and life.status == "COMPLETED")
        assert message.HasField("error") == (life.done and life.status != "COMPLETED")
        if message.HasField("response") and life.call != "completion_batch":
            assert message.response.value == life.reply
        if life.call == "completion_batch":
            told = BatchCompletionMetadata.FromString(message.metadata.value)
            assert (told.total_batches, told.completed_batches) == (life.total, life.progress())

    @invariant()
    def every_operation_is_what_its_life_has_come_to(self) -> None:
        if not hasattr(self, "lives"):
            return
        there = self._there()
        assert [record.id for record in self.operations] == list(there)
        for id_, life in there.items():
            record = self.operations.get(id_)
            self._is(record, life)
        assert all(id_ not in self.operations for id_ in self.lives if id_ not in there)

    @invariant()
    def the_bounds_hold_and_replies_are_counted_as_they_are_kept(self) -> None:
        if not hasattr(self, "lives"):
            return
        operations = self.operations
        assert len(operations) <= self.most
        replies = [r.reply for r in operations._records.values() if isinstance(r.reply, bytes)]
        long = {reply for reply in replies if len(reply) >= LONG}
        assert operations._replies == sum(map(len, long)) <= bounds.MOST_REPLIES
        assert {reply: n for reply, (_, n) in operations._long.items()} == {one: replies.count(one) for one in long}
        assert set(operations._tasks.values()) <= set(operations._records)
        assert set(operations._aside) <= set(operations._records)
        assert len(operations._ends._due) <= 2 * self.most + 65
        assert len(operations._ends._told) <= 2 * self.most + 65


def _counts(life: Life) -> bool:
    return len(life.reply) >= LONG


TestHistories = Histories.TestCase


BACK = st.tuples(st.sampled_from(("begin", "get", "finish", "step", "cancel", "advance", "back")), st.integers(0, 4))


@given(st.lists(BACK, max_size=20), st.integers(1, 3))
def test_where_the_clock_was_put_back_what_is_done_still_makes_room(acts: list[tuple[str, int]], most: int) -> None:
    clock = Clock(BEGAN, frozen=True)
    operations = Operations(clock, most)
    for n, (act, which) in enumerate(acts):
        ids = [record.id for record in operations]
        if act in ("advance", "back"):
            clock.set(clock.now() + (which if act == "advance" else -which) * 10 * SECOND, True, 1)
            operations.put_back()
        elif act == "begin":
            stages = (Stage(poll=1, status="COMPLETED", done=True), Stage(at=which * SECOND, status="PENDING"))
            play = Play("", final=lambda: None, timeline=Timeline(stages) if which else None)
            now = clock.now()
            full = len(ids) == most and not any(record.moment(now).done for record in operations)
            try:
                operations.begin(f"d7q{n}", "completion_batch", now, "aje1", play)
            except Status:
                assert full, "something was done, and could have gone"
            else:
                assert not full
        elif ids:
            with suppress(Status):
                getattr(operations, "poll" if act == "get" else act)(ids[which % len(ids)])
        for record in operations:
            message = operations.message(record)
            assert message.done == (message.WhichOneof("result") is not None)


def test_claims_do_not_pile_up_where_the_clock_is_put_back_or_an_operation_stepped_again_and_again() -> None:
    clock = Clock(BEGAN, frozen=True)
    operations = Operations(clock, 3)
    stages = [Stage(at=n * SECOND, status="PENDING") for n in range(1, 200)]
    timeline = Timeline((*stages, Stage(at=200 * SECOND, status="COMPLETED", done=True)))
    for id_ in ("d7q1", "d7q2"):
        play = Play("", final=lambda: None, timeline=timeline)
        operations.begin(id_, "completion_batch", BEGAN, "aje1", play)
    operations.finish("d7q1")
    for _ in range(200):
        operations.step("d7q2")
        operations.put_back()
        assert len(operations._ends._told) <= 2
    operations.begin("d7q3", "completion_batch", BEGAN, "aje1", Play("", final=lambda: None, timeline=timeline))
    for _ in range(199):
        operations.step("d7q3")
        assert len(operations._ends._told) <= 2 * 3 + 65
