"""An operation's timeline: what it is at a given age, as a pure function.

Stages are reached by age or by the number of Gets. Nothing runs: `Timeline.at` is asked, and answers the same for the
same age and polls however often it is asked. An operation that is done always has a result, because a status that ends
one without an error or a response can't be built here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..clock import SECOND
from ..errors import Status
from ..rules import model
from ..rules.duration import draw
from ..seed import Seed
from .statuses import Report, ScriptedStatus, compile_status

STATUSES = ("CREATED", "PENDING", "IN_PROGRESS", "COMPLETED", "FAILED", "CANCELED")
FINAL = ("COMPLETED", "FAILED", "CANCELED")


class Stage(Struct, frozen=True, gc=False):
    """From `at` (ns of age) or from the `poll`-th Get on, the operation is like this."""

    at: int | None = None
    poll: int | None = None
    status: str = "IN_PROGRESS"
    done: bool = False
    error: ScriptedStatus | None = None
    total: int | None = None
    completed: int | None = None


class Moment(Struct, frozen=True):
    """What an operation is at one moment. `status` is None before the first stage; `since` is the age of the last
    change.
    """

    status: str | None = None
    done: bool = False
    error: ScriptedStatus | None = None
    total: int = 0
    completed: int = 0
    since: int = 0


_NO_FAULTS: Mapping[int, ScriptedStatus] = MappingProxyType({})


class Timeline(Struct, frozen=True, gc=False):
    """Stages in order, and what single Gets meet. `given` is False where nobody said when the operation is done, so
    that its times are those of `DEFAULTS`.
    """

    stages: tuple[Stage, ...]
    faults: Mapping[int, ScriptedStatus] = field(default_factory=lambda: _NO_FAULTS)
    given: bool = True

    @property
    def ends(self) -> int | None:
        """The age (ns) at which it is done at the latest; None where only a Get can end it."""
        return min((stage.at for stage in self.stages if stage.done and stage.at is not None), default=None)

    def failing(self, error: ScriptedStatus) -> Timeline:
        """The same life with another end: where it would complete, it fails, as far along as it would have been."""
        total, stages = 0, []
        for stage in self.stages:
            total = total if stage.total is None else stage.total
            if stage.status == "COMPLETED":
                completed = total if stage.completed is None else stage.completed
                stage = replace(stage, status="FAILED", done=True, error=error, completed=completed)
            stages.append(stage)
        return Timeline(tuple(stages), self.faults, self.given)

    def at_first_get(self) -> Timeline:
        """The same end, told by the first Get; a life whose times were given stays as it is."""
        end = next((stage for stage in self.stages if stage.done), None)
        if self.given or end is None:
            return self
        return Timeline((replace(end, at=None, poll=1),), self.faults, self.given)

    def following(self, age: int, polls: int) -> Stage | None:
        """The stage that comes next for an operation that is not done; None after the last.

        Stages by age come first, but for the end: where some Get is to end the operation, that is its end.
        """
        later = (s for s in self.stages if s.at is not None and s.at > age)
        by_age = min(later, key=lambda stage: stage.at or 0, default=None)
        if by_age is not None and not by_age.done:
            return by_age
        further = (s for s in self.stages if s.poll is not None and s.poll > polls)
        return min(further, key=lambda stage: stage.poll or 0, default=by_age)

    def at(self, age: int, polls: int, polled: Mapping[int, int]) -> Moment:
        """The moment at `age` nanoseconds and after `polls` Gets; `polled` tells the age at which those Gets came
        that a stage waits for.
        """
        moment, found = Moment(), self._reached_by(age, polls, polled)
        for n, (reached, i) in enumerate(found):
            if moment.done:
                break
            stage = self.stages[i]
            total = stage.total if stage.total is not None else moment.total
            completed = stage.completed if stage.completed is not None else moment.completed
            if stage.status == "COMPLETED" and stage.completed is None:
                completed = total
            since = max(reached, moment.since)
            if not stage.done:
                until = found[n + 1][0] if n + 1 < len(found) else age  # what comes next leaves it as it was then
                completed, since = self._progress(i, until, total, completed, since)
            moment = Moment(stage.status, stage.done, stage.error, total, completed, since)
        return moment

    def reached(self, age: int, polls: int, polled: Mapping[int, int]) -> dict[str, int]:
        """Each status that the operation has had by `age`, with the age at which it first came."""
        found: dict[str, int] = {}
        for reached, i in self._reached_by(age, polls, polled):
            found.setdefault(self.stages[i].status, reached)
            if self.stages[i].done:
                break
        return found

    def _reached_by(self, age: int, polls: int, polled: Mapping[int, int]) -> list[tuple[int, int]]:
        """The ages at which stages were reached, with their indices, in that order: what is done first stays.

        Where both meet, the age comes before the Get: it could be seen, in a list or by a Get before, that it was so.
        """
        found = [
            (reached, stage.poll is not None, i)
            for i, stage in enumerate(self.stages)
            if (reached := self._reached(stage, age, polls, polled)) is not None
        ]
        return [(reached, i) for reached, _, i in sorted(found)]

    @staticmethod
    def _reached(stage: Stage, age: int, polls: int, polled: Mapping[int, int]) -> int | None:
        if stage.at is not None:
            return stage.at if age >= stage.at else None
        assert stage.poll is not None
        return polled.get(stage.poll, age) if polls >= stage.poll else None

    def _progress(self, i: int, age: int, total: int, completed: int, since: int) -> tuple[int, int]:
        """Batches completed by `age`: they run evenly to what the next stage says."""
        stage = self.stages[i]
        following = self.stages[i + 1] if i + 1 < len(self.stages) else None
        if following is None or following.at is None or stage.at is None or stage.status != "IN_PROGRESS":
            return completed, since
        goal = following.completed
        if goal is None:
            goal = total if following.status == "COMPLETED" else completed
        span, more = following.at - stage.at, goal - completed
        if more <= 0 or span <= 0:
            return completed, since
        steps = min(more, (age - stage.at) * more // span)
        return completed + steps, max(since, stage.at + -(-span * steps // more))


DEFAULTS: Mapping[str, tuple[Stage, ...]] = {
    "completion_async": (Stage(at=1 * SECOND, status="COMPLETED", done=True),),
    "generate_image": (Stage(at=2 * SECOND, status="COMPLETED", done=True),),
    "completion_batch": (
        Stage(at=SECOND // 2, status="PENDING"),
        Stage(at=1 * SECOND, status="IN_PROGRESS"),
        Stage(at=4 * SECOND, status="COMPLETED"),
        Stage(at=5 * SECOND, status="COMPLETED", done=True),
    ),
    "validate_dataset": (
        Stage(at=1 * SECOND, status="PENDING"),
        Stage(at=2 * SECOND, status="IN_PROGRESS"),
        Stage(at=3 * SECOND, status="COMPLETED", done=True),
    ),
}
"""Short enough that a client which looks at once and then every 10 s has its result at the second look (our choice)."""

_DEFAULT_TIMELINES = {call: Timeline(stages, given=False) for call, stages in DEFAULTS.items()}

_SHARES = (("PENDING", 1, 20), ("IN_PROGRESS", 1, 5))
"""A batch that is done after a given time is pending and in progress after these shares of it (as recorded,
roughly).
"""


Settle = Callable[..., ScriptedStatus]
"""Makes the message of a status for the call that began an operation, or for another call that is named."""


class Plan(Struct, frozen=True):
    """A compiled `operation:`; `timeline` draws what is random in it."""

    spec: model.Operation
    stages: tuple[Stage, ...] | None
    error: ScriptedStatus | None
    faults: Mapping[int, ScriptedStatus]

    def timeline(self, call: str, seed: Seed, settle: Settle) -> Timeline:
        """The timeline of one operation of `call`; `settle` makes the messages of its statuses for this call."""
        plain = self._timeline(call, seed)
        stages = tuple(s if s.error is None else replace(s, error=settle(s.error)) for s in plain.stages)
        return Timeline(stages, {n: settle(fault, "operations") for n, fault in plain.faults.items()}, self.given)

    @property
    def given(self) -> bool:
        """Whether it says when the operation is done."""
        times = (self.spec.timeline, self.spec.done_after, self.spec.done_after_polls, self.spec.at_poll)
        return any(time is not None for time in times)

    def _timeline(self, call: str, seed: Seed) -> Timeline:
        stages = self.stages
        if stages is None:
            stages = self._simple(call, seed)
        if self.spec.at_poll is not None:
            failing = Stage(poll=self.spec.at_poll, status="FAILED", done=True, error=self.error)
            if self.stages is None and self.spec.done_after is None and self.spec.done_after_polls is None:
                stages = tuple(s for s in stages if s.status != "COMPLETED")  # it is not done before that Get
            stages = (failing, *stages)
        return Timeline(stages, self.faults, self.given)

    def _simple(self, call: str, seed: Seed) -> tuple[Stage, ...]:
        failed = self.error is not None and self.spec.at_poll is None
        end: Any = {
            "status": "FAILED" if failed else "COMPLETED",
            "done": True,
            "error": self.error if failed else None,
        }
        batch = call == "completion_batch"
        if self.spec.done_after_polls is not None:
            n = self.spec.done_after_polls
            steps = [Stage(poll=1, status="PENDING"), Stage(poll=2)] if batch else []
            return (*(s for s in steps if s.poll is not None and s.poll < n), Stage(poll=n, **end))
        if self.spec.done_after is None and not failed:
            return DEFAULTS[call]
        ns = draw(self.spec.done_after, seed, "done_after") if self.spec.done_after else DEFAULTS[call][-1].at or 0
        steps = [Stage(at=ns * a // b, status=status) for status, a, b in _SHARES] if batch else []
        return (*steps, Stage(at=ns, **end))


def default_timeline(call: str) -> Timeline:
    """The timeline of an operation that no rule says anything about."""
    return _DEFAULT_TIMELINES[call]


def compile_operation(spec: model.Operation, known: frozenset[str], report: Report) -> Plan:
    """Compile `operation:`, telling `report` every mistake."""
    ways = [name for name in ("done_after", "done_after_polls", "timeline") if getattr(spec, name) is not None]
    if len(ways) > 1:
        report((ways[1],), f"{ways[0]} says already when the operation is done; leave one of them out")
    if spec.at_poll is not None and spec.error is None:
        report(("at_poll",), "the operation fails at that Get: say with which error")
    if spec.timeline is not None and spec.error is not None and spec.at_poll is None:
        report(("error",), "with a timeline the error stands at its FAILED stage")

    def status(error: str | model.Error | None, *where: str | int) -> ScriptedStatus | None:
        if error is None:
            return None
        return compile_status(error, known, True, lambda path, text: report((*where, *path), text))

    stages = None
    if spec.timeline is not None:
        stages = tuple(_stage(s, i, status, report) for i, s in enumerate(spec.timeline))
        _check_order(stages, report)
    faults = {
        n: status(fault, "polls", n) if isinstance(fault, str) else status(fault.error, "polls", n, "error")
        for n, fault in (spec.polls or {}).items()
    }
    return Plan(spec, stages, status(spec.error, "error"), {n: f for n, f in faults.items() if f is not None})


def _stage(spec: model.Stage, i: int, status: Callable[..., ScriptedStatus | None], report: Report) -> Stage:
    def wrong(field_name: str, text: str) -> None:
        report(("timeline", i, field_name), text)

    name = (spec.status or ("FAILED" if spec.error else "COMPLETED" if spec.done else "IN_PROGRESS")).upper()
    name = "CANCELED" if name == "CANCELLED" else name
    if name not in STATUSES:
        wrong("status", f"no such status: {spec.status}; there are {', '.join(STATUSES)}")
    done = spec.done if spec.done is not None else name in FINAL
    if done and name not in FINAL:
        wrong("done", f"an operation that is {name} can't be done; it ends COMPLETED, FAILED or CANCELED")
    if spec.error is not None and name != "FAILED":
        wrong("error", f"an operation with an error is FAILED, not {name}")
    if (
        spec.completed_batches is not None
        and spec.total_batches is not None
        and spec.completed_batches > spec.total_batches
    ):
        wrong("completed_batches", f"{spec.completed_batches} are more than the {spec.total_batches} there are")
    error = status(spec.error, "timeline", i, "error")
    return Stage(spec.at.ns, None, name, done, error, spec.total_batches, spec.completed_batches)


def _check_order(stages: tuple[Stage, ...], report: Report) -> None:
    if not stages:
        report(("timeline",), "an empty timeline never ends; leave it out for the default one")
    total = 0
    for i, (before, after) in enumerate(itertools.pairwise(stages), 1):
        total = before.total or total
        if after.total is not None and after.total < total:
            report(("timeline", i, "total_batches"), f"there were {total} already, and batches don't become fewer")
        if before.done:
            report(("timeline", i), "the operation is done before this stage")
        if (after.at or 0) < (before.at or 0):
            report(("timeline", i, "at"), "a stage can't come before the one above it; times are counted from creation")
        if after.completed is not None and before.completed is not None and after.completed < before.completed:
            report(
                ("timeline", i, "completed_batches"), f"progress doesn't go back; there were {before.completed} already"
            )
        if after.completed is not None and (after.total or total) and after.completed > (after.total or total):
            report(
                ("timeline", i, "completed_batches"),
                f"{after.completed} are more than the {after.total or total} there are",
            )


def failure(moment: Moment, context: Mapping[str, Any]) -> Status:
    """The status a done operation that has no response ends with."""
    from .. import wording
    from ..errors import Code

    if moment.error is not None:
        return moment.error.status(context)
    code = Code.CANCELLED if moment.status == "CANCELED" else Code.INTERNAL
    return Status(code, wording.for_code(code))


def uses_batches(spec: model.Operation) -> bool:
    """Whether only a batch has what the timeline speaks of."""
    return any(s.total_batches is not None or s.completed_batches is not None for s in spec.timeline or ())
