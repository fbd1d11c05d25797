"""Which condition covers which: what "this rule is never reached" rests on.

Conservative: True is a proof, False only that no plain one was found.
"""

from __future__ import annotations

import math
from typing import Any

from .model import Condition, Operators
from .text import Text, fold, word_needle

_Atom = tuple[str, Any]
_TAKES_LISTS = ("contains", "word", "matches", "glob")


def implies(a: Condition, b: Condition, kind: str | None = None) -> bool:
    """Whether surely every value of `kind` that satisfies `a` satisfies `b`; with no kind, of whatever kind."""
    if a == b:
        return True
    if kind is None:
        return all(implies(a, b, each) for each in ("text", "value", "list", "model"))
    return _implies(_atoms(a, kind), _atoms(b, kind), kind)


def _atoms(condition: Condition, kind: str) -> list[_Atom]:
    """The comparisons that must all hold, each with an operator and a tuple of what it compares with."""
    if isinstance(condition, list):
        return [("all_of" if kind == "list" else "one_of", tuple(condition))]
    if not isinstance(condition, Operators):
        return [("all_of", (condition,))] if kind == "list" else [("one_of", (condition,))]
    single = {name: getattr(condition, name) for name in ("at_least", "at_most", "present", "any", "not_")}
    atoms = [(name, value) for name, value in single.items() if value is not None]
    several = {name: getattr(condition, name) for name in _TAKES_LISTS}
    # On a list it is about the whole list; on a model, unlike the bare form, `*` is no wildcard.
    several["equals" if kind in ("list", "model") else "one_of"] = condition.equals
    for name, value in several.items():
        if value is not None:
            atoms.append((name, tuple(value) if isinstance(value, list) else (value,)))
    if condition.one_of is not None:
        atoms.append(("some_of" if kind == "list" else "one_of", tuple(condition.one_of)))
    for inner in condition.all or ():
        atoms.extend(_atoms(inner, kind))
    return atoms


def _implies(a: list[_Atom], b: list[_Atom], kind: str) -> bool:
    return all(any(_atom_implies(one, other, kind) for one in a) for other in b)


def _atom_implies(a: _Atom, b: _Atom, kind: str) -> bool:
    if a == b:
        return True
    (ours, x), (theirs, y) = a, b
    if ours == "any":
        return bool(x) and all(_implies(_atoms(each, kind), [b], kind) for each in x)
    if theirs == "any":
        return any(_implies([a], _atoms(each, kind), kind) for each in y)
    if ours == theirs == "not_":
        return implies(y, x, kind)
    if theirs == "present":
        return y is True and _needs_a_value(ours, x, kind)
    if ours == theirs and ours in ("at_least", "at_most"):
        return bool(x >= y if ours == "at_least" else x <= y)
    if ours == theirs and ours in _TAKES_LISTS and set(x) <= set(y):
        return True
    if kind == "list":
        return _list_implies(ours, x, theirs, y)
    if ours == "one_of":
        return all(_value_implies(value, theirs, y, kind) for value in x)
    if ours in ("contains", "word") and theirs in ("contains", "word"):
        return all(_part_implies(ours, part, theirs, y) for part in x)
    return False


def _needs_a_value(operator: str, expected: Any, kind: str) -> bool:
    if operator == "at_most" or (operator == "at_least" and kind == "list" and expected <= 0):
        return kind != "list"
    return operator != "not_" and operator != "present" and bool(expected or operator == "at_least")


def _list_implies(ours: str, x: Any, theirs: str, y: Any) -> bool:
    if ours in ("equals", "all_of") and theirs == "all_of":
        return set(y) <= set(x)
    if ours in ("equals", "all_of") and theirs in ("some_of", "contains"):
        return bool(set(x) & set(y))
    return ours == "some_of" and theirs in ("some_of", "contains") and set(x) <= set(y)


def _value_implies(value: str, operator: str, expected: Any, kind: str) -> bool:
    """Whether a value that equals `value` surely satisfies the comparison."""
    if operator == "one_of":
        return value in expected
    if operator in ("at_least", "at_most"):
        return kind == "number" and _within(value, operator, expected)
    # `"12"` may be a number where any value is possible, and `true` a boolean: these satisfy no text comparison.
    if kind not in ("text", "texts") and not (kind == "value" and _surely_text(value)):
        return False
    text = Text(value)
    if operator == "contains":
        return any(fold(needle) and fold(needle) in text.folded for needle in expected)
    return operator == "word" and any((needle := _needle(p)) is not None and needle in text.words for p in expected)


def _part_implies(ours: str, part: str, theirs: str, expected: Any) -> bool:
    """Whether a text that contains `part`, or has it for a word, surely satisfies the other."""
    if ours == theirs == "contains":
        return any(fold(needle) and fold(needle) in fold(part) for needle in expected)
    needle = _needle(part) if ours == "word" else None
    if needle is None:
        return False
    if theirs == "word":
        return any((other := _needle(p)) is not None and other in needle for p in expected)
    word = needle.strip()
    # A phrase may have anything between its words, and a hyphen may be of another sort.
    return word.isalnum() and any(fold(other) and fold(other) in word for other in expected)


def _needle(pattern: str) -> str | None:
    try:
        return word_needle(pattern)
    except ValueError:
        return None


def _surely_text(value: str) -> bool:
    try:
        float(value)
    except ValueError:
        return value.lower() not in ("true", "false")
    return False


def _within(value: str, operator: str, bound: float) -> bool:
    try:
        number = float(value)
    except ValueError:
        return False
    return math.isfinite(number) and (number >= bound if operator == "at_least" else number <= bound)
