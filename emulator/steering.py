"""The Python side of the control API: script, drive, inspect and verify an emulator in the same process.

`Emulator` is the `Steering` of the session it begins with; `Emulator.session(name)` gives that of another. What a
method does is done where the emulator serves: in its own thread, or at once in the caller's loop. Methods that wait for
the clock have a twin to await, `..._async`, since one that blocks can't be used in the loop that has to answer.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from .clock import Clock, Monotonic
from .config import MOST_SPEED, instant
from .engine.book import Book, load
from .errors import Code, Status, UsageError
from .recorded import Recorded, moment, nanoseconds
from .sessions import Session

if TYPE_CHECKING:
    from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

    from .engine.layers import Layer
    from .operations import Record
    from .rules import typed

T = TypeVar("T")


class Place:
    """Where an emulator's state lives: a thread of its own, the caller's loop, or nowhere yet."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: int | None = None

    def moved(self, loop: asyncio.AbstractEventLoop | None, thread: int | None) -> None:
        """It serves in `loop` from now on; `thread` is the identity of a thread of its own, None in the caller's."""
        self._loop, self._thread = loop, thread

    @property
    def _elsewhere(self) -> asyncio.AbstractEventLoop | None:
        return self._loop if self._thread not in (None, threading.get_ident()) else None

    def do(self, work: Callable[[], T]) -> T:
        """What `work` returns, done where the state lives."""
        loop = self._elsewhere
        if loop is None:
            return work()

        async def inside() -> T:
            return work()

        return asyncio.run_coroutine_threadsafe(inside(), loop).result()

    def wait(self, work: Coroutine[Any, Any, T], name: str) -> T:
        """What the coroutine returns. Raises RuntimeError in the loop that would have to run it."""
        loop = self._elsewhere
        if loop is None:
            work.close()
            if self._loop is None:
                raise RuntimeError(f"{name}: the emulator does not serve yet; enter it with `with` first")
            raise RuntimeError(f"{name} would block the loop that has to run it: use `await ...{name}_async(...)`")
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    async def wait_async(self, work: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns, wherever it has to run."""
        loop = self._elsewhere
        if loop is None:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, loop))


async def _snapshot(session: Session) -> bytes:
    """The session as bytes. Raises UsageError where it can't be."""
    from .snapshots import taken

    try:
        return await taken(session)
    except Status as refused:
        raise UsageError(refused.message) from None


class _Held:
    """What somebody holds of a session, and where its state lives."""

    _held: Session
    _place: Place

    @property
    def _session(self) -> Session:
        """The session. Raises RuntimeError once that is over: calls don't reach it any more."""
        session = self._held
        if session.over:
            whose = f"the session {session.id}" if session.id else "the session that the emulator began with"
            again = f"ask for it again, with session({session.id!r})" if session.id else "ask the emulator itself"
            raise RuntimeError(f"{whose} is over: {session.over}; {again}")
        session.used = Monotonic.now()
        return session


class Steering(_Held):
    """Rules, calls, operations and clock of one session.

    `clock` and `operations` are its parts; the methods are about rules and calls. All raise RuntimeError once the
    session is over: deleted, or dropped because nobody used it.
    """

    _target: Callable[[], str]

    def _steer(self, session: Session, place: Place, target: Callable[[], str]) -> None:
        self._held, self._place, self._target = session, place, target
        self.clock = ClockOf(session, place)
        self.operations = OperationsOf(session, place)

    # -- rules

    def rule(
        self,
        *,
        when: typed.WhenDict | None = None,
        reply: typed.ReplyDict | str | None = None,
        replies: Sequence[typed.TurnDict | str] | None = None,
        name: str | None = None,
        call: typed.CallName | Sequence[typed.CallName] | None = None,
        operation: typed.OperationDict | None = None,
        times: int | None = None,
        per: typed.Per | None = None,
        after_last: typed.AfterLast | None = None,
        priority: int | None = None,
        then: typed.ThenDict | None = None,
        expect: int | typed.ExpectDict | None = None,
        chaos: typed.FaultDict | Sequence[typed.FaultDict] | None = None,
    ) -> Scripted:
        """Lay a rule over all that are there: the newest is tried first. The words are those of the fixture language.

        `reply` may be a text alone. Raises FixtureError with every mistake, as a file would, named after the line that
        calls this.
        """
        spec = {
            "name": name,
            "call": list(call) if isinstance(call, (list, tuple)) else call,
            "when": when,
            "reply": _reply(reply),
            "replies": None if replies is None else [_reply(turn) for turn in replies],
            "operation": operation,
            "times": times,
            "per": per,
            "after_last": after_last,
            "priority": priority,
            "then": then,
            "expect": expect,
            "chaos": chaos,
        }
        rule = {key: value for key, value in spec.items() if value is not None}
        return self._lay({"rules": [rule]}, _caller())

    def chaos(self, *faults: typed.GlobalFaultDict) -> Scripted:
        """Have calls go wrong, in place of what was asked for before: each of `faults` is one of the fixture language's
        `chaos`; without any, nothing goes wrong. Raises FixtureError.

            with e.chaos({"share": 0.1, "error": "UNAVAILABLE"}): ...
        """
        return self._lay({"chaos": list(faults)}, _caller())

    def add(self, fixtures: Any) -> Scripted:
        """Lay fixtures over all that are there: a path, a mapping of what a file would hold, or YAML as a text.

        A text is YAML if it has a line break or a colon and a space, and else a path. Raises FixtureError.
        """
        return self._lay(fixtures, _caller())

    def _lay(self, fixtures: Any, where: str) -> Scripted:
        from .rules.files import Bundle, Inline

        session, environment = self._session, os.environ
        is_yaml = isinstance(fixtures, str) and ("\n" in fixtures or ": " in fixtures)
        if is_yaml or isinstance(fixtures, Mapping):
            name = self._place.do(lambda: session.place(where))
            files = {"fixtures.yaml": fixtures.encode()} if is_yaml else {}
            fixtures = Bundle(files, environment, name) if is_yaml else Inline(fixtures, name, environment)
        under = self._place.do(lambda: session.book)
        book = load([fixtures], under=under)
        return Scripted(self, self._place.do(lambda: self._session.add(book)))

    # -- calls

    def calls(
        self,
        *,
        kind: str = "",
        method: str = "",
        rule: str = "",
        code: str = "",
        when: typed.WhenDict | str | None = None,
        unmatched: bool = False,
    ) -> list[Recorded]:
        """The calls that the journal holds and that all given conditions fit, the oldest first.

        `kind` is the fixture language's name for a call, `method` a path or its end, `code` a status by name, `when`
        conditions as a rule has them. Raises UsageError for a condition that can't be.
        """
        return [Recorded(entry) for entry in self._fitting(self._query(kind, method, rule, code, when, unmatched))]

    def assert_called(
        self,
        times: int | None = None,
        *,
        at_least: int = 1,
        kind: str = "",
        method: str = "",
        rule: str = "",
        code: str = "",
        when: typed.WhenDict | str | None = None,
        unmatched: bool = False,
    ) -> list[Recorded]:
        """The calls that fit, as `calls` gives them; AssertionError unless there are `times`, or `at_least` so many.

        The error shows the nearest calls and what differs in them.
        """
        query = self._query(kind, method, rule, code, when, unmatched)
        found = self._fitting(query)
        if len(found) == times or (times is None and len(found) >= at_least):
            return [Recorded(entry) for entry in found]
        from .engine.query import counted

        session = self._session
        expected = f"exactly {times}" if times is not None else f"at least {at_least}"
        raise AssertionError(self._place.do(lambda: counted(session.journal, query, expected, session.state.scenario)))

    def _query(self, kind: str, method: str, rule: str, code: str, when: Any, unmatched: bool) -> Any:
        from .engine.query import compile_query

        return compile_query(kind=kind, method=method, rule=rule, code=code, when=when, unmatched=unmatched)

    def _fitting(self, query: Any) -> list[Any]:
        session = self._session
        return self._place.do(lambda: [e for e in session.journal if query.fits(e, session.state.scenario)])

    def explain(self, call: Recorded | str = "") -> str:
        """Why a call was answered so, rule by rule, and a rule that would match; of the last that no rule matched.

        Raises LookupError for a call that the journal does not have.
        """
        from .control import explained

        call_id = call if isinstance(call, str) else call.id
        try:
            _, text, rule = self._place.do(lambda: explained(self._session, call_id))
        except Status as failed:
            raise LookupError(failed.message) from None
        return f"{text}\n\na rule that matches it:\n\n{rule}" if rule else text

    def verify(self, *checks: str) -> None:
        """AssertionError, with everything that differs, unless what was expected has happened.

        `checks` are among "expect", "times", "unmatched", "unread" and "unfetched"; without any, all are held.
        """
        report = self.report(*checks)
        if report.problems:
            raise AssertionError(report.text())

    def report(self, *checks: str) -> Any:
        """What `verify` finds, as an `engine.verify.Report`: problems, and what held."""
        from .engine.verify import CHECKS

        unknown = [check for check in checks if check not in CHECKS]
        if unknown:
            raise UsageError(f"checks: no such check: {unknown[0]}; there are {', '.join(CHECKS)}")
        return self._place.do(lambda: self._session.verify(checks or CHECKS))

    # -- the official SDK

    def sdk(self, **more: Any) -> AIStudio:
        """A client of the official SDK whose calls go to this session, ready to use; `more` is for its constructor.

        It retries within milliseconds. Raises RuntimeError if the emulator does not serve, and ImportError that says
        what to install if the SDK is not.
        """
        from .sdk import client

        return client(self._target(), session=self._session.id, token=self._session.config.token, **more)

    def async_sdk(self, **more: Any) -> AsyncAIStudio:
        """The same as `sdk`, the SDK's asynchronous client."""
        from .sdk import async_client

        return async_client(self._target(), session=self._session.id, token=self._session.config.token, **more)

    # -- the whole session

    def reset(self, *parts: str) -> None:
        """Back to the beginning: "rules", "counters", "states", "journal", "operations", "datasets", "clock",
        "quotas", "idempotency", "iam_tokens"; all without any.
        """
        from .sessions import PARTS

        unknown = [part for part in parts if part not in PARTS]
        if unknown:
            raise UsageError(f"reset: no such part: {unknown[0]}; there are {', '.join(PARTS)}")
        self._place.do(lambda: self._session.reset(parts))

    def snapshot(self) -> bytes:
        """Rules, states, operations, datasets, counters, clock and IAM tokens, as JSON that `restore` takes.

        Raises UsageError where the datasets are too large.
        """
        return self._place.wait(_snapshot(self._session), "snapshot")

    async def snapshot_async(self) -> bytes:
        """The same as `snapshot`, to await."""
        return await self._place.wait_async(_snapshot(self._session))

    def restore(self, snapshot: bytes) -> None:
        """Make the session what it was when the snapshot was taken. Raises UsageError for what is no snapshot."""
        from .snapshots import restored

        try:
            self._place.do(lambda: restored(self._session, snapshot))
        except Status as failed:
            raise UsageError(failed.message) from None


class Scripted:
    """Rules that were laid over the others; they go with `remove`, or at the end of a `with` block."""

    def __init__(self, steering: Steering, layer: Layer) -> None:
        self._steering, self._layer = steering, layer
        self._identities: tuple[str, ...] = ()

    @property
    def book(self) -> Book:
        """The rules, compiled."""
        return self._layer.book

    @property
    def calls(self) -> list[Recorded]:
        """The calls that they answered and that the journal holds, the oldest first."""
        names = {rule.name for rule in self.book.rules}
        session = self._steering._session
        found = self._steering._place.do(lambda: [entry for entry in session.journal if entry.rule in names])
        return [Recorded(entry) for entry in found]

    @property
    def times(self) -> int:
        """How often they were chosen."""
        session = self._steering._session

        def work() -> int:
            return sum(session.state.chosen.get(identity, 0) for identity in self._counted())

        return self._steering._place.do(work)

    def _counted(self) -> tuple[str, ...]:
        """What the session counts them by: their identities in its stack, or, once they are gone, the last ones."""
        session = self._steering._held
        if self._layer in session.added:
            self._identities = tuple(rule.identity for rule, layer in session.ruled() if layer == self._layer.id)
        return self._identities

    def remove(self) -> None:
        """Take them away; nothing happens if they are gone, or the session is over."""
        session = self._steering._held

        def work() -> None:
            self._counted()
            if self._layer in session.added:
                session.remove(self._layer.id)

        self._steering._place.do(work)

    def __enter__(self) -> Scripted:
        return self

    def __exit__(self, *_: object) -> None:
        self.remove()


class ClockOf(_Held):
    """A session's clock: it stands still or runs at a speed, and either way it can be moved on.

    Spans are texts of the fixture language (`"72h"`, `"1m30s"`) or timedeltas.
    """

    def __init__(self, session: Session, place: Place) -> None:
        self._held, self._place = session, place

    @property
    def _clock(self) -> Clock:
        return self._session.clock

    @property
    def now(self) -> datetime.datetime:
        """The present instant, in UTC."""
        return moment(self._clock.now())

    @property
    def frozen(self) -> bool:
        """Whether it stands still."""
        return self._clock.frozen

    @property
    def sleepers(self) -> int:
        """Calls that wait for it."""
        return self._place.do(lambda: self._clock.sleepers)

    def freeze(self) -> None:
        """Stand still, here."""
        self._place.do(self._clock.freeze)

    def run(self, speed: float | None = None) -> None:
        """Run on from here, `speed` times as fast as real time; as fast as before if None.

        Raises ValueError for a speed that is not more than 0, or more than 1,000,000.
        """
        if speed is not None and not 0 < speed <= MOST_SPEED:
            raise ValueError(f"speed: {speed} must be more than 0 and at most {MOST_SPEED}")
        self._place.do(lambda: self._clock.run(speed))

    def advance(self, by: str | datetime.timedelta) -> int:
        """Move on, through every instant that a call waits for, and return when all of them have run on.

        Returns how many calls were still busy when it stopped waiting for them, whose clients read slowly: mostly 0.
        """
        return self._place.wait(self._clock.advance(_span(by)), "advance")

    async def advance_async(self, by: str | datetime.timedelta) -> int:
        """The same as `advance`, to await."""
        return await self._place.wait_async(self._clock.advance(_span(by)))

    def advance_to(self, at: str | datetime.datetime) -> int:
        """Move on to an instant, an ISO 8601 text or a datetime; ValueError if it has passed."""
        return self._place.wait(self._clock.advance_to(instant(at, "at")), "advance_to")

    async def advance_to_async(self, at: str | datetime.datetime) -> int:
        """The same as `advance_to`, to await."""
        return await self._place.wait_async(self._clock.advance_to(instant(at, "at")))

    def wait_for_sleepers(self, count: int = 1, timeout: float = 10.0) -> None:
        """Return once so many calls wait for the clock; TimeoutError after `timeout` real seconds."""
        self._place.wait(self._clock.wait_for_sleepers(count, timeout), "wait_for_sleepers")

    async def wait_for_sleepers_async(self, count: int = 1, timeout: float = 10.0) -> None:
        """The same as `wait_for_sleepers`, to await."""
        await self._place.wait_async(self._clock.wait_for_sleepers(count, timeout))


class OperationsOf(_Held):
    """A session's operations, by hand, whatever their timelines say. Looking at them here counts as no Get.

    Methods raise LookupError for an id that is not there, and ValueError for what an operation can't do any more.
    """

    def __init__(self, session: Session, place: Place) -> None:
        self._held, self._place = session, place

    def list(self) -> list[OperationView]:
        """All of them, the oldest first."""
        return self._place.do(lambda: [OperationView(r, self._session.clock) for r in self._session.operations])

    def get(self, operation_id: str) -> OperationView:
        """The operation as it is now."""
        return self._done(lambda: self._session.operations.get(operation_id))

    def finish(self, operation_id: str) -> OperationView:
        """It is done, with the response its rule makes."""
        return self._done(lambda: self._session.operations.finish(operation_id))

    def fail(self, operation_id: str, code: str = "INTERNAL", message: str | None = None) -> OperationView:
        """It has failed, with this status; the service's own words if `message` is None."""
        if code not in Code.__members__ or code == "OK":
            raise UsageError(f"code: {code!r} is no status of an error, such as INTERNAL or UNAVAILABLE")
        error = Code[code] if message is None else Status(Code[code], message)
        return self._done(lambda: self._session.operations.fail(operation_id, error))

    def cancel(self, operation_id: str) -> OperationView:
        """It was cancelled; one that is done stays as it is."""
        return self._done(lambda: self._session.operations.cancel(operation_id))

    def step(self, operation_id: str) -> OperationView:
        """It goes on to the next stage of its timeline, which follows from there."""
        return self._done(lambda: self._session.operations.step(operation_id))

    def _done(self, work: Callable[[], Record]) -> OperationView:
        try:
            return self._place.do(lambda: OperationView(work(), self._session.clock))
        except Status as failed:
            kind = LookupError if failed.code is Code.NOT_FOUND else ValueError
            raise kind(failed.message) from None


class OperationView:
    """An operation as it was when it was asked for."""

    def __init__(self, record: Record, clock: Clock) -> None:
        now = record.moment(clock.now())
        self.id = record.id
        self.kind = record.call
        self.rule = record.rule
        self.status = now.status
        """CREATED, PENDING, IN_PROGRESS, COMPLETED, FAILED or CANCELED; None before the first stage."""
        self.done = now.done
        self.polls = record.polls
        self.fetched = record.fetched
        """Whether a Get has told that it is done."""
        self.completed_batches, self.total_batches = now.completed, now.total
        self.created_at = moment(record.created)

    def __repr__(self) -> str:
        return f"<{self.id} {self.kind} {self.status or 'new'}{' done' if self.done else ''}>"


def _span(by: str | datetime.timedelta) -> int:
    if isinstance(by, datetime.timedelta):
        if by < datetime.timedelta(0):
            raise ValueError(f"{by}: the clock doesn't go back")
        return nanoseconds(by)
    if not isinstance(by, str):
        raise UsageError(f"by: {by!r} has no unit; give a text like 20ms or 72h, or a timedelta")
    from .rules.duration import parse

    return parse(by)


def _reply(reply: Any) -> Any:
    return {"text": reply} if isinstance(reply, str) else reply


def _caller() -> str:
    """The file and line that called the public method which called this."""
    frame = sys._getframe(2)
    path = frame.f_code.co_filename
    inside = os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else os.path.basename(path)
    return f"{inside}:{frame.f_lineno}"


__all__ = ["ClockOf", "OperationView", "OperationsOf", "Place", "Scripted", "Steering"]
