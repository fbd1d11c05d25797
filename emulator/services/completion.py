"""TextGenerationService: a completion, in one message or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping

from ..call import Answer, Call
from ..calls import METHODS_BY_CALL
from ..engine.lasting import LARGEST, Answers
from ..gates import Handler
from ..replies.play import Play
from ..replies.streams import FOREVER
from .decide import begin, decide, keep, one


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {METHODS_BY_CALL["completion"]: _completion}


def _completion(call: Call) -> Answer:
    play, _ = decide(call)
    if play.at_once:
        return one(call, play)
    call.entry.play = play
    if play.unpaced:
        return _in_turn(call, play, call.session.answers)
    return performed(call, play)


def _in_turn(call: Call, play: Play, answers: Answers) -> Iterator[bytes]:
    """The messages of a play that waits for nothing, due now. Raises the Status that it ends with."""
    call.at = call.session.clock.now()
    if play.failure is not None:
        raise play.failure
    sent: list[bytes] = []
    room = LARGEST if play.lasting is not None else 0  # each message holds all the text so far
    steps = play.steps()
    following = next(steps, None)
    while following is not None:
        raw: bytes = following.message.SerializeToString(deterministic=True)
        following = next(steps, None)
        call.last = following is None
        room -= len(raw)
        if room > 0:
            sent.append(raw)
            if call.last:
                keep(call, play, answers, tuple(sent))
        else:
            sent.clear()
        yield raw


async def performed(call: Call, play: Play) -> AsyncIterator[bytes]:
    """The messages of a completion's play, each at its instant, counted from now. Raises the Status it ends with."""
    clock = call.session.clock
    at = await begin(play, call)
    steps = play.steps()
    following = next(steps, None)
    while following is not None:
        step = following
        if step.wait == FOREVER:
            await clock.forever()
        elif step.wait:
            at += step.wait
            await clock.until(at)
            call.at = at
        if step.failure is not None:
            raise step.failure
        # A stream's partial messages are one object that grows, so it is serialized before the next is made.
        raw = step.message.SerializeToString(deterministic=True) if step.message is not None else None
        following = next(steps, None)
        if raw is not None:
            call.last = following is None or (following.message is None and following.failure is None)
            yield raw
