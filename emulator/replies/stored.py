"""Operations as data: what a snapshot holds of them, and the way back.

Everything here can be written as JSON (bytes become base64) and read again by msgspec. What is read may have been
changed by hand, so the way back refuses whatever an operation could not be: it raises ValueError that names the place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Annotated, Any, TypeVar

from msgspec import Meta, Struct, field

from ..calls import OPERATIONS
from ..errors import Code
from .play import Play
from .statuses import ScriptedStatus
from .timeline import FINAL, STATUSES, Moment, Stage, Timeline

T = TypeVar("T")

_LONGEST = 2**63 - 1
Count = Annotated[int, Meta(ge=0, le=_LONGEST)]
Instant = Annotated[int, Meta(ge=-_LONGEST)]
"""An instant (ns). Those after 2262 take more than 64 bits, for which msgspec knows no bound; `snapshots` has it."""


class StoredStatus(Struct, forbid_unknown_fields=True):
    """A status with its final text; each of `details` is a serialized google.protobuf.Any."""

    code: int
    message: str
    details: list[bytes] = field(default_factory=list)


class StoredStage(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A stage of a timeline, reached by age (ns) or by a Get."""

    status: str
    at: Count | None = None
    poll: Count | None = None
    done: bool = False
    error: StoredStatus | None = None
    total: Count | None = None
    completed: Count | None = None


