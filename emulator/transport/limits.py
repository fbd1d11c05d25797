"""What all engines share: whom they ask for answers, and what they take."""

from __future__ import annotations

from collections.abc import Callable

from ..call import Answer, Call

Answering = Callable[[Call], Answer]
"""Given a call, what it is answered with. Raises the Status that it ends with, ready for the wire, if not OK."""

Pausing = Callable[[], bool]
"""Whether the end of a stream may be apart from its last message."""

MOST_MESSAGE = 64 * 1024 * 1024
"""Bytes of a message, for rules and snapshots; of other calls the router takes less."""

MOST_METADATA = 128 * 1024
"""Bytes of a request's metadata, as HTTP/2 counts them."""
