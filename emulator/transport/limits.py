"""What all engines share: whom they ask for answers, and what they take."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from ..call import Call

Answer = Callable[[Call], "bytes | AsyncIterator[bytes]"]
"""Given a call, the messages of its reply, or the one there is where nothing has to be waited for. Raises the Status it
ends with, ready for the wire, if not OK.
"""

MOST_MESSAGE = 64 * 1024 * 1024
"""Bytes of a message, for rules and snapshots; of other calls the router takes less."""

MOST_METADATA = 128 * 1024
"""Bytes of a request's metadata, as HTTP/2 counts them."""
