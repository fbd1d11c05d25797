"""Frames: kinds, flags, error codes, and how they are written."""

from __future__ import annotations

import struct
from enum import IntEnum

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client's side of a connection begins with."""

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
ACK = END_STREAM = 0x1
END_HEADERS = 0x4
PADDED = 0x8
WITH_PRIORITY = 0x20

LENGTH_OF_HEAD = 9
HEAD = struct.Struct(">IBI")
"""What a frame begins with: 24 bits of length and 8 of its kind; flags; stream."""

HEAD_AND_PREFIX = struct.Struct(">IBIBI")
"""The same for a frame of data, and the prefix of the message that it begins with: whether it is compressed; length."""

PREFIX = struct.Struct(">BI")
"""What a message begins with alone."""

SETTING = struct.Struct(">HI")
NUMBER = struct.Struct(">I")
TWO_NUMBERS = struct.Struct(">II")

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384
WIDEST_WINDOW = (1 << 31) - 1
LARGEST_FRAME = (1 << 24) - 1


class Error(IntEnum):
    """Why a stream or a connection ends (RFC 9113, section 7)."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    ENHANCE_YOUR_CALM = 11


class Broken(Exception):
    """The other side has broken a rule, and the connection can't go on."""

    def __init__(self, error: Error, why: str) -> None:
        super().__init__(why)
        self.error, self.why = error, why


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A whole frame."""
    return HEAD.pack(len(payload) << 8 | kind, flags, stream) + payload


def settings(*pairs: tuple[int, int]) -> bytes:
    """What this side is like."""
    return frame(SETTINGS, 0, 0, b"".join(SETTING.pack(*pair) for pair in pairs))


def reset(stream: int, error: Error) -> bytes:
    """The end of a stream before its end."""
    return frame(RST_STREAM, 0, stream, NUMBER.pack(error))


def goodbye(last: int, error: Error, why: str = "") -> bytes:
    """The end of a connection; `last` is the last stream that was looked at."""
    return frame(GOAWAY, 0, 0, TWO_NUMBERS.pack(last, error) + why.encode())


def wider(stream: int, by: int) -> bytes:
    """So many more bytes may be sent on `stream`, or on the connection if that is 0."""
    return frame(WINDOW_UPDATE, 0, stream, NUMBER.pack(by))


def header(stream: int, block: bytes, most: int, flags: int = 0) -> bytes:
    """A header block, in as many frames of at most `most` bytes as it needs; END_STREAM may be among `flags`."""
    if len(block) <= most:
        return HEAD.pack(len(block) << 8 | HEADERS, flags | END_HEADERS, stream) + block
    pieces = [block[at : at + most] for at in range(0, len(block), most)]
    kinds = [HEADERS] + [CONTINUATION] * (len(pieces) - 1)
    marks = [flags, *[0] * (len(pieces) - 2), END_HEADERS]
    return b"".join(frame(kind, mark, stream, piece) for kind, mark, piece in zip(kinds, marks, pieces, strict=True))
