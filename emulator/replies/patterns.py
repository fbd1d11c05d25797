"""Strings by a regular expression: an example of one, and whether one is found.

Both are for the `pattern` of a client's JSON Schema, so both are bounded: searching by time, examples by length.
Patterns are read as Python's, which is near enough to ECMA 262 for what schemas hold; what isn't, gets no example.
"""

from __future__ import annotations

import functools
import re
import warnings
from typing import Any

from emulator.rules.patterns import LARGEST, parsed, size

_TIMEOUT_SECONDS = 0.1
_LONGEST = 10_000
_CLASSES = {
    "CATEGORY_DIGIT": "1234567890",
    "CATEGORY_WORD": "abcdefghijklmnopqrstuvwxyz",
    "CATEGORY_SPACE": " ",
    "CATEGORY_NOT_DIGIT": "abc",
    "CATEGORY_NOT_WORD": "-",
    "CATEGORY_NOT_SPACE": "abcdefghijklmnopqrstuvwxyz",
}
_PRINTABLE = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_ .,:;!?/()@#"


def found(pattern: str, text: str) -> bool:
    """Whether `pattern` is found anywhere in `text`; ValueError if it is no pattern or takes longer than 0.1 s."""
    compiled = _compiled(pattern)
    try:
        return compiled.search(text, timeout=_TIMEOUT_SECONDS) is not None
    except TimeoutError:
        raise ValueError(f"the pattern {pattern!r} takes too long") from None


def example_of(pattern: str, wish: str, *, nth: int = 0, at_least: int = 0, at_most: int = _LONGEST) -> str | None:
    """A text of `at_least` to `at_most` characters in which `pattern` is found; `wish` if it will do.

    Another `nth` gives another text where the pattern leaves a choice. Best effort: None for patterns with
    back-references or a syntax that isn't Python's, and where look-around matters.
    """
    try:
        if at_least <= len(wish) <= at_most and found(pattern, wish):
            return wish
        items = parsed(pattern)
        for more in dict.fromkeys((3, 2, 1, 0, 5, 8, at_least)):
            text = _Example(more, nth).sequence(items)
            if len(text) < at_least and found(pattern, text.ljust(at_least, "x")):
                text = text.ljust(at_least, "x")
            if at_least <= len(text) <= at_most and found(pattern, text):
                return text
    except (ValueError, RecursionError, OverflowError, re.error):
        return None
    return None


@functools.lru_cache(maxsize=128)
def _compiled(pattern: str) -> Any:
    import regex  # type: ignore[import-untyped]

    try:
        if size(pattern) > LARGEST:
            raise ValueError(f"the pattern {pattern!r} repeats too much")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(pattern)
    except (regex.error, RecursionError, OverflowError) as error:
        raise ValueError(f"not a pattern: {pattern!r}: {error}") from None


class _Example:
    """Writes one text for a parsed pattern; what repeats without end repeats `more` times beyond its least."""

    def __init__(self, more: int, nth: int) -> None:
        self._more = more
        self._nth = nth
        self._steps = 0

    def sequence(self, items: Any) -> str:
        self._steps += 1 + len(items)
        if self._steps > _LONGEST:
            raise ValueError("the example grows too long")
        return "".join(self._one(str(kind), argument) for kind, argument in items)

    def _one(self, kind: str, argument: Any) -> str:
        if kind == "LITERAL":
            return chr(argument)
        if kind == "NOT_LITERAL":
            return self._pick(_PRINTABLE.replace(chr(argument), ""))
        if kind == "ANY":
            return self._pick(_PRINTABLE)
        if kind == "IN":
            return self._pick(_members(argument))
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            least, most, repeated = argument
            return "".join(self.sequence(repeated) for _ in range(min(int(most), int(least) + self._more)))
        if kind == "SUBPATTERN":
            return self.sequence(argument[-1])
        if kind == "BRANCH":
            return self.sequence(argument[1][self._nth % len(argument[1])])
        if kind in ("AT", "ASSERT", "ASSERT_NOT"):
            return ""
        raise ValueError(f"no example of {kind}")

    def _pick(self, among: str) -> str:
        if not among:
            raise ValueError("no example of an empty class")
        return among[(self._steps + self._nth) % len(among)]


def _members(told: Any) -> str:
    """Characters of a class, `told` as the parser has it: not all of them, but some if there are any."""
    members, negated = "", False
    for kind, argument in told:
        if str(kind) == "NEGATE":
            negated = True
        elif str(kind) == "LITERAL":
            members += chr(argument)
        elif str(kind) == "RANGE":
            members += "".join(map(chr, range(argument[0], min(argument[1], argument[0] + 60) + 1)))
        else:
            members += _CLASSES.get(str(argument), "")
    return "".join(char for char in _PRINTABLE if char not in members) if negated else members
