"""An operation as clients see it.

Shapes are those of recorded traffic: a text operation has description, creator and times and no metadata; a picture's
has nothing but its id until it is done; a batch has times and metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..api import TYPE_URL, BatchCompletionMetadata, BatchCompletionResponse, Operation, RpcStatus, pack
from ..clock import SECOND
from ..replies.statuses import packed
from ..replies.timeline import FINAL, Moment, failure
from .record import Record
from .reply import RESPONSES

DESCRIPTIONS: Mapping[str, str] = {"completion_async": "Async GPT Completion"}

TOLD = ("IN_PROGRESS", "COMPLETED")
"""In which an operation tells what it has found out."""

_STATUS = {"CREATED": 1, "PENDING": 2, "IN_PROGRESS": 3, "COMPLETED": 4, "FAILED": 5, "CANCELED": 6}
assert set(FINAL) <= set(_STATUS)


def told(record: Record, moment: Moment, picture: Callable[[Record], bytes]) -> Any:
    """The Operation at `moment`; `picture` draws what is drawn when it is first asked for."""
    operation = Operation(id=record.id, done=moment.done)
    if record.call in DESCRIPTIONS:
        operation.description = DESCRIPTIONS[record.call]
        operation.created_by = record.account
    if record.call != "generate_image":
        operation.created_at.seconds = record.created // SECOND
        operation.modified_at.seconds = record.changed(moment) // SECOND
    if record.call == "completion_batch":
        operation.metadata.CopyFrom(pack(_metadata(record, moment)))
    work = record.work
    if work is not None and work.metadata is not None and moment.status in TOLD:
        operation.metadata.CopyFrom(pack(work.metadata()))
    if not moment.done:
        return operation
    if moment.status != "COMPLETED":
        operation.error.CopyFrom(error_of(moment))
        return operation
    operation.response.type_url = TYPE_URL + RESPONSES[record.call].DESCRIPTOR.full_name
    operation.response.value = picture(record) if record.slow else _response(record)
    return operation


def error_of(moment: Moment) -> Any:
    """The google.rpc.Status of an operation that has ended without a response."""
    ended = failure(moment, {})
    return RpcStatus(code=int(ended.code), message=ended.message, details=map(packed, ended.details))


def _response(record: Record) -> bytes:
    """The message that it is done with, serialized."""
    reply = record.reply if isinstance(record.reply, bytes) else b""
    if record.work is not None:
        response = record.work.final()
    elif record.call == "completion_batch":
        response = BatchCompletionResponse.FromString(reply)
        response.task_id = response.task_id or record.task_id
        response.task_status = response.task_status or _STATUS["COMPLETED"]
        response.result_dataset_id = response.result_dataset_id or record.dataset_id
    else:
        return reply + record.rest
    raw: bytes = response.SerializeToString(deterministic=True)
    return raw


def _metadata(record: Record, moment: Moment) -> Any:
    metadata = BatchCompletionMetadata(task_id=record.task_id)
    if moment.status is not None:
        metadata.task_status = _STATUS[moment.status]
    metadata.completed_batches, metadata.total_batches = moment.completed, moment.total
    return metadata
