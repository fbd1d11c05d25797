"""The services that answer with an operation: text in the background, and pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Answer, Call
from ..calls import CALLS_BY_METHOD, METHODS_BY_CALL
from ..errors import Code, Status
from ..gates import Handler
from ..operations import PREFIXES, Record
from ..replies.play import Play
from ..replies.timeline import default_timeline
from ..rules.model_uri import Model
from ..sessions import BEGAN_AGAIN
from .decide import begin, decide


def handlers() -> Mapping[str, Handler]:
    """The services' methods by path."""
    return {METHODS_BY_CALL[name]: _create for name in ("completion_async", "generate_image")}


def _create(call: Call) -> Answer:
    session = call.session
    session.operations.make_room()  # nothing has counted where there is none
    play, index = decide(call)
    if play.delay or play.strike is not None:
        return _later(call, play, index, session.generation)
    call.at = session.clock.now()
    if play.failure is not None:
        raise play.failure
    return _begun(call, play, index, session.generation)


async def _later(call: Call, play: Play, index: str, generation: int) -> AsyncIterator[bytes]:
    await begin(play, call)
    yield _begun(call, play, index, generation)


def _begun(call: Call, play: Play, index: str, generation: int) -> bytes:
    record = started(call, play, index, generation)
    raw: bytes = call.session.operations.message(record).SerializeToString()
    return raw


def started(call: Call, play: Play, index: str, generation: int) -> Record:
    """The operation that `call` begins, kept from now on; `index` tells it from others of its kind.

    Raises CANCELLED if the session isn't the one that chose the play any more, by its `generation`.
    """
    name, session = CALLS_BY_METHOD[call.method], call.session
    if session.generation != generation:
        raise Status(Code.CANCELLED, BEGAN_AGAIN)
    seed = session.seed.at("operation", name, index)
    if session.immediate:
        play.timeline = (play.timeline or default_timeline(name)).at_first_get()
    operations, batch = session.operations, name == "completion_batch"
    record = operations.begin(
        operations.fresh(seed, PREFIXES[name]),
        name,
        call.at,
        call.account or session.account,
        play,
        folder=Model.parse(call.message.model_uri).folder or call.header("x-folder-id") or "",
        task_id=operations.fresh(seed, "fbi", "task") if batch else "",
        dataset_id=session.datasets.fresh(seed, "result") if batch else "",
    )
    call.entry.operation_id = record.id
    return record
