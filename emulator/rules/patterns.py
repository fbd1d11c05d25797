"""How large a regular expression becomes when it is compiled.

Compiling writes repetitions out, one within the other: `((x{1000}){1000}){1000}` is gigabytes and minutes. So a
pattern is measured before it is compiled, whoever wrote it.
"""

from __future__ import annotations

import importlib
import math
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any

LARGEST = 20_000
"""Elements that a pattern may have when its repetitions are written out (our choice)."""


def parsed(pattern: str) -> Any:
    """The pattern as the standard library's own parser has it. Raises re.error for what is none to it."""
    # The parser moved in 3.11.
    name = "re._parser" if sys.version_info >= (3, 11) else "sre_parse"
    parse: Callable[[str], Any] = importlib.import_module(name).parse
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return parse(pattern)


def size(pattern: str) -> int:
    """How many elements `pattern` has when repetitions are written out, roughly; too many rather than too few."""
    try:
        return _written_out(parsed(pattern))
    except (re.error, OverflowError):
        return math.prod(int(times) for times in re.findall(r"\d{1,9}", pattern[:1000]) if int(times) > 1)


def quick(pattern: str) -> bool:
    """Whether a search for `pattern` in a text of up to `SHORT` characters ends soon, whatever the text is.

    It repeats one thing at most, which is one character, chooses between few, and looks at nothing it has met before.
    """
    if OTHER_SYNTAX.search(pattern) or _choices(pattern) > _MOST_CHOICES:
        return False
    try:
        items = parsed(pattern)
        return _ways(items) * _written_out(items) <= _MOST_STEPS
    except (re.error, OverflowError, RecursionError):
        return False


SHORT = 1000
"""Characters of a text in which quick patterns are searched for unwatched."""

_MOST_STEPS = 50_000
"""Steps from one place of such a text, roughly: from all of them they take a tenth of a second."""

OTHER_SYNTAX = re.compile(r"\[\[|\[\^?\[|\[:|\{(?!\d*,?\d*\})|--|&&|\|\||~~|\(\?[a-zA-Z]*[xV]")
"""What `regex` reads differently from the parser used here: nested sets, set operations, fuzziness, verbosity."""

_SIMPLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "CATEGORY", "AT"})
_MOST_CHOICES = 16
"""Ways through all alternatives of a pattern that is quick (our choice)."""


def _choices(pattern: str) -> int:
    """How many ways there are through its alternatives, at most: of groups in a row they multiply. They are told from
    the text, since the parser used here makes one set of `a|b`, which to `regex` are two ways.
    """
    bars = pattern.count("|")
    groups = max(1, min(bars, pattern.count("(")))
    ways: int = (-(-bars // groups) + 1) ** min(groups, 8)  # eight are too many already
    return ways


def _ways(items: Any) -> float:
    """In how many ways a search from one place may go on; infinitely many where anything may take longer."""
    ways = 1.0
    for kind, argument in items:
        name = str(kind)
        if name in _SIMPLE:
            continue
        if name == "SUBPATTERN":
            ways *= _ways(argument[-1])
        elif name == "BRANCH":
            ways *= sum(map(_ways, argument[1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT") and len(argument[2]) == 1 and str(argument[2][0][0]) in _SIMPLE:
            ways *= SHORT
        else:
            return math.inf
    return ways


LONGEST_LITERAL = 300
"""Letters in a row: the first search for a longer run takes seconds, and no time limit ends it."""


def longest_literal(pattern: str) -> int:
    """How many characters in a row `pattern` takes literally."""
    try:
        items = parsed(pattern)
    except (re.error, OverflowError):
        return max((len(run) for run in re.findall(r"\w+", pattern)), default=0)
    return _longest_literal(items)


def _longest_literal(items: Any) -> int:
    longest = run = 0
    for kind, argument in items:
        run = run + 1 if str(kind) == "LITERAL" else 0
        inner = argument[1] if str(kind) == "BRANCH" else [argument[-1]] if str(kind) in _GROUPS else []
        longest = max(longest, run, *map(_longest_literal, inner), 0)
    return longest


_GROUPS = ("SUBPATTERN", "ASSERT", "ASSERT_NOT", "MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT")


def _written_out(items: Any) -> int:
    total = 1
    for kind, argument in items:
        if str(kind).endswith("_REPEAT"):
            least, most, repeated = argument
            times = int(least) if str(most) == "MAXREPEAT" else int(most)
            total += max(1, times) * _written_out(repeated)
        elif str(kind) == "BRANCH":
            total += sum(map(_written_out, argument[1]))
        elif str(kind) in ("SUBPATTERN", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT"):
            total += _written_out(argument if str(kind) == "ATOMIC_GROUP" else argument[-1])
        else:
            total += 1
    return total
