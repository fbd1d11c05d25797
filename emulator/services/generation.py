"""The services that answer with an operation: text in the background, batches, and pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Call
from ..calls import CALLS_BY_METHOD, METHODS_BY_CALL, OPERATIONS
from ..gates import Handler
from ..operations import PREFIXES, Record
from ..replies.timeline import default_timeline
from ..rules.model_uri import Model
from .decide import begin, decide


def handlers() -> Mapping[str, Handler]:
    """The services' methods by path."""

    async def create(call: Call) -> AsyncIterator[bytes]:
        name = CALLS_BY_METHOD[call.method]
        play, index = decide(call)
        await begin(play, call)
        session = call.session
        seed = session.seed.at("operation", name, index)
        if session.immediate:
            play.timeline = (play.timeline or default_timeline(name)).at_first_get()
        id_ = session.operations.fresh(seed, PREFIXES[name])
        record = Record(id_, name, call.at, call.account or session.account, play)
        record.folder = Model.parse(call.message.model_uri).folder
        if name == "completion_batch":
            record.task_id = session.operations.fresh(seed, "fbi", "task")
            record.dataset_id = session.operations.fresh(seed, "fds", "result")
        session.operations.start(record)
        call.entry.operation_id = id_
        yield session.operations.message(record).SerializeToString()

    return {METHODS_BY_CALL[name]: create for name in OPERATIONS}
