"""What a call passes before it is answered, in one order: session, reading, validation, auth, quota,
idempotency, fault.

A gate takes the call and what stands behind it, the next gate and at last the service. It raises the Status that
refuses the call, or hands on what is behind it: as it is, or wrapped where it has something to do at the call's end.
The session is found before, by the router; discovery, IAM, health, reflection and the control API have no gates.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

from ..call import Answer, Call, parsed
from ..calls import CALLS_BY_METHOD
from ..errors import Status

Handler = Callable[[Call], Answer]
Gate = Callable[[Call, Handler], Answer]


def reading(call: Call, following: Handler) -> Answer:
    """The gate before those that look into requests: this one must be a message of its method."""
    parsed(call)
    call.entry.kind = CALLS_BY_METHOD.get(call.method, "")
    return following(call)


def checking(check: Callable[[Call], None]) -> Gate:
    """A gate that looks at the call once, before it is answered, and raises what refuses it."""
    name = check.__module__.rpartition(".")[2]

    def gate(call: Call, following: Handler) -> Answer:
        try:
            check(call)
        except Status:
            call.refused_by = name
            raise
        return following(call)

    return gate


def guarded(handlers: Mapping[str, Handler], gates: Sequence[Gate]) -> Mapping[str, Handler]:
    """`handlers`, each behind these gates, the first passed first."""
    return {path: reduce(_behind, reversed(gates), handler) for path, handler in handlers.items()}


def _behind(following: Handler, gate: Gate) -> Handler:
    return lambda call: gate(call, following)
