"""Operations as data, and the way back: what `replies.stored` says of a record. Only snapshots need it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ..replies.stored import (
    StoredOperation,
    check_gets,
    check_texts,
    restored_end,
    restored_play,
    restored_timeline,
    stored_end,
    stored_response,
    stored_stage,
    stored_status,
    within,
)
from .record import Record
from .reply import RESPONSES


def stored(record: Record, now: int, final: bytes | None) -> StoredOperation:
    """The data of `record` as it is at the instant `now`; `final` is its whole reply, None where it has none yet."""
    from . import TOLD

    more, timeline, work = record.more, record.timeline, record.work
    response_type = "" if final is None else RESPONSES[record.call].DESCRIPTOR.full_name
    response, metadata = final or b"", b""
    if work is not None and (work.ready is None or record.moment(now).status in TOLD):
        response_type, response = stored_response(work.final())
        _, metadata = stored_response(work.metadata() if work.metadata else None)
    return StoredOperation(
        id=record.id,
        call=record.call,
        created=record.created,
        account=record.account,
        rule=record.rule,
        stages=[stored_stage(stage) for stage in timeline.stages],
        faults={n: stored_status(fault) for n, fault in timeline.faults.items()},
        given=timeline.given,
        response_type=response_type,
        response=response,
        metadata=metadata,
        task_id=more.task_id,
        dataset_id=more.dataset_id,
        polls=record.polls,
        polled=dict(more.polled),
        ended=stored_end(more.ended) if more.ended is not None else None,
        skew=more.skew,
        fetched=record.fetched,
        folder=record.folder,
        batch=record.batch.stored() if record.batch is not None else None,
    )


def restore(one: StoredOperation, record: Callable[..., Record]) -> Record:
    """The record of stored data, made by `record` as that of a new operation. Raises ValueError."""
    from . import PREFIXES

    check_texts(one)
    if one.call not in PREFIXES:
        raise ValueError(f"call: no such call: {one.call[:60]!r}; there are {', '.join(PREFIXES)}")
    timeline = restored_timeline(one)
    check_gets(one.polls, one.polled, timeline)
    play = restored_play(one, timeline)
    found = record(one.id, one.call, one.created, one.account, play, one.folder, one.task_id, one.dataset_id)
    found.gets = one.polls << 1 | one.fetched
    if one.polled or one.ended is not None or one.skew:
        own = found.own()
        own.polled, own.skew = tuple(one.polled.items()), one.skew
        if one.ended is not None:
            own.ended = within("ended", partial(restored_end, one.ended, one.skew))
    return found
