"""What goes out on a connection: gathered, within the client's windows, each stream in its turn."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ...call import Call
from ...errors import Status
from .. import wire
from . import frames, hpack
from .bounds import MOST_QUEUED
from .frames import DEFAULT_FRAME, DEFAULT_WINDOW, END_HEADERS, END_STREAM, HEAD, HEADERS

if TYPE_CHECKING:
    from .stream import Stream

_STATUS_200 = b"\x88"
_OPENING = _STATUS_200 + hpack.literal(b"content-type", b"application/grpc")
_WELL = hpack.literal(b"grpc-status", b"0")
_WELL_KIND = len(_WELL) << 8 | HEADERS


class Sending(asyncio.Protocol):
    """The half of a connection that writes.

    `window` is what may be sent on it, `initial` what may on a new stream, `most_frame` how large frames may be;
    `unsent` the bytes of replies that wait; `waiting` has the streams with something to send, whose turn comes when
    there is room.
    """

    __slots__ = (
        "_out",
        "_over",
        "_paused",
        "_queued",
        "_scheduled",
        "_transport",
        "initial",
        "loop",
        "most_frame",
        "unsent",
        "waiting",
        "window",
    )

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._out: list[bytes] = []
        self._queued = 0
        self._scheduled = False
        self._paused = False
        self.window = self.initial = DEFAULT_WINDOW
        self.most_frame = DEFAULT_FRAME
        self.waiting: dict[Stream, None] = {}
        self.unsent = 0
        self._over = False  # nothing is read or written any more

    def pause_writing(self) -> None:
        self._paused = True

    def opening(self, number: int, call: Call | None) -> bytes:
        """The header of a reply."""
        block = _OPENING
        if call is not None and call.headers:
            block += hpack.block(wire.fields(call.headers))
        return frames.header(number, block, self.most_frame)

    def ending(self, number: int, call: Call) -> bytes:
        """The trailers of a reply that ends well."""
        if not call.trailers:
            return HEAD.pack(_WELL_KIND, END_STREAM | END_HEADERS, number) + _WELL
        return frames.header(number, hpack.block(wire.well(call.trailers)), self.most_frame, END_STREAM)

    def failing(self, number: int, status: Status) -> bytes:
        """The trailers of a reply that ends with `status`."""
        return frames.header(number, hpack.block(wire.trailers(status)), self.most_frame, END_STREAM)

    @property
    def full(self) -> bool:
        """Whether what is to be sent has to wait for its turn."""
        return self._paused or self._queued >= MOST_QUEUED

    def write(self, piece: bytes, size: int = 0) -> None:
        """Send `piece` soon, with all else that is written until then; `size` bytes of it are data."""
        if self._over:
            return
        self._out.append(piece)
        self._queued += size
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    def schedule(self) -> None:
        """What waits has its turn soon."""
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    def widen(self, number: int, by: int) -> None:
        """Let the client send more."""
        self.write(frames.wider(number, by))

    def _flush(self) -> None:
        waiting, out = self.waiting, self._out
        while waiting and self.window > 0 and not self._paused and self._queued < MOST_QUEUED and not self._over:
            stream = next(iter(waiting))
            del waiting[stream]
            stream.push()
        self._scheduled = False
        self._queued = 0
        if out:
            whole = b"".join(out) if len(out) > 1 else out[0]
            out.clear()
            self._transport.write(whole)
        if waiting and self.window > 0 and not self._paused and not self._over:
            self.schedule()
