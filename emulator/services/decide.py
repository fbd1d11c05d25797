"""What the services that rules answer have in common: from bytes to a play."""

from __future__ import annotations

from collections.abc import AsyncIterator

from ..call import Answer, Call, parsed
from ..calls import CALLS_BY_METHOD
from ..engine.choose import apply, choose
from ..engine.lasting import Answers, lasting_of
from ..errors import Code, Status
from ..gates.fault import befall, met
from ..replies.metadata import laid_over
from ..replies.play import Play
from ..rules.subject import Subject


def decide(call: Call) -> tuple[Play, str]:
    """What answers a call that rules answer, and an id for what its play starts."""
    name = CALLS_BY_METHOD[call.method]
    session = call.session
    subject = Subject(name, parsed(call), call.request, call.metadata, session.state.scenario, call.said)
    play, delta = choose(session.book, session.state, subject, session.seed)
    call.entry.unmatched, call.entry.spent = play.unmatched, play.spent
    if play.unmatched and session.strict:
        from ..engine.explain import short, story

        call.entry.story = story(session.book, session.state, subject)
        text = short(session.book, session.state, subject, session.named(call.entry.id))
        raise Status(Code.FAILED_PRECONDITION, text)
    index = session.state.chosen.get(delta.identity, 0)
    apply(session.state, delta)
    if play.faults or call.strike is not None:
        befall(call, play, delta.identity, index)
    call.entry.rule = play.rule
    call.entry.notes += tuple(play.notes)
    if play.headers:
        call.headers = laid_over(call.headers, play.headers)
    call.trailers.extend(play.trailers)
    return play, f"{delta.identity}/{index}"


def at_once(call: Call) -> Answer:
    """The handler of a method that is answered with one message."""
    play, _ = decide(call)
    return one(call, play) if not play.delay and play.strike is None else _later(call, play)


def one(call: Call, play: Play) -> bytes:
    """The one message of a play, due now. Raises the Status that the call ends with instead."""
    call.at = call.session.clock.now()
    if play.failure is not None:
        raise play.failure
    raw: bytes = play.final().SerializeToString(deterministic=True)
    if play.lasting is not None:
        keep(call, play, call.session.answers, (raw,))
    return raw


def keep(call: Call, play: Play, answers: Answers, messages: tuple[bytes, ...]) -> None:
    """Keep what `call` is answered with for calls like it, where it stays the same, in the `answers` of the rules that
    chose it.
    """
    lasting = lasting_of(call.entry.kind, play, call.request, messages, call.entry.play is not None)
    if lasting is not None:
        call.session.home.kept.keep(answers, call.method, lasting)


async def _later(call: Call, play: Play) -> AsyncIterator[bytes]:
    await begin(play, call)
    yield play.final().SerializeToString(deterministic=True)


async def begin(play: Play, call: Call) -> int:
    """Wait out the play's delay and end the call if that is what it does. Returns the instant it began (ns)."""
    clock = call.session.clock
    if play.strike is not None:
        await met(call, play.strike)
    began = clock.now()
    if play.delay:
        began += play.delay
        await clock.until(began)
    call.at = began
    if play.failure is not None:
        raise play.failure
    return began
