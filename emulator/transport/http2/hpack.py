"""HPACK (RFC 7541): header fields, read with the table that they build up, and written without one."""

from __future__ import annotations

from collections.abc import Iterable

from . import huffman

Field = tuple[bytes, bytes]

TABLE = 4096
"""Bytes of a table, as the RFC counts them, that no peer is told another size of."""

_OVERHEAD = 32
"""Bytes that a field counts for beside those of its name and value."""

_LONGEST_INTEGER = 5
"""Bytes of an integer after its first."""

# fmt: off
STATIC: tuple[Field, ...] = (
    (b":authority", b""), (b":method", b"GET"), (b":method", b"POST"), (b":path", b"/"), (b":path", b"/index.html"),
    (b":scheme", b"http"), (b":scheme", b"https"), (b":status", b"200"), (b":status", b"204"), (b":status", b"206"),
    (b":status", b"304"), (b":status", b"400"), (b":status", b"404"), (b":status", b"500"), (b"accept-charset", b""),
    (b"accept-encoding", b"gzip, deflate"), (b"accept-language", b""), (b"accept-ranges", b""), (b"accept", b""),
    (b"access-control-allow-origin", b""), (b"age", b""), (b"allow", b""), (b"authorization", b""),
    (b"cache-control", b""), (b"content-disposition", b""), (b"content-encoding", b""), (b"content-language", b""),
    (b"content-length", b""), (b"content-location", b""), (b"content-range", b""), (b"content-type", b""),
    (b"cookie", b""), (b"date", b""), (b"etag", b""), (b"expect", b""), (b"expires", b""), (b"from", b""),
    (b"host", b""), (b"if-match", b""), (b"if-modified-since", b""), (b"if-none-match", b""), (b"if-range", b""),
    (b"if-unmodified-since", b""), (b"last-modified", b""), (b"link", b""), (b"location", b""),
    (b"max-forwards", b""), (b"proxy-authenticate", b""), (b"proxy-authorization", b""), (b"range", b""),
    (b"referer", b""), (b"refresh", b""), (b"retry-after", b""), (b"server", b""), (b"set-cookie", b""),
    (b"strict-transport-security", b""), (b"transfer-encoding", b""), (b"user-agent", b""), (b"vary", b""),
    (b"via", b""), (b"www-authenticate", b""),
)
# fmt: on
_FIRST = len(STATIC) + 1
_SHORT = 127
"""The least length of a text that takes more than a byte."""

_CUT = "a header block that ends in the middle, or names a field that there is not"


class Decoder:
    """Reads the header blocks of one connection, in the order in which they come.

    `version` grows with every change of the table: while it stays, a block of the same bytes says the same.
    """

    __slots__ = ("_most", "_size", "_table", "version")

    def __init__(self) -> None:
        self._table: list[Field] = []  # the newest last
        self._size = 0
        self._most = TABLE
        self.version = 0

    def fields(self, block: bytes) -> list[Field]:
        """What `block` says. Raises ValueError for what can't be read; the connection can't go on then."""
        try:
            return self._fields(block)
        except IndexError:
            raise ValueError(_CUT) from None

    def _fields(self, block: bytes) -> list[Field]:
        found: list[Field] = []
        table, at, end = self._table, 0, len(block)
        while at < end:
            byte = block[at]
            at += 1
            if byte & 0x80:  # a field that a table has
                number = byte & 0x7F
                if number == 0x7F:
                    number, at = _integer(block, at, number)
                found.append(table[_place(number)] if number >= _FIRST else STATIC[_static(number)])
                continue
            if byte & 0x40:
                kept, most = True, 0x3F
            elif byte & 0x20:
                if found:
                    raise ValueError("a table that changes its size in the middle of a header block")
                size = byte & 0x1F
                if size == 0x1F:
                    size, at = _integer(block, at, size)
                self._resize(size)
                continue
            else:
                kept, most = False, 0x0F
            number = byte & most
            if number == most:
                number, at = _integer(block, at, number)
            # Short texts that aren't in Huffman's code are read here: a call would cost as much again.
            if number:
                name = (table[_place(number)] if number >= _FIRST else STATIC[number - 1])[0]
            elif (size := block[at]) < _SHORT:
                at += size + 1
                name = block[at - size : at]
            else:
                name, at = _text(block, at)
            if (size := block[at]) < _SHORT:
                at += size + 1
                value = block[at - size : at]
            else:
                value, at = _text(block, at)
            if at > end:
                raise ValueError(_CUT)
            field = (name, value)
            if kept:
                self._keep(field)
            found.append(field)
        return found

    def _keep(self, field: Field) -> None:
        self.version += 1
        size = len(field[0]) + len(field[1]) + _OVERHEAD
        self._shrink(self._most - size)
        if size <= self._most:
            self._table.append(field)
            self._size += size

    def _resize(self, most: int) -> None:
        if most > TABLE:
            raise ValueError(f"a table of {most} bytes, and at most {TABLE} were offered")
        self.version += 1
        self._most = most
        self._shrink(most)

    def _shrink(self, most: int) -> None:
        """Let the oldest fields go until what is left has `most` bytes."""
        gone = 0
        while self._size > most and gone < len(self._table):
            name, value = self._table[gone]
            self._size -= len(name) + len(value) + _OVERHEAD
            gone += 1
        del self._table[:gone]


def _place(number: int) -> int:
    """Where the field of that number is, from the end."""
    return _FIRST - 1 - number


def _static(number: int) -> int:
    if number == 0:
        raise ValueError("a field of number 0")
    return number - 1


def _integer(block: bytes, at: int, number: int) -> tuple[int, int]:
    """An integer whose first byte was full, and where it ends."""
    for shift in range(0, 7 * _LONGEST_INTEGER, 7):
        byte = block[at]
        at += 1
        number += (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
    raise ValueError("an integer that is too large")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    byte = block[at]
    size, at = byte & 0x7F, at + 1
    if size == 0x7F:
        size, at = _integer(block, at, size)
    end = at + size
    if end > len(block):
        raise ValueError(_CUT)
    return (huffman.decoded(block[at:end]) if byte & 0x80 else block[at:end]), end


_LENGTHS = tuple(bytes((size,)) for size in range(_SHORT))


def length(text: bytes) -> bytes:
    """How long a text is, as it stands before it."""
    size = len(text)
    if size < _SHORT:
        return _LENGTHS[size]
    size -= _SHORT
    written = bytearray((_SHORT,))
    while size >= 0x80:
        written.append(size & 0x7F | 0x80)
        size >>= 7
    written.append(size)
    return bytes(written)


def literal(name: bytes, value: bytes) -> bytes:
    """A field that no table keeps."""
    return b"".join((b"\0", length(name), name, length(value), value))


def block(fields: Iterable[Field]) -> bytes:
    """A header block of such fields."""
    return b"".join([literal(name, value) for name, value in fields])
