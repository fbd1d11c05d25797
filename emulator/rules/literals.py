"""The literal texts that a comparison can't hold without, so that an index may look for them first.

What is told is necessary, never sufficient, and where a pattern is beyond this nothing is told, and it is simply tried.
All literals are to be looked for in one form of a text, `searched`, whatever their comparison overlooks: so a text is
gone through once for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .patterns import OTHER_SYNTAX, parsed
from .text import fold

Literals = frozenset[str]

SAFE = "0123456789!\"#%&',-/:;<=>@_`~«»—№abcdefghijklmnopqrstuvwxyzабвгдежзийклмнопрстуфхцчшщъыьэюя"
"""Characters that `regex` finds, whatever its flags, only in what `searched` makes the same character of (tested)."""

_NEVER_MARKED = frozenset("0123456789!\"#%&',-/:;@_`~«»—№")
"""Those of which no mark that follows makes another character."""

_UNSAFE = re.compile(f" {{2,}}|[^ {re.escape(SAFE)}]+")


def searched(folded: str) -> str:
    """The form of a folded text in which literals are looked for: to some patterns ı is an i."""
    return folded.replace("ı", "i")


def of_contains(needle: str) -> Literals:
    """What stands in every text that `contains` finds the folded `needle` in."""
    return frozenset((searched(needle),))


def of_word(needle: str) -> Literals | None:
    """The same for what `text.word_needle` makes of a pattern. Whatever separates words, their parts are there."""
    part = max(re.split(r"[ -]+", needle), key=len)
    return frozenset((searched(part),)) if part else None


def of_glob(pattern: str) -> Literals | None:
    """The same for a glob, whose `*` and `?` stand for anything."""
    runs = [run for piece in re.split(r"[*?]", pattern) for run in _runs(piece)]
    return frozenset((max(runs, key=len),)) if runs else None


def of_pattern(pattern: str) -> tuple[Literals, ...]:
    """The same for a regular expression, which may need several: of each set one stands in every text where it is
    found.
    """
    if OTHER_SYNTAX.search(pattern):
        return ()
    try:
        return tuple(_needed(parsed(pattern)))
    except (re.error, OverflowError, RecursionError):
        return ()


def rarest(among: Iterable[Literals]) -> Literals | None:
    """Of several the one that is probably met most rarely: whose shortest literal is longest."""
    return max(among, key=lambda literals: (min(map(len, literals)), -len(literals)), default=None)


def folded(text: str) -> str:
    """A text that is as yet unfolded, in the form that is searched."""
    return searched(fold(text))


def _needed(items: Any) -> Iterable[Literals]:
    literal = ""
    for kind, argument in (*items, (None, None)):
        name = str(kind)
        if name == "LITERAL":
            literal += chr(argument)
            continue
        yield from (frozenset((run,)) for run in _runs(literal))
        literal = ""
        if name in ("SUBPATTERN", "ATOMIC_GROUP"):
            yield from _needed(argument[-1] if name == "SUBPATTERN" else argument)
        elif name.endswith("_REPEAT") and argument[0] >= 1:
            yield from _needed(argument[2])
        elif name == "BRANCH":
            among = [rarest(_needed(branch)) for branch in argument[1]]
            if all(among):
                yield frozenset().union(*(literals for literals in among if literals))


def _runs(literal: str) -> Iterable[str]:
    """The parts of an exact text that stand as they are in the form that is searched."""
    for run in _UNSAFE.split(searched(literal.casefold()).replace("ё", "е")):
        whole = run.strip(" ")
        if not run.endswith(" ") and whole[-1:] not in _NEVER_MARKED:
            whole = whole[:-1].rstrip(" ")  # in a text a mark may follow that makes another letter of it
        if whole:
            yield whole
