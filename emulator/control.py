"""The control API, `protos/emulator/v1/control.proto`: steer and question a running emulator, from any language.

Each method translates: a message into a call of `Session` and what it owns, and the outcome back into a message. What
is decided is decided there, and the Python API decides nothing else. `Access` tells who may; which session a call is
about is found as for any other call, by `x-emulator-session`.
"""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from weakref import WeakKeyDictionary

from . import __version__, installation
from .api import METHODS, Timestamp, message_class, to_dict
from .api import Duration as DurationMessage
from .call import Call, parsed
from .calls import CALLS_BY_METHOD
from .clock import END, SECOND, Clock, Monotonic
from .config import MOST_SPEED
from .engine.book import load
from .engine.explain import paste, story
from .engine.query import Query, compile_query, subject_of
from .engine.reach import warnings
from .engine.verify import CHECKS, DEFAULT_CHECKS, wanted
from .errors import Code, FixtureError, Status, UsageError
from .gates import Handler
from .gates.access import Access
from .journal import LIMIT_BYTES, LIMIT_ENTRIES, Entry
from .operations import Record, error_of
from .sessions import PARTS, Session, Sessions

_PACKAGE = "emulator.v1"
_SERVICE = f"/{_PACKAGE}.ControlService/"
MOST_LISTED = 100_000
"""Operations that one reply lists: it stays within 64 MiB, which our own commands take."""

LONGEST_ADVANCE = 3650 * 24 * 3600 * SECOND


