"""Has this very request been answered before, and would it be answered in the same way? Then so, at once.

It is asked before all gates, about calls for which none of them has anything to do: everybody may call, no quota holds,
nothing goes wrong on purpose, and no idempotency key was sent. What the rules would count is counted.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..call import Answer, Call
from ..calls import CALLS_BY_METHOD
from ..engine.choose import apply
from ..replies.metadata import laid_over
from .idempotency import KEY


def recalled(call: Call) -> Answer | None:
    """What `call` is answered with, as its like was before; None where it has to go the whole way."""
    session, method = call.session, call.method
    if method not in CALLS_BY_METHOD:
        return None
    found = session.answers.get((method, call.request))
    if found is None or not session.unguarded(method) or call.header(KEY) or (found.unmatched and session.strict):
        return None
    apply(session.state, found.delta)
    entry = call.entry
    call.request = entry.request = found.request  # one copy for all: memory that is fresh for each call costs more
    entry.kind, entry.rule, entry.unmatched, entry.notes = found.kind, found.rule, found.unmatched, found.notes
    if found.headers:
        call.headers = laid_over(call.headers, found.headers)
    if found.trailers:
        call.trailers.extend(found.trailers)
    call.at = entry.began
    if found.play is None:
        return found.messages[0]
    entry.play = found.play
    return _in_turn(call, found.messages)


def _in_turn(call: Call, messages: tuple[bytes, ...]) -> Iterator[bytes]:
    yield from messages[:-1]
    call.last = True
    yield messages[-1]
