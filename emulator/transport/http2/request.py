"""What the header of a request says, made out once for all requests whose header is the same."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import IntEnum

from ...call import Metadata
from ...errors import Status
from .. import wire
from .hpack import Field


class Kind(IntEnum):
    """What follows a header."""

    UNARY = 0  # one message, and one in return
    STREAMING = 1  # one message, and any number in return
    STREAMS = 2  # any number in both directions
    FOREIGN = 3  # another protocol than gRPC
    MALFORMED = 4  # breaks the rules of HTTP/2; so does a trailer that begins a call
    TRAILERS = 5  # fields that may end a request, and begin none


_FEW, _SMALL = 24, 16_384
"""Fields, and bytes of a header block, that can't pass the limit of metadata together, were each field one that fills
the table; so most headers are not counted any closer.
"""

_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_NEEDED = frozenset((b":method", b":scheme", b":path"))
_OF_HTTP_1 = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_NO_VALUE = re.compile(rb"[\0\r\n]")
_MOST_NAMES = 1024
_names: set[bytes] = set()
"""Names that were looked at and may be."""


class Request:
    """A request's header.

    `path` is the method's; `timeout` in seconds, None without one; `encoding` what messages are compressed with;
    `length` the bytes of the body, where that is told; `refusal` what the call ends with before it begins.
    `simple` tells that nothing of it has to be looked at again once its only message has come.
    """

    __slots__ = ("encoding", "kind", "length", "metadata", "path", "refusal", "simple", "timeout")

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.path = ""
        self.metadata: Metadata = ()
        self.timeout: float | None = None
        self.encoding: bytes | None = None
        self.length: int | None = None
        self.refusal: Status | None = None
        self.simple = False


MALFORMED = Request(Kind.MALFORMED)
TRAILERS = Request(Kind.TRAILERS)


def read(fields: Sequence[Field], kinds: Mapping[str, Kind], size: int) -> Request:
    """What `fields` say, which came in a block of `size` bytes; `kinds` has those of methods by path, and all others
    are `STREAMS`.
    """
    if len(fields) > _FEW or size > _SMALL:
        try:  # before anything else: a byte may name a field of 4 KiB
            wire.check_size(fields)
        except Status as refused:
            request = Request(Kind.STREAMS)
            request.refusal = refused
            return request
    pseudo: dict[bytes, bytes] = {}
    count = 0
    for name, value in fields:
        if name[:1] != b":":
            break
        if name in pseudo or name not in _PSEUDO:
            return MALFORMED
        pseudo[name] = value
        count += 1
    others = fields[count:]
    if not _may_be(others) or (pseudo and _NO_VALUE.search(b"".join(pseudo.values()))):
        return MALFORMED
    if not pseudo:
        return TRAILERS
    path = pseudo.get(b":path")
    if not path or not pseudo.keys() >= _NEEDED:
        return MALFORMED
    request = Request(Kind.STREAMS)
    request.path = path.decode("latin-1")
    try:
        pairs, own = wire.metadata(others)
    except Status as refused:
        request.refusal = refused
        return request
    if own.get(b"te", b"trailers") != b"trailers":
        return MALFORMED
    length = own.get(b"content-length")
    if length is not None:
        if not length.isdigit() or len(length) > 18:
            return MALFORMED
        request.length = int(length)
    if pseudo[b":method"] != b"POST" or not own.get(b"content-type", b"").startswith(b"application/grpc"):
        request.kind = Kind.FOREIGN
        return request
    request.metadata = tuple(pairs)
    given = own.get(b"grpc-timeout")
    request.timeout = None if given is None else wire.timeout(given)
    request.encoding = own.get(b"grpc-encoding")
    request.kind = kinds.get(request.path, Kind.STREAMS)
    request.simple = request.kind is not Kind.STREAMS and length is None
    return request


def _may_be(fields: Sequence[Field]) -> bool:
    """Whether these are names and values that HTTP/2 lets pass. Blanks around values are taken as grpc.aio does."""
    if _NO_VALUE.search(b"\t".join([value for _, value in fields])):
        return False
    for name, _ in fields:
        if name in _names:
            continue
        if not _NAME.fullmatch(name) or name in _OF_HTTP_1:
            return False
        if len(_names) < _MOST_NAMES and len(name) < 100:
            _names.add(name)
    return True
