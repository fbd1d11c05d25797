"""OperationService: Get tells what an operation is now and counts as a poll; Cancel ends one that is pending."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

from ..call import Call
from ..operations import Record
from .decide import parsed
from .router import Handler

_SERVICE = "/yandex.cloud.operation.OperationService/"


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {_SERVICE + "Get": _get, _SERVICE + "Cancel": _cancel}


async def _get(call: Call) -> AsyncIterator[bytes]:
    yield await _told(call, call.session.operations.poll(parsed(call).operation_id))


async def _cancel(call: Call) -> AsyncIterator[bytes]:
    yield await _told(call, call.session.operations.cancel(parsed(call).operation_id))


async def _told(call: Call, record: Record) -> bytes:
    call.entry.rule = record.play.rule
    operations = call.session.operations
    if operations.slow(record):
        await operations.drawn(record)
    raw: bytes = operations.message(record).SerializeToString()
    return raw