class Control:
    """The service. `about` tells what Info can't know from sessions: target, services and the like."""

    def __init__(self, sessions: Sessions, access: Access, about: Callable[[], Mapping[str, Any]]) -> None:
        self._sessions, self._access, self._about = sessions, access, about
        self._shared = asyncio.Lock()
        self._laying: WeakKeyDictionary[Session, asyncio.Lock] = WeakKeyDictionary()

    def handlers(self) -> Mapping[str, Handler]:
        """The service's methods by path."""
        answers: dict[str, Callable[[Call, Any], Awaitable[Any]]] = {
            "Info": self._info,
            "AddRules": self._add_rules,
            "ReplaceRules": self._replace_rules,
            "RemoveRules": _remove_rules,
            "ListRules": _list_rules,
            "Reset": _reset,
            "ListCalls": _list_calls,
            "Verify": _verify,
            "Explain": _explain,
            "GetClock": _get_clock,
            "FreezeClock": _freeze_clock,
            "RunClock": _run_clock,
            "AdvanceClock": _advance_clock,
            "WaitForSleepers": _wait_for_sleepers,
            "ListOperations": _list_operations,
            "FinishOperation": _finish_operation,
            "FailOperation": _fail_operation,
            "CancelOperation": _cancel_operation,
            "StepOperation": _step_operation,
            "ListSessions": self._list_sessions,
            "DeleteSession": self._delete_session,
            "Snapshot": _snapshot,
            "Restore": _restore,
        }
        handlers: dict[str, Handler] = {_SERVICE + name: self._unary(answer) for name, answer in answers.items()}
        handlers[_SERVICE + "WatchCalls"] = self._watch_calls
        return handlers

    def _unary(self, answer: Callable[[Call, Any], Awaitable[Any]]) -> Handler:
        async def unary(call: Call) -> AsyncIterator[bytes]:
            self._access.check(call, "the control API")
            response = await answer(call, parsed(call))
            yield response.SerializeToString()

        return unary

    async def _info(self, call: Call, request: Any) -> Any:
        shared = self._sessions.shared
        config = self._sessions.default.config
        journals = [session.journal for session in self._sessions]
        return _message(
            "InfoResponse",
            version=__version__,
            files=shared.book.files,
            rules=len(shared.book.rules),
            warnings=map(str, warnings(shared.book)),
            reload_error=shared.error,
            sessions=len(self._sessions),
            strict=config.strict,
            seed=config.seed if config.seed.bit_length() < 64 else 0,  # Python takes any, an int64 does not
            pid=os.getpid(),
            memory_bytes=installation.memory(),
            clock=_clock_state(self._sessions.default.clock),
            operations=sum(len(session.operations) for session in self._sessions),
            open_calls=sum(session.open_calls for session in self._sessions),
            journal_calls=sum(map(len, journals)),
            journal_bytes=sum(journal.bytes for journal in journals),
            journal_evicted=sum(journal.evicted for journal in journals),
            journal_most_calls=LIMIT_ENTRIES,
            journal_most_bytes=LIMIT_BYTES,
            options=[_message("Setting", name=name, value=value) for name, value in config.changed.items()],
            extras=installation.extras(),
            libraries=[_message("Library", name=name, version=v) for name, v in installation.libraries().items()],
            **self._about(),
        )

    async def _replace_rules(self, call: Call, request: Any) -> Any:
        if request.shared:
            async with self._shared:
                book = await _book(request.fixtures, None)
                self._sessions.shared.book, self._sessions.shared.error = book, ""
        else:
            session = call.session
            async with self._in_turn(session):
                # What the session's own rules may use stands beneath them: the files' snippets.
                book = await _book(request.fixtures, session.shared.book)
                session.replace(book if request.fixtures.files else None)
        return _message("ReplaceRulesResponse", rules=len(book.rules), warnings=map(str, warnings(book)))

    async def _add_rules(self, call: Call, request: Any) -> Any:
        session = call.session
        if not request.fixtures.files:
            raise Status(Code.INVALID_ARGUMENT, "no file with rules: give fixtures.files, e.g. {'rules.yaml': '...'}")
        async with self._in_turn(session):
            book = await _book(request.fixtures, session.book)
            layer = session.add(book)
        told = map(str, warnings(book))
        return _message("AddRulesResponse", layer_id=layer.id, rules=len(book.rules), warnings=told)

    def _in_turn(self, session: Session) -> asyncio.Lock:
        """What lays rules in the order in which it was asked for, however long loading takes."""
        return self._laying.setdefault(session, asyncio.Lock())

    async def _list_sessions(self, call: Call, request: Any) -> Any:
        now = Monotonic.now()
        return _message("ListSessionsResponse", sessions=[_session_state(session, now) for session in self._sessions])

    async def _delete_session(self, call: Call, request: Any) -> Any:
        self._sessions.delete(request.id)
        return _message("DeleteSessionResponse")

    async def _watch_calls(self, call: Call) -> AsyncIterator[bytes]:
        self._access.check(call, "the control API")
        request = parsed(call)
        query = _query(request.filter)
        session = call.session
        with session.journal.subscribe() as entries:
            # What ends while these are being written is the subscription's.
            for entry in [entry for entry in session.journal if request.past and entry.code is not None]:
                if query.fits(entry, session.state.scenario):
                    yield recorded(entry, request.messages).SerializeToString()
            told = 0
            while True:
                entry = await session.clock.unless_closed(entries.__anext__())
                if query.fits(entry, session.state.scenario):
                    out = recorded(entry, request.messages)
                    out.missed, told = entries.missed - told, entries.missed
                    yield out.SerializeToString()


def _message(name: str, /, **fields: Any) -> Any:
    return message_class(f"{_PACKAGE}.{name}")(**fields)


# -- rules


async def _book(fixtures: Any, under: Any) -> Any:
    """The book of a message's fixtures, loaded in a thread. Raises INVALID_ARGUMENT with every mistake."""
    from .rules.files import Bundle  # YAML is slow to import

    bundle = Bundle(dict(fixtures.files), dict(fixtures.environment))
    try:
        return await asyncio.to_thread(partial(load, [bundle], under=under))
    except FixtureError as failed:
        raise Status(Code.INVALID_ARGUMENT, str(failed)) from None


