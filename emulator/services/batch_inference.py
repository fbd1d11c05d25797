"""BatchInferenceService: batch tasks as the current SDK sees them. A task is the other face of a batch operation.

Describe is a look at the operation: it counts as a poll and meets what the timeline scripts for that poll, since this
is where the SDK waits. It tells which rows failed, so it waits until all rows of a completed batch are answered; List
does not, and tells the failed rows only where they are known already, as many on a page as Describe of one task.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

from ..api import (
    BatchInferenceTask,
    CancelBatchInferenceResponse,
    DeleteBatchInferenceResponse,
    DescribeBatchInferenceResponse,
    ListBatchInferencesResponse,
    TaskCompletionRequest,
)
from ..batches import Batch, View
from ..call import Call, parsed
from ..clock import SECOND
from ..engine.results import MOST_ERRORS, Made
from ..errors import Code, Status
from ..gates import Handler
from ..operations import Record, error_of
from ..replies.timeline import FINAL
from .paging import page, position

_SERVICE = "/yandex.cloud.ai.batch_inference.v1.BatchInferenceService/"
MOST_A_PAGE = 100
_MILLISECOND, _MICROSECOND = SECOND // 1000, SECOND // 1_000_000


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {
        _SERVICE + "Describe": _describe,
        _SERVICE + "List": _list,
        _SERVICE + "Cancel": _cancel,
        _SERVICE + "Delete": _delete,
    }


async def _describe(call: Call) -> AsyncIterator[bytes]:
    record, batch = _found(call)
    session = call.session
    session.habits.polled(call.entry, record.id, record.polls + 1, record.fetched)
    # What this look tells was settled by the poll, however long the rows take.
    _, now = session.operations.poll(record.id)
    view = batch.view(now)
    record.fetched = record.fetched or view.status in FINAL
    if view.told:
        await batch.results()
    yield DescribeBatchInferenceResponse(task=_task(record, batch, view, now)).SerializeToString()


async def _list(call: Call) -> AsyncIterator[bytes]:
    request, now = parsed(call), call.session.clock.now()
    size, behind = request.page_size, position(request.page_token) or 0
    found: list[tuple[Record, Batch, View]] = []
    for record in call.session.operations.batches():
        batch = record.batch
        if record.number <= behind or batch is None or batch.deleted or record.folder != request.folder_id:
            continue
        view = batch.view(now)
        if not request.status or _STATUS[view.status] == request.status:
            found.append((record, batch, view))
        if len(found) > (size if 0 < size <= MOST_A_PAGE else MOST_A_PAGE):  # one more tells that there is another page
            break
    shown, following = page(found, lambda each: each[0].number, size, request.page_token, MOST_A_PAGE)
    most = MOST_ERRORS // max(1, len(shown))  # all of them in one reply
    tasks = [_task(record, batch, view, now, most) for record, batch, view in shown]
    yield ListBatchInferencesResponse(tasks=tasks, next_page_token=following).SerializeToString()


async def _cancel(call: Call) -> AsyncIterator[bytes]:
    record, batch = _found(call)
    if batch.view(call.session.clock.now()).status not in FINAL:  # a completed task may have an operation that goes on
        call.session.operations.cancel(record.id)
    yield CancelBatchInferenceResponse(task_id=record.task_id).SerializeToString()


async def _delete(call: Call) -> AsyncIterator[bytes]:
    record, batch = _found(call)
    if batch.view(call.session.clock.now()).status not in FINAL:
        text = f"batch task {record.task_id} is still under way; cancel it first"
        raise Status(Code.FAILED_PRECONDITION, text)
    batch.deleted = True
    yield DeleteBatchInferenceResponse(task_id=record.task_id).SerializeToString()


def _found(call: Call) -> tuple[Record, Batch]:
    """The task that the request names. Raises NOT_FOUND."""
    task_id = parsed(call).task_id
    record = call.session.operations.of_task(task_id)
    if record is None or record.batch is None or record.batch.deleted:
        raise Status(Code.NOT_FOUND, f"Batch inference task {task_id[:100]} not found")
    call.entry.operation_id, call.entry.rule = record.id, record.rule
    return record, record.batch


def _task(record: Record, batch: Batch, view: View, now: int, most: int = MOST_ERRORS) -> Any:
    """The task as clients see it, with the fields that were recorded at each status; it tells of at most so many rows
    that failed.
    """
    request = batch.request
    task = BatchInferenceTask(
        task_id=record.task_id,
        operation_id=record.id,
        folder_id=record.folder,
        model_uri=request.model_uri,
        source_dataset_id=request.source_dataset_id,
        completion_request=_completion_request(batch),
        status=_STATUS[view.status],
        result_dataset_id=record.dataset_id if view.results else "",
        created_by=record.account,
    )
    _set(task.created_at, record.created // _MILLISECOND * _MILLISECOND)
    if view.started is not None:
        _set(task.started_at, view.started // _MICROSECOND * _MICROSECOND)
    if view.finished is not None:
        _set(task.finished_at, view.finished // _MICROSECOND * _MICROSECOND)
    if view.told:
        _tell(task.errors, batch.made or Made(), most)
    elif view.status == "FAILED":
        task.errors.status.CopyFrom(error_of(record.moment(now)))
    return task


def _tell(errors: Any, made: Made, most: int) -> None:
    """Which rows failed; with none there is an empty status, as recorded."""
    errors.status.SetInParent()
    told = made.errors[:most]
    for number, text in told:
        errors.line_errors.add(line_number=number, message=text)
    if made.failed > len(told):
        errors.status.message = f"{made.failed} of {made.rows} rows failed; the first {len(told)} are told"


def _completion_request(batch: Batch) -> Any:
    request = batch.request
    out = TaskCompletionRequest(model_uri=request.model_uri, source_dataset_id=request.source_dataset_id)
    if request.HasField("completion_options"):
        options = request.completion_options
        out.completion_options.SetInParent()
        for name in ("temperature", "max_tokens"):
            if options.HasField(name):
                getattr(out.completion_options, name).value = getattr(options, name).value
        if options.HasField("reasoning_options"):
            out.completion_options.reasoning_options.mode = options.reasoning_options.mode
    if request.WhichOneof("ResponseFormat") == "json_object":
        out.json_object = request.json_object
    elif request.WhichOneof("ResponseFormat") == "json_schema":
        out.json_schema.schema.CopyFrom(request.json_schema.schema)
    out.data_logging_enabled = batch.logged
    return out


def _set(timestamp: Any, at: int) -> None:
    timestamp.seconds, timestamp.nanos = divmod(at, SECOND)


_STATUS: Mapping[str, int] = {
    name: value.number
    for name, value in BatchInferenceTask.DESCRIPTOR.enum_types_by_name["Status"].values_by_name.items()
}
