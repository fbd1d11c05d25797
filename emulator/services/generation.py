"""The services that answer with an operation: text in the background, batches, and pictures."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Call
from ..operations import PREFIXES, Record
from .decide import Decide, begin
from .router import Handler

_FM = "/yandex.cloud.ai.foundation_models.v1."
CALLS = {
    f"{_FM}TextGenerationAsyncService/Completion": "completion_async",
    f"{_FM}TextGenerationBatchService/Completion": "completion_batch",
    f"{_FM}image_generation.ImageGenerationAsyncService/Generate": "generate_image",
}


def handlers(decide: Decide) -> Mapping[str, Handler]:
    """The services' methods by path."""

    async def create(call: Call) -> AsyncIterator[bytes]:
        name = CALLS[call.method]
        play, index = decide(call, name)
        await begin(play, call)
        session = call.session
        seed = session.seed.at("operation", name, index)
        record = Record(seed.identifier(PREFIXES[name]), name, session.clock.now(), session.account, play)
        if name == "completion_batch":
            record.task_id = seed.identifier("fbi", "task")
            record.dataset_id = seed.identifier("fds", "result")
        session.operations.start(record)
        yield session.operations.message(record).SerializeToString()

    return dict.fromkeys(CALLS, create)