async def _remove_rules(call: Call, request: Any) -> Any:
    return _message("RemoveRulesResponse", rules=call.session.remove(request.layer_id))


async def _list_rules(call: Call, request: Any) -> Any:
    session = call.session
    chosen = session.state.chosen
    return _message(
        "ListRulesResponse",
        rules=[
            _message(
                "RuleState",
                name=rule.name,
                where=rule.where,
                layer_id=layer_id,
                calls=sorted(rule.calls),
                chosen=chosen.get(rule.identity, 0),
                times=rule.times or 0,
                expect=wanted(rule.expect) if rule.expect is not None else "",
            )
            for rule, layer_id in session.ruled()
        ],
    )


async def _reset(call: Call, request: Any) -> Any:
    parts = message_class(f"{_PACKAGE}.ResetRequest").Part
    names = [parts.Name(part).lower() if part in parts.values() else "" for part in request.parts]
    unknown = [part for part, name in zip(request.parts, names, strict=True) if name not in PARTS]
    if unknown:
        raise Status(Code.INVALID_ARGUMENT, f"parts: {unknown[0]} is no part; there are {', '.join(PARTS)}")
    call.session.reset(names)
    return _message("ResetResponse")


# -- calls


def _query(filter_: Any) -> Query:
    try:
        return compile_query(
            kind=filter_.kind,
            method=filter_.method,
            rule=filter_.rule,
            code=filter_.code,
            when=filter_.when,
            unmatched=filter_.unmatched,
        )
    except UsageError as failed:
        raise Status(Code.INVALID_ARGUMENT, f"filter: {failed}") from None


async def _list_calls(call: Call, request: Any) -> Any:
    session = call.session
    query = _query(request.filter)
    if request.last < 0:
        raise Status(Code.INVALID_ARGUMENT, f"last: {request.last} is less than 0")
    entries = [entry for entry in session.journal if query.fits(entry, session.state.scenario)]
    calls = [recorded(entry, request.messages) for entry in entries[-request.last :]]
    return _message("ListCallsResponse", calls=calls, evicted=session.journal.evicted)


def recorded(entry: Entry, messages: bool) -> Any:
    """A journal's entry as a message; with requests and replies in JSON where `messages` asks for them."""
    out = _message(
        "RecordedCall",
        id=entry.id,
        method=entry.method,
        kind=entry.kind,
        rule=entry.rule,
        code=entry.code or "",
        message=entry.message,
        began_at=timestamp(entry.began),
        took=span(int(entry.took * SECOND)),
        sent_at=map(timestamp, entry.sent_at),
        metadata=[{"key": key, "value": _text(value)} for key, value in entry.metadata],
        peer=entry.peer,
        unmatched=entry.unmatched,
        notes=entry.notes,
        behaviour=entry.behaviour,
        about=entry.about,
        account=entry.account,
        faults=entry.faults,
    )
    if entry.deadline is not None:
        out.deadline.CopyFrom(span(int(entry.deadline * SECOND)))
    method = METHODS.get(entry.method)
    if messages and method is not None:
        out.request = _json(entry.request, method.input)
        out.replies.extend(_json(raw, method.output) for raw in entry.messages())
    return out


def _json(raw: bytes, cls: type[Any]) -> str:
    import json

    try:
        return json.dumps(to_dict(cls.FromString(raw)), ensure_ascii=False)
    except Exception as failed:  # a request may be anything at all
        return json.dumps({"unreadable": str(failed), "base64": base64.b64encode(raw).decode()})


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else base64.b64encode(value).decode()


# -- verification and explanation


