"""What the services that rules answer have in common: from bytes to a play."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..api import METHODS
from ..call import Call
from ..engine.choose import apply, choose
from ..engine.explain import short, story
from ..errors import Code, Status
from ..gates import Gates
from ..replies.play import Play
from ..rules.subject import Subject

Decide = Callable[[Call, str], tuple[Play, str]]


def parsed(call: Call) -> Any:
    """The request message. Raises INVALID_ARGUMENT for bytes that are none."""
    method = METHODS[call.method]
    try:
        call.message = method.input.FromString(call.request)
    except Exception:  # protobuf raises DecodeError, and others for text that is not UTF-8
        name = method.input_name.rpartition(".")[2]
        raise Status(Code.INVALID_ARGUMENT, f"the request is not a serialized {name}") from None
    return call.message


def decider(gates: Gates) -> Decide:
    """A function that takes a call of the fixture language's name to its play and to an id for what the play starts."""

    def decide(call: Call, name: str) -> tuple[Play, str]:
        message = parsed(call)
        call.entry.kind = name
        gates.admit(call, name)
        session = call.session
        subject = Subject(name, message, call.request, call.texts, session.state.scenario)
        play, delta = choose(session.book, session.state, subject, session.seed)
        call.entry.unmatched, call.entry.spent = play.unmatched, play.spent
        if play.unmatched and session.strict:
            call.entry.story = story(session.book, session.state, subject)
            text = short(session.book, session.state, subject, session.named(call.entry.id))
            raise Status(Code.FAILED_PRECONDITION, text)
        index = session.state.chosen.get(delta.identity, 0)
        apply(session.state, delta)
        call.entry.rule = play.rule
        call.entry.notes.extend(play.notes)
        scripted = dict(play.headers)
        call.headers = [pair for pair in call.headers if pair[0] not in scripted] + list(play.headers)
        call.trailers.extend(play.trailers)
        return play, f"{delta.identity}/{index}"

    return decide


async def begin(play: Play, call: Call) -> int:
    """Wait out the play's delay and end the call if that is what it does. Returns the instant it began (ns)."""
    clock = call.session.clock
    began = clock.now()
    if play.delay:
        began += play.delay
        await clock.until(began)
    call.at = began
    if play.failure is not None:
        raise play.failure
    return began