class StoredEnd(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """How an operation ended by hand; `since` is its age then (ns)."""

    status: str
    since: Count
    error: StoredStatus | None = None
    total: Count = 0
    completed: Count = 0


class StoredBatch(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What a batch is beside its operation, its rows answered: how many there are and how many failed, the first of
    those with their line numbers, and the Parquet file, None where nothing could write it. `request` is the
    BatchCompletionRequest, serialized.
    """

    request: bytes
    rows: Count = 0
    failed: Count = 0
    errors: list[tuple[Count, str]] = field(default_factory=list)
    file: bytes | None = None
    deleted: bool = False
    logged: bool = False


class StoredOperation(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """An operation with all that its Gets depend on. `response` is the final message of its play, serialized, and
    `response_type` that message's full name; both are empty where the play has none. `metadata` is a
    validation's, serialized. Instants and ages are ns.
    """

    id: str
    call: str
    created: Instant
    account: str
    rule: str
    stages: list[StoredStage]
    faults: dict[int, StoredStatus] = field(default_factory=dict)
    given: bool = True
    response_type: str = ""
    response: bytes = b""
    metadata: bytes = b""
    task_id: str = ""
    dataset_id: str = ""
    polls: Count = 0
    polled: dict[int, Count] = field(default_factory=dict)
    asked: Instant | None = None
    ended: StoredEnd | None = None
    skew: Count = 0
    fetched: bool = False
    folder: str = ""
    batch: StoredBatch | None = None


def stored_status(status: ScriptedStatus) -> StoredStatus:
    """A status as data; it must be settled already, for its text no longer knows its call."""
    from ..api import pack

    # A detail that is packed already is packed once more: unpacking once gives it back as it was.
    details = [pack(detail).SerializeToString(deterministic=True) for detail in status.details]
    return StoredStatus(int(status.code), status.status({}).message, details)


def restored_status(stored: StoredStatus) -> ScriptedStatus:
    """The status again. Raises ValueError."""
    if stored.code not in {int(code) for code in Code if code}:
        raise ValueError(f"code: {stored.code} is no status of an error; there are 1 to 16")
    _check_text(stored.message, "message")
    details = tuple(within(f"details[{i}]", partial(_detail, raw)) for i, raw in enumerate(stored.details))
    return ScriptedStatus(Code(stored.code), stored.message, details)


def _detail(raw: bytes) -> Any:
    outer = restored_message("google.protobuf.Any", raw)
    return restored_message(outer.type_url.rpartition("/")[2], outer.value)


def restored_message(full_name: str, raw: bytes) -> Any:
    """The message of that type. Raises ValueError for a type that the pool lacks, and for bytes that are none."""
    from ..api import message_class

    try:
        cls = message_class(full_name)
    except KeyError:
        raise ValueError(f"no such message: {full_name[:100]!r}") from None
    try:
        return cls.FromString(raw)
    except Exception:  # protobuf raises DecodeError, and others for text that is not UTF-8
        raise ValueError(f"the bytes are not a serialized {full_name}") from None


def stored_stage(stage: Stage) -> StoredStage:
    """A stage as data."""
    error = stored_status(stage.error) if stage.error is not None else None
    return StoredStage(stage.status, stage.at, stage.poll, stage.done, error, stage.total, stage.completed)


def restored_timeline(stored: StoredOperation) -> Timeline:
    """The timeline again. Raises ValueError."""
    stages = tuple(within(f"stages[{i}]", partial(_stage, stage)) for i, stage in enumerate(stored.stages))
    faults = {n: within(f"faults.{n}", partial(restored_status, fault)) for n, fault in stored.faults.items()}
    return Timeline(stages, faults, stored.given)


def _stage(stored: StoredStage) -> Stage:
    if stored.status not in STATUSES:
        raise ValueError(f"status: no such status: {stored.status[:60]}; there are {', '.join(STATUSES)}")
    if (stored.at is None) == (stored.poll is None):
        raise ValueError("a stage is reached by age (at) or by a Get (poll): give one of them")
    if stored.poll == 0:
        raise ValueError("poll: Gets are counted from 1")
    if stored.done and stored.status not in FINAL:
        raise ValueError(f"done: an operation that is {stored.status} can't be done")
    error = _error(stored.status, stored.error)
    return Stage(stored.at, stored.poll, stored.status, stored.done, error, stored.total, stored.completed)


def stored_end(end: Moment) -> StoredEnd:
    """An end by hand as data."""
    error = stored_status(end.error) if end.error is not None else None
    return StoredEnd(end.status or "", end.since, error, end.total, end.completed)


def restored_end(stored: StoredEnd, skew: int) -> Moment:
    """The end again. Raises ValueError."""
    if stored.status not in FINAL:
        raise ValueError(f"status: an operation ends {', '.join(FINAL)}, not {stored.status[:60]!r}")
    if stored.since < skew:
        raise ValueError(f"since: stepping alone (skew) has brought it to an age of {skew} ns")
    error = _error(stored.status, stored.error)
    return Moment(stored.status, True, error, stored.total, stored.completed, stored.since)


def _error(status: str, error: StoredStatus | None) -> ScriptedStatus | None:
    if error is None:
        return None
    if status != "FAILED":
        raise ValueError(f"error: an operation with an error is FAILED, not {status}")
    return within("error", partial(restored_status, error))


def stored_response(final: Any) -> tuple[str, bytes]:
    """Type and bytes of a play's final message; empty for None."""
    if final is None:
        return "", b""
    return final.DESCRIPTOR.full_name, final.SerializeToString(deterministic=True)


def restored_play(stored: StoredOperation, timeline: Timeline) -> Play:
    """The play again, with its response at hand. Raises ValueError."""
    from ..api import ValidateDatasetMetadata, ValidateDatasetResponse
    from .recipe import RESPONSES

    responses = {**{call: RESPONSES[call] for call in OPERATIONS}, "validate_dataset": ValidateDatasetResponse}
    if stored.call not in responses:
        raise ValueError(f"call: no such call: {stored.call[:60]!r}")
    play = Play(stored.rule, timeline=timeline)
    expected = responses[stored.call].DESCRIPTOR.full_name
    if stored.metadata:
        name = ValidateDatasetMetadata.DESCRIPTOR.full_name
        metadata = within("metadata", partial(restored_message, name, stored.metadata))
        play.metadata = lambda: metadata
    if not stored.response_type:
        completes = any(stage.done and stage.status == "COMPLETED" for stage in timeline.stages)
        completed = stored.ended.status == "COMPLETED" if stored.ended is not None else completes
        own = ("completion_batch", "validate_dataset")  # made from a task, and from a dataset
        if completed and stored.call not in own:
            raise ValueError(f"response: an operation that completes has one, a {expected}")
        if stored.response:
            raise ValueError("response_type: it is missing, and there is a response")
        return play
    final = within("response", partial(restored_message, stored.response_type, stored.response))
    if stored.response_type != expected:
        raise ValueError(f"response_type: {stored.call} is answered with a {expected}, not {stored.response_type}")
    play.final = lambda: final
    return play


def check_gets(polls: int, polled: Mapping[int, int], timeline: Timeline) -> None:
    """Raise ValueError unless it is known when each Get came that a stage waited for."""
    for stage in timeline.stages:
        if stage.poll is not None and stage.poll <= polls and stage.poll not in polled:
            raise ValueError(f"polled: it lacks Get {stage.poll}, which a stage waited for")
    for n in polled:
        if not 1 <= n <= polls:
            raise ValueError(f"polled: there was no Get {n}; polls says {polls}")


def check_texts(stored: StoredOperation) -> None:
    """Raise ValueError for an operation without id, and for text that can't travel."""
    if not stored.id:
        raise ValueError("id: it is empty")
    for name in ("id", "account", "task_id", "dataset_id", "folder"):
        _check_text(getattr(stored, name), name)


def _check_text(text: str, place: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{place}: it holds half of a surrogate pair, which is no text") from None


def within(place: str, make: Callable[[], T]) -> T:
    """What `make` gives; the place goes before the words of a ValueError."""
    try:
        return make()
    except ValueError as wrong:
        raise ValueError(f"{place}: {wrong}") from wrong
