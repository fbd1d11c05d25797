"""gRPC as it stands in HTTP/2: metadata, timeouts, messages and statuses, for engines that speak HTTP/2 alone.

As in https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md, and as grpc.aio's core does where that leaves it
open.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import quote_from_bytes

from ..errors import Code, Status
from .limits import MOST_METADATA

Fields = list[tuple[bytes, bytes]]
"""Header fields as they are written, names in lower case."""

PREFIX = 5
"""Bytes before a message: whether it is compressed, and how long it is."""

_OF_HTTP2 = frozenset(
    (b"content-type", b"te", b"host", b"grpc-encoding", b"grpc-accept-encoding", b"grpc-timeout", b"content-length")
)
"""Fields that are no metadata."""

_BASE64 = re.compile(rb"[A-Za-z0-9+/]*")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_PRINTABLE = bytes(byte for byte in range(0x20, 0x7F) if byte != 0x25).decode("ascii")
_ZLIB_OR_GZIP = 32 + zlib.MAX_WBITS


def metadata(fields: Sequence[tuple[bytes, bytes]]) -> tuple[list[tuple[str, str | bytes]], dict[bytes, bytes]]:
    """A request's metadata, and the fields that are about gRPC itself.

    Values of keys that end with `-bin` are bytes. Raises INTERNAL for such a value that is no base64.
    """
    pairs: list[tuple[str, str | bytes]] = []
    own: dict[bytes, bytes] = {}
    for name, value in fields:
        if name in _OF_HTTP2:
            own[name] = value
            continue
        if name.endswith(b"-bin"):
            key = name.decode("latin-1")
            pairs.extend((key, _from_base64(key, one)) for one in value.split(b","))
        else:
            pairs.append((name.decode("latin-1"), value.decode("latin-1")))
    return pairs, own


def check_size(fields: Sequence[tuple[bytes, bytes]]) -> None:
    """Raises RESOURCE_EXHAUSTED for more metadata than is taken."""
    size = sum(len(name) + len(value) + 32 for name, value in fields)  # as HTTP/2 counts
    if size > MOST_METADATA:
        raise Status(Code.RESOURCE_EXHAUSTED, f"received metadata size exceeds hard limit ({size} vs. {MOST_METADATA})")


def _from_base64(key: str, value: bytes) -> bytes:
    value = value.strip().rstrip(b"=")
    try:
        if not _BASE64.fullmatch(value):
            raise binascii.Error
        return binascii.a2b_base64(value + b"=" * (-len(value) % 4))
    except binascii.Error:
        raise Status(Code.INTERNAL, f"the value of {key} is no base64, as that of a key in -bin has to be") from None


def fields(pairs: Iterable[tuple[str, str | bytes]]) -> Fields:
    """Metadata as header fields."""
    return [
        (key.encode("latin-1"), value.encode("latin-1") if isinstance(value, str) else _to_base64(value))
        for key, value in pairs
    ]


def _to_base64(value: bytes) -> bytes:
    return binascii.b2a_base64(value, newline=False).rstrip(b"=")


def timeout(value: bytes) -> float | None:
    """Seconds in `grpc-timeout`, as `301m`; None for what is no timeout, which gRPC's core passes over as well."""
    number, unit = value[:-1], _UNITS.get(value[-1:])
    if unit is None or not number.isdigit() or len(number) > 8:
        return None
    return int(number) * unit


def framed(message: bytes) -> bytes:
    """`message` as it travels, uncompressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


def length(prefix: bytes | bytearray, most: int) -> int:
    """How long the message is that `prefix` stands before. Raises RESOURCE_EXHAUSTED for more than `most` bytes."""
    size = int.from_bytes(prefix[1:PREFIX], "big")
    if size > most:
        raise Status(Code.RESOURCE_EXHAUSTED, f"Received message larger than max ({size} vs. {most})")
    return size


def message(compressed: int, raw: bytes, encoding: bytes | None, most: int) -> bytes:
    """The message in `raw`, of which `compressed` is the first byte of the prefix and `encoding` the algorithm.

    Raises UNIMPLEMENTED for an algorithm other than gzip and deflate, INTERNAL for what can't be made out, and
    RESOURCE_EXHAUSTED for a message that comes to more than `most` bytes.
    """
    if not compressed:
        return raw
    if encoding not in (b"gzip", b"deflate"):
        name = (encoding or b"identity").decode("latin-1")
        if compressed != 1 or name == "identity":
            raise Status(Code.INTERNAL, "the message is compressed, it says, and grpc-encoding names no algorithm")
        raise Status(Code.UNIMPLEMENTED, f"messages compressed with {name} are not taken; gzip and deflate are")
    stream = zlib.decompressobj(_ZLIB_OR_GZIP)
    try:
        whole = stream.decompress(raw, most + 1)
    except zlib.error:
        raise Status(Code.INTERNAL, f"the message can't be decompressed as {encoding.decode()}") from None
    if len(whole) > most:
        raise Status(Code.RESOURCE_EXHAUSTED, f"Received message larger than max (over {most} vs. {most})")
    if not stream.eof:
        raise Status(Code.INTERNAL, f"the message ends in the middle of its {encoding.decode()}")
    return whole


def trailers(status: Status) -> Fields:
    """The fields that end a call with `status`."""
    text = quote_from_bytes(status.message.encode("utf-8", "replace"), safe=_PRINTABLE).encode("ascii")
    return [
        (b"grpc-status", b"%d" % int(status.code)),
        (b"grpc-message", text),
        *fields(status.trailers.items()),
    ]


def well(pairs: Iterable[tuple[str, str | bytes]]) -> Fields:
    """The fields that end a call well, with what `pairs` add."""
    return [(b"grpc-status", b"0"), *fields(pairs)]


def peer(client: Sequence[Any] | None) -> str:
    """Host and port of a client, with which `client` begins, as gRPC writes them."""
    if not client:  # it has gone already
        return "unix:"
    host, port = client[:2]
    return f"ipv6:%5B{host}%5D:{port}" if ":" in host else f"ipv4:{host}:{port}"
