"""Is there room for this call among those that are let in at once, and in this second, minute, hour and day?

Without limits for its method a call passes as if the gate were not there. What counts was let in: a call that this gate
refuses counts nowhere, one that is refused behind it, or fails, has counted. A place among those at once is held until
the last message is sent, the call has failed or the client has left.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

from .. import wording
from ..api import Duration, QuotaFailure, RetryInfo
from ..call import Answer, Call, messages_of
from ..clock import SECOND
from ..digests import blake2b
from ..errors import Code, Status
from ..journal import masked
from ..quotas import NAMES_BY_METHOD, Limit, Refused, Slots
from ..rules.model_uri import Model
from . import Handler


def gate(call: Call, following: Handler) -> Answer:
    """Let `call` in, or raise RESOURCE_EXHAUSTED that says when to come again."""
    session = call.session
    limits = session.quotas.limits(session.book.quotas, call.method)
    if not limits:
        return following(call)
    if all(limit.window for limit in limits):
        _admitted(call, limits)
        return following(call)
    return _holding(call, following, limits)


async def _holding(call: Call, following: Handler, limits: Sequence[Limit]) -> AsyncIterator[bytes]:
    """The call with a place among those at once, which is free again at its end, whatever that is."""
    slots = _admitted(call, limits)
    try:
        async with aclosing(messages_of(call, following(call))) as messages:  # type: ignore[type-var]
            async for message in messages:
                yield message
    finally:
        slots.free()


def _admitted(call: Call, limits: Sequence[Limit]) -> Slots:
    admitted = call.session.quotas.admit(limits, lambda by: _subject(call, by))
    if isinstance(admitted, Slots):
        return admitted
    call.refused_by = "quota"
    wait = admitted[0].wait
    name = NAMES_BY_METHOD[call.method]
    texts = [wording.quota(name, refused.limit.kind, refused.limit.most) for refused in admitted]
    again = f"room again in {wait / SECOND:g} s" if wait is not None else "it lets nothing in"
    limit = admitted[0].limit
    call.entry.behaviour += (f"over the quota for {name}, {limit.most} {limit.kind} by {limit.by}: {again}",)
    violations = [
        QuotaFailure.Violation(subject=_named(call, refused), description=text)
        for refused, text in zip(admitted, texts, strict=True)
    ]
    details = [QuotaFailure(violations=violations)]
    if wait is not None:
        details.insert(0, RetryInfo(retry_delay=Duration(seconds=wait // SECOND, nanos=wait % SECOND)))
    raise Status(Code.RESOURCE_EXHAUSTED, texts[0], details=details)


def _subject(call: Call, by: str) -> str:
    """Whom the call counts for; no credential gets further than here."""
    if by == "folder":
        return folder_of(call)[:100]
    if by == "credential":
        return blake2b(" ".join(call.credential).encode(), digest_size=16).hexdigest()
    return ""


def _named(call: Call, refused: Refused) -> str:
    """Whom the quota is of, as QuotaFailure tells it."""
    by = refused.limit.by
    if by == "folder":
        return f"folder:{refused.subject}"
    if by == "credential":
        shown = call.header("authorization")
        return f"credential:{masked((('authorization', shown),))[0][1]!s}" if shown else "credential:none"
    return f"session:{call.session.id or 'default'}"


def folder_of(call: Call) -> str:
    """The folder of the model, else the one that the request or its header names."""
    uri = getattr(call.message, "model_uri", "")
    named = Model.parse(uri).folder if uri else getattr(call.message, "folder_id", "")
    return named or call.header("x-folder-id") or ""
