"""What clients do to a connection of HTTP/2 that no gRPC library would: each fault as bytes, by its name."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable

from wire.client import asking, path, tokenizing

from .frames import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
    literal,
    message,
)

COMPLETION = path("TextGenerationService/Completion")
TOKENIZE = path("TokenizerService/Tokenize")
HELLO = PREFACE + frame(SETTINGS, 0, 0, b"")
_MANY = 10_000


def headers(
    stream: int = 1,
    method: str = TOKENIZE,
    type_: bytes | None = b"application/grpc",
    more: Iterable[tuple[bytes, bytes]] = (),
    flags: int = END_HEADERS,
    verb: bytes = b"POST",
) -> bytes:
    """The frame that begins a call."""
    pairs = [(b":method", verb), (b":scheme", b"http"), (b":path", method.encode()), (b":authority", b"localhost")]
    pairs += [] if type_ is None else [(b"content-type", type_)]
    return frame(HEADERS, flags, stream, b"".join(literal(*pair) for pair in (*pairs, (b"te", b"trailers"), *more)))


def call(stream: int = 1, body: bytes | None = None, **more: object) -> bytes:
    """A whole call, of which `more` is what `headers` takes."""
    whole = message(tokenizing().SerializeToString()) if body is None else body
    return headers(stream, **more) + frame(DATA, END_STREAM, stream, whole)  # type: ignore[arg-type]


def _length(size: int) -> bytes:
    return b"\0" + struct.pack(">I", size)


FLOODS = {
    "settings": HELLO + frame(SETTINGS, 0, 0, struct.pack(">HI", 3, 100)) * _MANY,
    "pings": HELLO + frame(PING, 0, 0, bytes(8)) * _MANY,
    "calls that are reset at once": HELLO
    + b"".join(call(n) + frame(RST_STREAM, 0, n, struct.pack(">I", 8)) for n in range(1, 2 * _MANY, 2)),
    "continuations without end": HELLO + headers(flags=0) + frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 900)) * 5000,
    "empty continuations": HELLO + headers(flags=0) + frame(CONTINUATION, 0, 1, b"") * _MANY,
    "empty data": HELLO + headers() + frame(DATA, 0, 1, b"") * _MANY,
    "priorities": HELLO + frame(PRIORITY, 0, 1, struct.pack(">IB", 0, 9)) * _MANY,
    "windows of nothing": HELLO + headers() + frame(WINDOW_UPDATE, 0, 1, struct.pack(">I", 1)) * _MANY,
    "frames of no known kind": HELLO + frame(77, 0, 0, b"x" * 100) * _MANY,
    "streams that are opened and left open": HELLO + b"".join(headers(n) for n in range(1, 2 * _MANY, 2)),
    "a header that is told once and named 10,000 times": HELLO
    + frame(HEADERS, END_HEADERS, 1, b"\x40" + literal(b"x", b"y" * 3900)[1:] + b"\xbe" * _MANY),
}
"""Much of what is allowed a little of."""

MALFORMED = {
    "nothing": b"",
    "half a preface": PREFACE[:11],
    "another preface": b"PRI * HTTP/3.0\r\n\r\nXX\r\n\r\n" + bytes(100),
    "HTTP/1.1, GET": b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "HTTP/1.1, POST": b"POST /a HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000,
    "HTTP/1.1, upgrade": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "a hello of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "zeros": bytes(100_000),
    "a frame of 16 MB": HELLO + b"\xff\xff\xff\0\0" + struct.pack(">I", 1) + b"x" * 100_000,
    "a frame that ends in its middle": HELLO + headers()[:20],
    "settings of a wrong length": HELLO + frame(SETTINGS, 0, 0, b"abc"),
    "a ping of a wrong length": HELLO + frame(PING, 0, 0, b"abc"),
    "a reset of a wrong length": HELLO + headers() + frame(RST_STREAM, 0, 1, b"a"),
    "data on no stream": HELLO + frame(DATA, 0, 0, b"abc"),
    "data on a stream that never began": HELLO + frame(DATA, 0, 5, b"abc"),
    "headers on a stream of the server's": HELLO + headers(2),
    "headers on a stream that has been": HELLO + call(5) + call(3),
    "headers within headers": HELLO + headers(flags=0) + headers(3),
    "a continuation of nothing": HELLO + frame(CONTINUATION, END_HEADERS, 1, b"\x82"),
    "a reset of a stream that never began": HELLO + frame(RST_STREAM, 0, 9, struct.pack(">I", 8)),
    "padding longer than the frame": HELLO + headers() + frame(DATA, 8, 1, b"\xff" + b"x" * 10),
    "a window that overflows": HELLO + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 2**31 - 1)) * 2,
    "a window of 0": HELLO + frame(WINDOW_UPDATE, 0, 0, bytes(4)),
    "an initial window of 4 GB": HELLO + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 2**32 - 1)),
    "a largest frame of 1 byte": HELLO + frame(SETTINGS, 0, 0, struct.pack(">HI", 5, 1)),
    "headers that HPACK can't read": HELLO + frame(HEADERS, END_HEADERS, 1, b"\xff" * 100),
    "a header table of 4 GB": HELLO + frame(SETTINGS, 0, 0, struct.pack(">HI", 1, 2**32 - 1)) + call(),
    "a promise of the client's": HELLO + frame(5, END_HEADERS, 1, bytes(4)),
    "a stream that depends on itself": HELLO + frame(PRIORITY, 0, 1, struct.pack(">IB", 1, 9)),
}
"""What breaks the rules of HTTP/2, or is something else."""

_INFLATING = zlib.compress(bytes(67_200_000), 9)
_BOMB = b"\1" + struct.pack(">I", len(_INFLATING)) + _INFLATING
assert len(_BOMB) < 65_535, "it must fit the window that a client has before it is told of another"

CALLS = {
    "a message longer than it is": call(body=_length(100) + b"abc"),
    "a message of 4 GB": call(body=_length(2**32 - 1) + b"abc"),
    "a prefix that ends in its middle": call(body=b"\0\0"),
    "no message": call(body=b""),
    "a message that says it is compressed": call(body=b"\1" + struct.pack(">I", 3) + b"abc"),
    "a message whose gzip is none": call(body=b"\1" + _length(3)[1:] + b"abc", more=[(b"grpc-encoding", b"gzip")]),
    "a message that inflates to more than may be": headers(more=[(b"grpc-encoding", b"deflate")])
    + b"".join(frame(DATA, 0, 1, _BOMB[at : at + 16_000]) for at in range(0, len(_BOMB), 16_000))
    + frame(DATA, END_STREAM, 1, b""),
    "an encoding that nobody knows": call(body=b"\1" + _length(3)[1:] + b"abc", more=[(b"grpc-encoding", b"snappy")]),
    "a flag of 255": call(body=b"\xff" + _length(3)[1:] + b"abc"),
    "a message that protobuf can't read": call(body=message(b"\xff" * 50)),
    "two messages": call(body=message(tokenizing().SerializeToString()) * 2),
    "no content type": call(type_=None),
    "a content type of JSON": call(type_=b"application/json"),
    "gRPC-Web": call(type_=b"application/grpc-web+proto"),
    "a content type that only begins like gRPC's": call(type_=b"application/grpcx"),
    "GET": call(verb=b"GET"),
    "CONNECT": call(verb=b"CONNECT"),
    "an empty path": call(method=""),
    "a path of /": call(method="/"),
    "a path without a slash": call(method="abc"),
    "a path with a query": call(method=TOKENIZE + "?a=b"),
    "a path of 20,000 characters": call(method="/" + "a" * 20_000),
    "a path with spaces and zeros": call(method="/a b\0c/\xff"),
    "a path that climbs": call(method="/../../etc/passwd"),
    "no path": frame(HEADERS, END_HEADERS | END_STREAM, 1, literal(b":method", b"POST")),
    "a header in capitals": call(more=[(b"X-Upper", b"a")]),
    "a header of HTTP/1.1": call(more=[(b"connection", b"keep-alive"), (b"transfer-encoding", b"chunked")]),
    "a pseudo-header that there is not": call(more=[(b":nope", b"a")]),
    "a header of a megabyte": headers(more=[(b"x", b"y" * 16_000)], flags=0)
    + frame(CONTINUATION, 0, 1, literal(b"x", b"y" * 15_000)) * 65
    + frame(CONTINUATION, END_HEADERS, 1, b""),
    "a thousand headers": headers(flags=0)
    + frame(CONTINUATION, END_HEADERS, 1, b"".join(literal(b"x-%d" % n, b"y") for n in range(1000)))
    + frame(DATA, END_STREAM, 1, message(b"")),
    "a timeout that is none": call(more=[(b"grpc-timeout", b"soon")]),
    "a timeout below nothing": call(more=[(b"grpc-timeout", b"-5S")]),
    "a timeout of centuries": call(more=[(b"grpc-timeout", b"99999999H")]),
    "a timeout of more digits than there may be": call(more=[(b"grpc-timeout", b"9" * 400 + b"S")]),
    "binary metadata that is none": call(more=[(b"x-a-bin", b"***")]),
    "a content length that is a lie": call(more=[(b"content-length", b"3")]),
    "data after its end": call() + frame(DATA, END_STREAM, 1, b"abc"),
    "headers after its end": call() + headers(),
    "trailers of the client's": headers() + frame(DATA, 0, 1, message(b"")) + frame(HEADERS, 5, 1, literal(b"x", b"y")),
}
"""Calls that aren't right; each follows the preface, on stream 1."""

STREAM = asking("много", stream=True).SerializeToString()
