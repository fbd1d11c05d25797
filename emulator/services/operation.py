"""OperationService: Get tells what an operation is now and counts as a poll; Cancel ends one that is pending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Answer, Call, parsed
from ..gates import Handler
from ..operations import Record

_SERVICE = "/yandex.cloud.operation.OperationService/"


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {_SERVICE + "Get": _get, _SERVICE + "Cancel": _cancel}


def _get(call: Call) -> Answer:
    id_ = call.entry.operation_id = parsed(call).operation_id
    session = call.session
    record = session.operations.get(id_)
    session.habits.polled(call.entry, id_, record.polls + 1, record.fetched)
    record, asked = session.operations.poll(id_)
    # What this Get tells was settled by the poll, however long a picture takes to draw.
    return _told(call, record, asked)


def _cancel(call: Call) -> Answer:
    id_ = call.entry.operation_id = parsed(call).operation_id
    return _told(call, call.session.operations.cancel(id_))


def _told(call: Call, record: Record, asked: int | None = None) -> Answer:
    call.entry.rule = record.rule
    operations = call.session.operations
    if operations.slow(record, asked):
        return _drawn(call, record, asked)
    raw: bytes = operations.message(record, asked).SerializeToString()
    return raw


async def _drawn(call: Call, record: Record, asked: int | None) -> AsyncIterator[bytes]:
    operations = call.session.operations
    await operations.drawn(record)
    yield operations.message(record, asked).SerializeToString()
