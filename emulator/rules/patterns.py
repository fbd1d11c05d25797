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
    """Whether a search for `pattern` takes no more steps than the square of the text's length: it repeats one thing at
    most, which is one character, and looks at nothing that it has met before.
    """
    if OTHER_SYNTAX.search(pattern):
        return False
    try:
        return _repeats(parsed(pattern)) <= 1
    except (re.error, OverflowError, RecursionError):
        return False


OTHER_SYNTAX = re.compile(r"\[\[|\[\^?\[|\[:|\{(?!\d*,?\d*\})|--|&&|\|\||~~|\(\?[a-zA-Z]*[xV]")
"""What `regex` reads differently from the parser used here: nested sets, set operations, fuzziness, verbosity."""

_MANY = 1000
_SIMPLE = frozenset({"LITERAL", "NOT_LITERAL", "ANY", "IN", "CATEGORY", "AT"})


def _repeats(items: Any) -> int:
    """How many repetitions of one character there are; many where there is anything that may take longer."""
    total = 0
    for kind, argument in items:
        name = str(kind)
        if name in _SIMPLE:
            continue
        if name == "SUBPATTERN":
            total += _repeats(argument[-1])
        elif name == "BRANCH":
            total += sum(map(_repeats, argument[1]))
        elif name in ("MAX_REPEAT", "MIN_REPEAT") and len(argument[2]) == 1 and str(argument[2][0][0]) in _SIMPLE:
            total += 1
        else:
            return _MANY
    return total


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
