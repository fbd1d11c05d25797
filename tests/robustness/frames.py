"""HTTP/2 by hand, for clients that no gRPC library would let misbehave."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 2, 3, 4, 6, 7, 8, 9
ACK = 1
END_STREAM, END_HEADERS = 1, 4


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def message(raw: bytes) -> bytes:
    """One gRPC message as it travels, uncompressed."""
    return b"\0" + struct.pack(">I", len(raw)) + raw


def literal(name: bytes, value: bytes) -> bytes:
    """A header that no table keeps."""
    return b"\0" + _length(name) + name + _length(value) + value


def _length(text: bytes) -> bytes:
    if len(text) < 127:
        return bytes((len(text),))
    rest, out = len(text) - 127, bytearray((127,))
    while rest >= 128:
        out.append(rest % 128 + 128)
        rest //= 128
    return bytes((*out, rest))


class RawClient:
    """A connection that sends what it is told and no more; `window` is what it lets the server send on a stream."""

    def __init__(self, target: str, window: int = 65_535) -> None:
        host, _, port = target.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), timeout=2)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, window)))

    def begin(self, path: str, bodies: Iterable[bytes], headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        """Send a call on stream 1 with these messages, and the end of the stream."""
        pairs = [
            (b":method", b"POST"),
            (b":scheme", b"http"),
            (b":path", path.encode()),
            (b":authority", b"localhost"),
            (b"content-type", b"application/grpc"),
            (b"te", b"trailers"),
            *headers,
        ]
        self.socket.sendall(frame(HEADERS, END_HEADERS, 1, b"".join(literal(*pair) for pair in pairs)))
        self.socket.sendall(frame(DATA, END_STREAM, 1, b"".join(map(message, bodies))))

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Frames as they come, until the server closes the connection or is silent for the socket's timeout."""
        buffer = b""
        while True:
            while len(buffer) >= 9 and len(buffer) >= 9 + (size := int.from_bytes(buffer[:3], "big")):
                yield buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big"), buffer[9 : 9 + size]
                buffer = buffer[9 + size :]
            try:
                more = self.socket.recv(65536)
            except (TimeoutError, ConnectionError):
                return
            if not more:
                return
            buffer += more

    def ending(self) -> bytes:
        """All that stream 1 gets until it ends, header blocks and messages."""
        got = b""
        for kind, flags, stream, payload in self.frames():
            if stream == 1 and kind in (DATA, HEADERS):
                got += payload
            if stream == 1 and (kind == RST_STREAM or flags & END_STREAM):
                return got
        raise AssertionError(f"the stream never ended; it got {got!r}")

    def close(self) -> None:
        self.socket.close()
