"""TextGenerationService: a completion, in one message or as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Call
from ..calls import METHODS_BY_CALL
from ..gates import Handler
from ..replies.play import Play
from ..replies.streams import FOREVER
from .decide import begin, decide


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {METHODS_BY_CALL["completion"]: _completion}


def _completion(call: Call) -> AsyncIterator[bytes]:
    play, _ = decide(call)
    call.entry.play = play
    return performed(call, play)


async def performed(call: Call, play: Play) -> AsyncIterator[bytes]:
    """The messages of a completion's play, each at its instant, counted from now. Raises the Status it ends with."""
    clock = call.session.clock
    at = await begin(play, call)
    for step in play.steps():
        if step.wait == FOREVER:
            await clock.forever()
        elif step.wait:
            at += step.wait
            await clock.until(at)
            call.at = at
        if step.failure is not None:
            raise step.failure
        if step.message is not None:
            yield step.message.SerializeToString(deterministic=True)
