"""Has this very request been answered before, and would it be answered in the same way? Then so, at once.

The gate stands before all others and looks at calls for which none of those has anything to do: everybody may call, no
quota holds, nothing goes wrong on purpose, and no idempotency key was sent. What the rules would count is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..call import Answer, Call
from ..engine.choose import apply
from ..engine.lasting import Lasting
from ..replies.metadata import laid_over
from . import Handler
from .idempotency import KEY


def gate(call: Call, following: Handler) -> Answer:
    """Answer `call` as its like was answered, or hand it on."""
    session = call.session
    found = session.answers.get((call.method, call.request))
    if found is None or not session.unguarded(call.method) or call.header(KEY):
        return following(call)
    if found.unmatched and session.strict:
        return following(call)
    return _again(call, found)


def _again(call: Call, found: Lasting) -> Answer:
    session, entry = call.session, call.entry
    apply(session.state, found.delta)
    call.request = entry.request = found.request  # one copy for all: memory that is fresh for each call costs more
    entry.kind, entry.rule, entry.unmatched = found.kind, found.rule, found.unmatched
    if found.notes:
        entry.notes.extend(found.notes)
    if found.headers:
        call.headers = laid_over(call.headers, found.headers)
    if found.trailers:
        call.trailers.extend(found.trailers)
    call.at = entry.began
    if found.play is None:
        return found.messages[0]
    entry.play = found.play
    return in_turn(call, found.messages)


def in_turn(call: Call, messages: tuple[bytes, ...]) -> Iterator[bytes]:
    """`messages`, the last of which says that it is."""
    yield from messages[:-1]
    call.last = True
    yield messages[-1]