async def _verify(call: Call, request: Any) -> Any:
    enum = message_class(f"{_PACKAGE}.VerifyRequest").Check
    asked = [enum.Name(check).lower() if check in enum.values() else "" for check in request.checks]
    unknown = [check for check, name in zip(request.checks, asked, strict=True) if name not in CHECKS]
    if unknown:
        raise Status(Code.INVALID_ARGUMENT, f"checks: {unknown[0]} is no check; there are {', '.join(CHECKS)}")
    report = call.session.verify(CHECKS if request.strict else asked or DEFAULT_CHECKS)
    problems = [
        _message("Problem", check=enum.Value(problem.check.upper()), subject=problem.subject, text=problem.text)
        for problem in report.problems
    ]
    return _message("VerifyResponse", problems=problems, held=report.held, evicted=report.evicted)


async def _explain(call: Call, request: Any) -> Any:
    entry, text, rule = explained(call.session, request.call_id)
    return _message("ExplainResponse", call_id=entry.id, text=text, rule=rule)


def explained(session: Session, call_id: str) -> tuple[Entry, str, str]:
    """The account of one call, and a rule that would match it; of the last that no rule matched if `call_id` is empty.

    Of a call that a rule answered it is told with counters and states as they are now. Raises NOT_FOUND.
    """
    journal = session.journal
    entry = journal.get(call_id) if call_id else journal.last_unmatched()
    if entry is None and not call_id:
        raise Status(Code.NOT_FOUND, "every call so far was answered by a rule; name a call by its id in the log")
    if entry is None:
        whose = f" of session {session.id}" if session.id else ""
        raise Status(
            Code.NOT_FOUND, f"no call {call_id} in the journal{whose}, which keeps the last calls; see the log for ids"
        )
    head = f"{entry.id} {entry.method} {entry.code or 'open'}" + (f": {entry.message}" if entry.message else "")
    struck = [f"chaos: {fault}" for fault in entry.faults]
    remarks = [*struck, *(f"note: {note}" for note in entry.notes), *(f"client: {note}" for note in entry.behaviour)]
    subject = subject_of(entry, session.state.scenario) if entry.method in CALLS_BY_METHOD else None
    if subject is None:
        return entry, "\n".join([head, "no rule is asked about this method", *remarks]), ""
    told = entry.story or story(session.book, session.state, subject)
    answered = f"answered by: {entry.rule}" if entry.rule else "not answered by any rule"
    if struck and not entry.rule:
        answered = "struck before any rule was asked"
    if not entry.story:
        answered += " (what follows is told with counters and states as they are now, and credentials masked)"
    return entry, "\n".join([head, answered, told, *remarks]), paste(subject)


# -- the clock


def _clock_state(clock: Clock) -> Any:
    return _message(
        "ClockState", now=timestamp(clock.now()), frozen=clock.frozen, speed=clock.speed, sleepers=clock.sleepers
    )


async def _get_clock(call: Call, request: Any) -> Any:
    return _clock_state(call.session.clock)


async def _freeze_clock(call: Call, request: Any) -> Any:
    clock = call.session.clock
    if not request.HasField("at"):
        clock.freeze()
        return _clock_state(clock)
    at = request.at.seconds * SECOND + request.at.nanos
    if at < clock.now():
        raise _going_back()
    if at >= END:
        raise Status(Code.INVALID_ARGUMENT, "at: give a time before the year 10000")
    clock.freeze()
    try:
        await clock.advance_to(at)
    except ValueError:  # somebody else moved it further meanwhile
        raise _going_back() from None
    return _clock_state(clock)


def _going_back() -> Status:
    return Status(Code.INVALID_ARGUMENT, "at: the clock doesn't go back; Reset with CLOCK puts it to its start")


async def _run_clock(call: Call, request: Any) -> Any:
    clock = call.session.clock
    if request.speed and not 0 < request.speed <= MOST_SPEED:
        raise Status(Code.INVALID_ARGUMENT, f"speed: {request.speed} must be more than 0 and at most {MOST_SPEED}")
    clock.run(request.speed or None)
    return _clock_state(clock)


