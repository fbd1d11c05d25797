"""The control API: steer and question a running emulator. It is on when every listener is loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from .api import METHODS, ExplainResponse
from .call import Call, texts_of
from .calls import CALLS_BY_METHOD
from .engine.explain import paste, story
from .errors import Code, Status
from .journal import Entry
from .rules.subject import Subject
from .services.decide import parsed
from .services.router import Handler

_SERVICE = "/emulator.v1.ControlService/"


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {_SERVICE + "Explain": _explain}


async def _explain(call: Call) -> AsyncIterator[bytes]:
    asked = parsed(call).call_id
    journal = call.session.journal
    entry = journal.get(asked) if asked else journal.last_unmatched()
    if entry is None and not asked:
        raise Status(Code.NOT_FOUND, "every call so far was answered by a rule; name a call by its id in the log")
    if entry is None:
        raise Status(Code.NOT_FOUND, f"no call {asked} in the journal, which keeps the last calls; see the log for ids")
    yield explained(entry, call).SerializeToString()


def explained(entry: Entry, call: Call) -> Any:
    """The account of one call. Of a call that a rule answered it is told with counters and states as they are now."""
    head = f"{entry.id} {entry.method} {entry.code or 'open'}" + (f": {entry.message}" if entry.message else "")
    name = CALLS_BY_METHOD.get(entry.method)
    subject = _subject(entry, name, call) if name is not None else None
    if subject is None:
        return ExplainResponse(call_id=entry.id, text=f"{head}\nno rule is asked about this method")
    session = call.session
    told = entry.story or story(session.book, session.state, subject)
    answered = f"answered by: {entry.rule}" if entry.rule else "not answered by any rule"
    if not entry.story:
        answered += " (what follows is told with counters and states as they are now, and credentials masked)"
    text = "\n".join([head, answered, told, *(f"note: {note}" for note in entry.notes)])
    return ExplainResponse(call_id=entry.id, text=text, rule=paste(subject))


def _subject(entry: Entry, name: str | None, call: Call) -> Subject | None:
    try:
        message = METHODS[entry.method].input.FromString(entry.request)
    except Exception:  # what the call itself was refused for
        return None
    return Subject(name or "", message, entry.request, texts_of(entry.metadata), call.session.state.scenario)
