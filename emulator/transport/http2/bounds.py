"""What one connection may ask for at most, and how much of what is on its way is kept."""

from __future__ import annotations

MOST_STREAMS = 32_768
"""Calls under way on a connection; further ones are refused, and clients wait."""

MOST_BLOCK = 1 << 20
"""Bytes of a header block, compressed: well over what is taken of metadata, so that more is refused and not cut off."""

MOST_CONTINUATIONS = 128
"""Frames of a header block after its first."""

CONNECTION_WINDOW = 16 << 20
STREAM_WINDOW = 1 << 20
"""Bytes that a client may send before it hears that they were taken."""

MOST_HELD = 128 << 20
"""Bytes of requests, on a connection, of which nobody has taken anything yet."""

MOST_UNSENT = 64 << 20
"""Bytes of replies, on a connection, that its client lets nobody send; calls that come then are refused."""

MOST_QUEUED = 64 << 10
"""Bytes that are written before anything else has its turn."""

MOST_AT_ONCE = 64 << 10
MOST_CALLS_AT_ONCE = 64
"""Bytes that are read, and calls that are answered, before others have their turn."""

MOST_UNREAD = 1 << 20
"""Bytes that a client leaves unread in the socket before nothing more is read from it."""

MOST_REQUESTS = 16
"""Headers that a connection remembers: those that have come twice."""

LONGEST_REMEMBERED = 2048
"""Bytes of such a header, compressed."""

MOST_RESET = 256
"""Streams that were ended from here of which a connection remembers that more may be on its way."""

MOST_MISTAKES = 1000
"""Streams that are ended because of what a client did wrong on them, before its connection is."""

LINGERING = 0.3
"""Seconds in which a client may close a connection that is over, having read what it was sent last."""

MOST_LINGERING = 20
"""How often it is given as many again while it reads."""
