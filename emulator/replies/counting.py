"""How many pieces `tokens.split` makes of a narrow text (see `rules.narrow`), counted without cutting it.

A few operations on numbers that have a byte for each character do that, in a quarter of the time.
"""

from __future__ import annotations

import re
from functools import cache

from ..rules.narrow import characters

# What a byte tells of a character: a letter or digit is one of the first three, a mark is a piece of its own, and so is
# white space but for a space. A piece that is as long as it can be is one byte, the last.
_LATIN, _CYRILLIC, _DIGIT, _MARK, _WHITE, _SPACE, _FULL = (1 << bit for bit in range(7))
_FULL_PIECES = (b"\x01" * 8, b"\x02" * 12, b"\x04" * 3)
_LONGEST = 1 << 17
_INDENT = b" " * 17


def count(coded: bytes) -> int | None:
    """How many pieces there are in the text of which `coded` is the narrow form; None where only cutting it tells: for
    tabs, carriage returns, wide spaces, and what is longer than anybody writes.
    """
    if len(coded) >= _LONGEST or b"\t" in coded or b"\r" in coded:
        return None
    kinds = coded.translate(_kinds())
    for full in _FULL_PIECES:
        kinds = kinds.replace(full, b"\x40")
    number = int.from_bytes(kinds, "little")
    running, pieces, spaces = _masks(len(kinds).bit_length())
    # A letter or digit continues the piece of one of its kind.
    begun = number & pieces ^ number & (number & running) << 8
    # A space is part of the letters or digits after it, and before a mark or the end a piece. Of several that come
    # before what is no white space all but the last are one more.
    number |= (_MARK | _WHITE) << 8 * len(kinds)
    spaces &= number
    begun |= spaces & number >> 6
    several = spaces & spaces << 8
    if not several:
        return begun.bit_count()
    return None if _INDENT in coded else begun.bit_count() + (several ^ several & number >> 7).bit_count()


@cache
def _masks(bits: int) -> tuple[int, int, int]:
    """For numbers whose length in bytes has so many bits: what may run on, what is a piece or part of one, spaces."""
    running = _LATIN | _CYRILLIC | _DIGIT
    each = (running, running | _MARK | _FULL, _SPACE)
    first, second, third = (int.from_bytes(bytes([kinds]) * (1 << bits), "little") for kinds in each)
    return first, second, third


@cache
def _kinds() -> bytes:
    return bytes(map(_kind, characters()))


def _kind(character: str) -> int:
    if character == " ":
        return _SPACE | _WHITE
    if character.isspace():
        return _MARK | _WHITE
    for kind, among in ((_LATIN, "[A-Za-z]"), (_CYRILLIC, "[\u0400-\u04ff]"), (_DIGIT, "[0-9]")):
        if re.match(among, character):
            return kind
    return _MARK
