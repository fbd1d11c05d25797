"""Does this call go wrong before anything answers it? The last gate, so no rule is asked about a call that fails here.

Where no chaos is asked for the gate is not there. Faults that break off a stream let the call through and are carried
out when its play is made, as are those of the rule that answers it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING

from msgspec.structs import replace

from ..call import Answer, Call, messages_of
from ..calls import CALLS_BY_METHOD, CONVERSATIONS
from ..chaos import NAMES, Fault
from ..digests import blake2b
from ..replies.play import Play
from ..replies.strike import Strike, combined, messages_in
from ..rules.subject import Subject
from .quota import folder_of

if TYPE_CHECKING:
    from ..errors import Status
    from ..replies.statuses import ScriptedStatus
    from . import Handler

MOST_KEYS = 100_000
"""Questions, requests, folders or keys that a fault counts apart; beyond that those that came first begin anew."""

_KEYS = "\0keys"


def gate(call: Call, following: Handler) -> Answer:
    """Let `call` pass, or do to it what the faults of its session draw for it."""
    faults = call.session.faults
    if not faults:
        return following(call)
    strikes = [strike for fault in faults if (strike := _drawn(call, fault)) is not None]
    if not strikes:
        return following(call)
    return _struck(call, following, combined(strikes))


async def _struck(call: Call, following: Handler, strike: Strike) -> AsyncIterator[bytes]:
    if not strike.in_stream:
        note(call, strike)
    await met(call, strike)
    if strike.in_stream:
        call.strike = replace(strike, delay=0)
    async with aclosing(messages_of(call, following(call))) as messages:  # type: ignore[type-var]
        async for message in messages:
            yield message


async def met(call: Call, strike: Strike) -> None:
    """Wait as long as `strike` asks, and end the call if it does that before a stream begins. Raises the Status that it
    ends with.
    """
    clock = call.session.clock
    if strike.delay:
        await clock.until(clock.now() + strike.delay)
    if strike.in_stream:
        return
    if strike.end == "stall":
        await (clock.forever() if strike.stall is None else clock.until(clock.now() + strike.stall))
    elif strike.status is not None:
        call.dropped = strike.end == "drop"
        call.at = clock.now()
        raise strike.status


def befall(call: Call, play: Play, rule: str, chosen: int) -> None:
    """Lay over `play` what the gate has left for it and what the faults of its rule draw.

    `rule` is the identity of that rule, which had been chosen `chosen` times before.
    """
    session = call.session
    now = session.clock.now()
    strikes = [call.strike] if call.strike is not None else []
    for fault in play.faults:
        if fault.in_force(now, session.began) and (not fault.in_stream or _streams(call)):
            seed = session.seed.at("chaos", rule, fault.identity)
            strike = fault.strike(chosen, seed, partial(_worded, call))
            strikes += [strike] if strike is not None else []
    if not strikes:
        return
    strike = combined(strikes)
    if strike.in_stream:
        if play.failure is not None or play.cutting is None:
            strike = replace(strike, end="", after=None, status=None)
        else:
            strike = replace(strike, after=strike.place(messages_in(play.steps())))
            call.dropped = strike.end == "drop"
    note(call, strike)
    play.strike = strike


def note(call: Call, strike: Strike) -> None:
    """Keep in the journal what struck the call."""
    if strike.delay or strike.end:
        call.entry.faults += (f"{' and '.join(strike.faults)}: {strike.told()}",)


def _drawn(call: Call, fault: Fault) -> Strike | None:
    """What `fault` does to the call, which counts if it is one of those it concerns."""
    session = call.session
    if not _concerns(fault, call) or not fault.in_force(session.clock.now(), session.began):
        return None
    key = _key(fault.per, call)
    n = _counted(session.state.met, fault.identity, key)
    return fault.strike(n, session.seed.at("chaos", fault.identity, key), partial(_worded, call))


def _counted(met: dict[tuple[str, str], int], identity: str, key: str) -> int:
    """Count a call under `key`; how many there were before."""
    n = met.get((identity, key), 0)
    met[identity, key] = n + 1
    if n == 0 and key != "session":
        keys = met.get((identity, _KEYS), 0) + 1
        if keys > MOST_KEYS:
            mine = [counter for counter in met if counter[0] == identity and counter[1] != _KEYS]
            gone = mine[: -(-MOST_KEYS // 2)]
            keys -= len(gone)
            for counter in gone:
                del met[counter]
        met[identity, _KEYS] = keys
    return n


def _concerns(fault: Fault, call: Call) -> bool:
    if fault.calls is not None and NAMES.get(call.method) not in fault.calls:
        return False
    if fault.in_stream and not _streams(call):
        return False
    if not fault.when.checks:
        return True
    # Conditions that can be asked of any call look at no request, so it does not matter which call it is taken for.
    name = CALLS_BY_METHOD.get(call.method, "completion")
    subject = Subject(name, call.message, call.request, call.texts, call.session.state.scenario)
    return not any(check.check(subject) for check in fault.when.checks)


def _streams(call: Call) -> bool:
    return CALLS_BY_METHOD.get(call.method) == "completion" and bool(call.message.completion_options.stream)


def _key(per: str, call: Call) -> str:
    """What a fault counts by, for this call."""
    if per == "session":
        return per
    if per == "folder":
        return "folder:" + folder_of(call)
    if per == "idempotency-key":
        return "key:" + (call.header("idempotency-key") or "")
    asked = call.request
    name = CALLS_BY_METHOD.get(call.method, "")
    if per == "question" and name in CONVERSATIONS:
        question = Subject(name, call.message, call.request, {}).question
        asked = question.raw.encode() if question is not None else b""
    return f"{per}:{blake2b(asked, digest_size=16).hexdigest()}"


def _worded(call: Call, error: ScriptedStatus) -> Status:
    return error.status({}, folder=folder_of(call), call=NAMES.get(call.method, ""))
