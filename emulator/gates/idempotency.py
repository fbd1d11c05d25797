"""Has this call been answered already? The same idempotency key and the same request get the same reply.

The gate is always there. It looks at calls that change or cost something, and of those at the ones with a key; to the
others it is not there. A call that comes while its like is under way waits for it, asleep in the clock's sense, and
gets its reply, or takes its turn if the other failed. Nothing is known of what the real service does; all of it is
chosen.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing

from .. import wording
from ..api import METHODS
from ..call import Answer, Call, messages_of
from ..calls import CALLS_BY_METHOD
from ..digests import blake2b
from ..errors import Code, Status
from ..idempotency import Flight, Reply
from ..replies.metadata import laid_over
from ..replies.play import Play
from ..sessions import BEGAN_AGAIN
from . import Gate, Handler

KEY = "idempotency-key"
_AI = "/yandex.cloud.ai."
_CREATE_DATASET = f"{_AI}dataset.v1.DatasetService/Create"

REMEMBERED = frozenset(
    {
        *CALLS_BY_METHOD,
        *(f"{_AI}batch_inference.v1.BatchInferenceService/{name}" for name in ("Cancel", "Delete")),
        *(
            f"{_AI}dataset.v1.DatasetService/{name}"
            for name in (
                "Create",
                "Update",
                "Delete",
                "Validate",
                "StartMultipartUploadDraft",
                "FinishMultipartUploadDraft",
            )
        ),
    }
)
"""The methods whose replies are remembered. Reads are not among them: the SDK puts a key on every call."""

Performed = Callable[[Call, Play], AsyncIterator[bytes]]
"""What plays a completion to a call, on a schedule that begins now."""


def remembering(performed: Performed) -> Gate:
    """The gate; `performed` plays the streams that are asked for again."""

    def gate(call: Call, following: Handler) -> Answer:
        if call.method not in REMEMBERED:
            return following(call)
        key = call.header(KEY)
        if not key:
            return following(call)
        mine, request = _whose(call, key), _digest(call)
        if call.session.idempotency.knows(mine):
            return _later(call, following, key, mine, request, performed)
        return _first(call, following, mine, request)

    return gate


async def _later(
    call: Call, following: Handler, key: str, mine: bytes, request: bytes, performed: Performed
) -> AsyncIterator[bytes]:
    reply = await _earlier(call, key, mine, request)
    answered = _first(call, following, mine, request) if reply is None else _again(call, reply, performed)
    async with aclosing(messages_of(call, answered)) as messages:  # type: ignore[type-var]
        async for message in messages:
            yield message


async def _earlier(call: Call, key: str, mine: bytes, request: bytes) -> Reply | None:
    """The reply that the call has had before; None where it is its turn to be answered. Raises INVALID_ARGUMENT for a
    key that came with another request, and CANCELLED if the session is reset or restored meanwhile.
    """
    session = call.session
    memory, generation = session.idempotency, session.generation
    while True:
        reply, flight = memory.get(mine), memory.under_way(mine)
        earlier = reply or flight
        if earlier is None:
            return None
        if earlier.request != request:
            call.entry.behaviour += (f"its idempotency-key came with another request in {earlier.call}",)
            call.refused_by = "idempotency"
            raise Status(Code.INVALID_ARGUMENT, wording.another_request(key))
        if reply is None and flight is not None:
            await session.clock.told(flight.over)
            if session.generation != generation:
                raise Status(Code.CANCELLED, BEGAN_AGAIN)
            reply = flight.reply
        if reply is not None and _leads(call, reply):
            return reply
        if reply is not None:  # what it began was forgotten, and nobody is served with an id that leads nowhere
            memory.forget(mine)


def _leads(call: Call, reply: Reply) -> bool:
    """Whether the operation or dataset that the reply tells of is still there."""
    session = call.session
    if call.method == _CREATE_DATASET:
        return METHODS[call.method].output.FromString(reply.messages[0]).dataset_id in session.datasets
    return not reply.operation_id or reply.operation_id in session.operations


def _first(call: Call, following: Handler, mine: bytes, request: bytes) -> Answer:
    """Answer the call, and remember what it was told if it goes well."""
    memory, own = call.session.idempotency, tuple(call.headers)
    flight = memory.begin(mine, request, call.entry.id)
    over = True
    try:
        answer = following(call)
        if not isinstance(answer, bytes):
            answer, over = _remembered(call, answer, own, mine, flight), False
        elif len(answer) <= call.session.config.max_reply:  # else it is not sent
            memory.keep(mine, flight, _reply(call, own, request, [answer]))
        return answer
    finally:
        if over:
            memory.end(mine, flight)


async def _remembered(
    call: Call, answer: Answer, own: Sequence[tuple[str, str | bytes]], mine: bytes, flight: Flight
) -> AsyncIterator[bytes]:
    """The messages of an answer that takes its time, remembered once all were taken."""
    entry, memory, sent = call.entry, call.session.idempotency, list[bytes]()
    try:
        async with aclosing(messages_of(call, answer)) as messages:  # type: ignore[type-var]
            async for message in messages:
                if not entry.streamed:
                    sent.append(message)
                yield message
        if entry.play is None or not entry.play.truncated:  # else the client has not had the reply
            memory.keep(mine, flight, _reply(call, own, flight.request, sent))
    finally:
        memory.end(mine, flight)


def _reply(call: Call, own: Sequence[tuple[str, str | bytes]], request: bytes, sent: list[bytes]) -> Reply:
    """What the call was told, `own` being the headers that it had before a rule gave it others."""
    entry = call.entry
    reply = Reply(call.method, request, call.session.clock.now(), entry.id, entry.rule, entry.operation_id)
    reply.headers = [pair for pair in call.headers if pair not in own]
    reply.trailers = list(call.trailers)
    if entry.streamed:
        reply.play = entry.play.unhurt() if entry.play is not None else None
        reply.size = len(call.request) + entry.bytes_sent  # the play of a stream holds on to its request
    else:
        reply.messages, reply.size = sent, sum(map(len, sent))
    return reply


async def _again(call: Call, reply: Reply, performed: Performed) -> AsyncIterator[bytes]:
    """Answer the call with what it was told before; counters and states stay as they are."""
    entry = call.entry
    entry.rule, entry.operation_id = reply.rule, reply.operation_id
    entry.behaviour += (f"the reply of {reply.call} again, by its idempotency-key",)
    call.headers = laid_over(call.headers, reply.headers)
    call.trailers = laid_over(call.trailers, reply.trailers)
    if reply.play is None:
        for i, message in enumerate(reply.messages, 1):
            call.last = i == len(reply.messages)
            yield message
        return
    entry.play = reply.play
    async with aclosing(performed(call, reply.play)) as messages:  # type: ignore[type-var]
        async for message in messages:
            yield message


def _whose(call: Call, key: str) -> bytes:
    """A digest of who calls, which method and under which key; of a credential nothing else is kept."""
    found = blake2b(digest_size=16)
    for part in (*call.credential, call.method, key):
        raw = part.encode()
        found.update(len(raw).to_bytes(4, "big") + raw)
    return found.digest()


def _digest(call: Call) -> bytes:
    """A digest of what is asked; the same message may be written in several ways."""
    raw: bytes = call.message.SerializeToString(deterministic=True)
    return blake2b(raw, digest_size=16).digest()
