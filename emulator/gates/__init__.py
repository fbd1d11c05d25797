"""What a call passes before it is answered, in one order: session, validation, auth, quota, idempotency, fault.

A gate lets a call through or raises the Status that refuses it. `Gates` holds them all; those that nothing has been
configured for are open.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from ..call import Call

Gate = Callable[[Call, str], None]
"""Takes the call and the fixture language's name for it."""


def opened(call: Call, name: str) -> None:
    """A gate that lets everything through."""


class Gates(Struct, frozen=True):
    """The gates between a parsed request and the engine; the session is found before a request is parsed."""

    validation: Gate = opened
    auth: Gate = opened
    quota: Gate = opened
    idempotency: Gate = opened
    fault: Gate = opened

    def admit(self, call: Call, name: str) -> None:
        """Pass `call` through every gate in order. Raises the refusing gate's Status."""
        for gate in (self.validation, self.auth, self.quota, self.idempotency, self.fault):
            gate(call, name)