async def _advance_clock(call: Call, request: Any) -> Any:
    by = request.by.seconds * SECOND + request.by.nanos
    if not 0 <= by <= LONGEST_ADVANCE:
        raise Status(Code.INVALID_ARGUMENT, "by: give a duration from 0 to 3650 days")
    clock = call.session.clock
    try:
        stragglers = await clock.advance(by)
    except ValueError as failed:
        raise Status(Code.INVALID_ARGUMENT, f"by: {failed}") from None
    return _message("AdvanceClockResponse", clock=_clock_state(clock), stragglers=stragglers)


async def _wait_for_sleepers(call: Call, request: Any) -> Any:
    clock = call.session.clock
    if request.count < 0:
        raise Status(Code.INVALID_ARGUMENT, f"count: {request.count} is less than 0")
    await clock.wait_for_sleepers(request.count)
    return _clock_state(clock)


# -- operations


def operation_state(record: Record, clock: Clock) -> Any:
    """An operation as it is now; looking is no Get."""
    moment = record.moment(clock.now())
    out = _message(
        "OperationState",
        id=record.id,
        kind=record.call,
        status=moment.status or "",
        done=moment.done,
        polls=record.polls,
        created_at=timestamp(record.created),
        modified_at=timestamp(record.changed(moment)),
        rule=record.rule,
        fetched=record.fetched,
        total_batches=moment.total,
        completed_batches=moment.completed,
    )
    if moment.done and moment.status != "COMPLETED":
        out.error.CopyFrom(error_of(moment))
    return out


async def _list_operations(call: Call, request: Any) -> Any:
    session = call.session
    if len(session.operations) > MOST_LISTED:
        text = f"there are {len(session.operations)} operations, and {MOST_LISTED} are listed at most; reset those that"
        raise Status(Code.RESOURCE_EXHAUSTED, f"{text} are done with, or ask for them by their ids")
    states = [operation_state(record, session.clock) for record in session.operations]
    return _message("ListOperationsResponse", operations=states)


async def _finish_operation(call: Call, request: Any) -> Any:
    return operation_state(call.session.operations.finish(request.operation_id), call.session.clock)


async def _fail_operation(call: Call, request: Any) -> Any:
    error: Status | Code = Code.INTERNAL
    if request.HasField("error"):
        given = request.error
        if given.code not in list(Code) or given.code == Code.OK:
            raise Status(Code.INVALID_ARGUMENT, f"error: {given.code} is no code of an error; give one from 1 to 16")
        error = Code(given.code)
        if given.message or given.details:
            error = Status(error, given.message, details=given.details)
    return operation_state(call.session.operations.fail(request.operation_id, error), call.session.clock)


async def _cancel_operation(call: Call, request: Any) -> Any:
    return operation_state(call.session.operations.cancel(request.operation_id), call.session.clock)


async def _step_operation(call: Call, request: Any) -> Any:
    return operation_state(call.session.operations.step(request.operation_id), call.session.clock)


# -- sessions and snapshots


def _session_state(session: Session, now: float) -> Any:
    return _message(
        "SessionState",
        id=session.id,
        rules=len(session.book.rules),
        calls=len(session.journal),
        open_calls=session.open_calls,
        operations=len(session.operations),
        idle=span(int(max(0.0, now - session.used) * SECOND)),
    )


async def _snapshot(call: Call, request: Any) -> Any:
    from .snapshots import taken  # what it imports is for snapshots alone

    return _message("SnapshotResponse", snapshot=await taken(call.session))


async def _restore(call: Call, request: Any) -> Any:
    from .snapshots import restored

    session = call.session
    restored(session, request.snapshot)
    return _message("RestoreResponse", rules=len(session.book.rules), operations=len(session.operations))


def timestamp(nanoseconds: int) -> Any:
    """An instant of a clock as a message."""
    return Timestamp(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)


def span(nanoseconds: int) -> Any:
    """A span of time as a message."""
    return DurationMessage(seconds=nanoseconds // SECOND, nanos=nanoseconds % SECOND)
