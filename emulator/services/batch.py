"""TextGenerationBatchService: a batch is an operation over a dataset; see `batches` for what becomes of it.

Chosen, since nothing is known: a dataset that does not exist, or is not READY, is refused; but one that does not exist
is let pass where a rule answers the batch, since then its author has said what happens, and its result has no rows.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from .. import wording
from ..batches import UNSUPPORTED, Batch, Results
from ..call import Call, parsed
from ..calls import METHODS_BY_CALL
from ..clock import SECOND
from ..content import Content
from ..datasets import Dataset
from ..engine.results import TASK_TYPE
from ..engine.rows import Fork
from ..errors import Code, Status
from ..gates import Handler
from ..operations import Record, Tied
from ..replies.statuses import ScriptedStatus
from ..replies.timeline import Stage, Timeline
from ..rules.model_uri import Model
from .decide import begin, decide
from .generation import started

ASKED = ("TextToTextGenerationRequest", "TextToTextGeneration")
"""Task types of datasets whose rows are conversations; the first is what the SDK makes (recorded)."""

_REFUSED_AFTER = 3 * SECOND
"""A model that can't run in batch fails its task 2 to 5 s after it was created (recorded)."""


def handlers() -> Mapping[str, Handler]:
    """The service's method by its path."""
    return {METHODS_BY_CALL["completion_batch"]: _create}


async def _create(call: Call) -> AsyncIterator[bytes]:
    session, request = call.session, parsed(call)
    generation = session.generation
    session.operations.make_room()  # nothing has counted where there is none
    play, index = decide(call)
    fork = Fork.of(
        session.layers,
        session.state,
        seed=session.seed.at("batch", index),
        strict=session.strict,
        request=call.request,
        metadata=call.texts,
    )
    model = Model.parse(request.model_uri)
    if play.unmatched and model.name in UNSUPPORTED and not session.config.lenient:
        play.timeline = _refused(request.model_uri)
    source = await _source(call, needed=play.unmatched and not session.config.lenient)
    await begin(play, call)
    session.datasets.make_room()  # for the result; nothing has begun where there is none
    record = started(call, play, index, generation)
    assert isinstance(record, Tied)
    work = record.batch = Batch(record, request, fork, source, session.datasets.store)
    work.logged = call.header("x-data-logging-enabled") == "true"
    session.datasets.add(_result(record, work))
    yield session.operations.message(record).SerializeToString()


async def _source(call: Call, needed: bool) -> Content | None:
    """The rows of the dataset that the request names. Raises NOT_FOUND and FAILED_PRECONDITION."""
    session, dataset_id = call.session, parsed(call).source_dataset_id
    if dataset_id not in session.datasets and not needed:
        return None
    dataset, stand = await session.datasets.look(dataset_id)
    if stand.status != "READY":
        text = f"dataset {dataset_id} is {stand.status}; validate it, a batch needs it READY"
        raise Status(Code.FAILED_PRECONDITION, text)
    if dataset.task_type not in ASKED:
        text = f"dataset {dataset_id} is of type {dataset.task_type}; a batch takes {ASKED[0]}"
        raise Status(Code.FAILED_PRECONDITION, text)
    return await dataset.origin.lines()


def _result(record: Record, batch: Batch) -> Dataset:
    """The dataset that the batch fills, named and labelled as recorded; there once the task is PENDING."""
    ages = [stage.at for stage in record.timeline.stages if stage.at is not None and stage.status != "FAILED"]
    return Dataset(
        id=record.dataset_id,
        folder=record.folder,
        name=f"Batch inference {record.task_id} result",
        created=record.created + min(ages, default=0),
        account=record.account,
        task_type=TASK_TYPE,
        origin=Results(batch),
        labels={
            "foundation_models_batch_task_id": record.task_id,
            "foundation_models_source_dataset": batch.request.source_dataset_id,
        },
    )


def _refused(model_uri: str) -> Timeline:
    error = ScriptedStatus(Code.INVALID_ARGUMENT, wording.not_in_batch(model_uri))
    return Timeline((Stage(at=_REFUSED_AFTER, status="FAILED", done=True, error=error),), given=False)
