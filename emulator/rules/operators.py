"""Operators: how one value of a request is compared with what a rule wants.

Matching is diffing: a `Matcher` answers with what differs, and nothing is a match, so the code that decides is the code
that explains. What a condition compares is its kind:

- `text`: a `Text`; `texts`: a tuple of them, one of which must satisfy the whole condition;
- `number`, `boolean`;
- `list`: a tuple of names or of numbers;
- `model`: a `Model`;
- `value`: any of the scalars, or a tuple of them, one of which must satisfy the whole condition.

None is a value that isn't there: it satisfies `present: false` and `not` and nothing else. So does an empty tuple of
`texts` or of a `value`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Literal

from .comparisons import (
    AllOf,
    Bound,
    Contains,
    Count,
    Equals,
    GlobText,
    Matches,
    Member,
    ModelIs,
    ModelText,
    Present,
    Same,
    Textual,
    Word,
    boolean,
    number,
)
from .hints import quote
from .matcher import All, Any_, Difference, Matcher, Not, Some
from .model import Condition, Operators
from .model_uri import Model

__all__ = ["Condition", "Difference", "Kind", "Matcher", "Model", "Operators", "Report", "compile_condition"]

Kind = Literal["text", "texts", "number", "boolean", "list", "model", "value"]
Report = Callable[[tuple[str | int, ...], str], None]


def compile_condition(spec: Condition, kind: Kind, report: Report) -> Matcher | None:
    """The matcher for what a rule says of a value of `kind`.

    `report(path below the condition, text)` is told each mistake; None if there was one.
    """
    mistakes = 0

    def counted(path: tuple[str | int, ...], text: str) -> None:
        nonlocal mistakes
        mistakes += 1
        report(path, text)

    matcher = _compile(spec, kind, counted)
    if mistakes or matcher is None:
        return None
    return Some(matcher) if kind in ("texts", "value") else matcher


_TEXTUAL: dict[str, type[Textual]] = {"contains": Contains, "word": Word, "matches": Matches, "glob": GlobText}
_TEXT_OPERATORS = ("equals", "contains", "word", "matches", "glob", "one_of", "present")
_NUMBER_OPERATORS = ("equals", "one_of", "at_least", "at_most", "present")
_ALLOWED: dict[Kind, tuple[str, ...]] = {
    "text": _TEXT_OPERATORS,
    "texts": _TEXT_OPERATORS,
    "model": _TEXT_OPERATORS,
    "number": _NUMBER_OPERATORS,
    "boolean": ("equals", "one_of", "present"),
    "list": (*_TEXT_OPERATORS, "at_least", "at_most"),
    "value": (*_TEXT_OPERATORS, "at_least", "at_most"),
}
_CALLED: dict[Kind, str] = {
    "text": "a text",
    "texts": "a text",
    "model": "a model",
    "number": "a number",
    "boolean": "true or false",
    "list": "a list",
    "value": "a value",
}
_SINGLE = ("equals", "contains", "word", "matches", "glob", "one_of", "at_least", "at_most", "present")
_EMPTY = "an empty list matches nothing; list what it may be, or use present: false"


def _compile(spec: Condition, kind: Kind, report: Report) -> Matcher | None:
    if isinstance(spec, list):
        if not spec:
            report((), _EMPTY)
            return None
        return _scalars("one_of", spec, kind, report, (), bare=True)
    if not isinstance(spec, Operators):
        return _scalars("equals", [spec], kind, report, (), bare=True)
    parts = [_operator(name, getattr(spec, name), kind, report) for name in _SINGLE if getattr(spec, name) is not None]
    for name, among in (("all", spec.all), ("any", spec.any)):
        if among is not None:
            parts.append(_nested(name, among, kind, report))
    if spec.not_ is not None:
        inner = _compile(spec.not_, kind, _below(report, "not"))
        parts.append(None if inner is None else Not(inner))
    if not parts:
        report((), "has no operator; write a value, or one of equals, contains, word, matches, one_of, at_least, ...")
    elif len(parts) > 1 and spec.present is False:
        report(("present",), "what is absent can't be compared; leave out present or the other operators")
    if spec.at_least is not None and spec.at_most is not None and spec.at_least > spec.at_most:
        report(("at_most",), f"nothing is at least {spec.at_least:g} and at most {spec.at_most:g}; swap them")
    compiled = [part for part in parts if part is not None]
    if len(compiled) < max(1, len(parts)):
        return None
    return compiled[0] if len(compiled) == 1 else All(compiled)


def _nested(name: str, among: Sequence[Condition], kind: Kind, report: Report) -> Matcher | None:
    if not among:
        report((name,), "an empty list says nothing; list conditions or leave it out")
        return None
    inner = [_compile(spec, kind, _below(report, name, i)) for i, spec in enumerate(among)]
    compiled = [matcher for matcher in inner if matcher is not None]
    if len(compiled) < len(inner):
        return None
    return All(compiled) if name == "all" else Any_(compiled)


def _operator(name: str, value: Any, kind: Kind, report: Report) -> Matcher | None:
    if name not in _ALLOWED[kind]:
        report((name,), f"does not compare {_CALLED[kind]}; use {', '.join(_ALLOWED[kind])}")
        return None
    if name == "present":
        return Present(name, value)
    if name in ("at_least", "at_most"):
        if not math.isfinite(value):
            report((name,), f"{value} is no number to compare with")
            return None
        bound = Bound(name, int(value) if float(value).is_integer() else value)
        return Count(bound) if kind == "list" else bound
    several = isinstance(value, list)
    if several and not value:
        report((name,), _EMPTY)
        return None
    if name == "equals" and several and kind != "list":
        report((name,), "takes one value here; use one_of for several")
        return None
    return _scalars(name, value if several else [value], kind, report, (name,), bare=False, several=several)


def _scalars(
    name: str,
    written: Sequence[Any],
    kind: Kind,
    report: Report,
    path: tuple[str | int, ...],
    *,
    bare: bool,
    several: bool | None = None,
) -> Matcher | None:
    """The matcher for an operator that compares with what was written as scalars; `path` is where they stand."""
    values = [_written(value) for value in written]
    listed = several if several is not None else name == "one_of"
    expected: Any = tuple(values) if listed else values[0]
    try:
        return _comparison(name, expected, values, kind, bare)
    except ValueError as wrong:
        if not listed:
            report(path, str(wrong))
            return None
    problems = 0
    for i, value in enumerate(values):
        try:
            # One at a time, so that each mistake is told at its own place.
            _comparison(name, value, (value,), kind, bare)
        except ValueError as error:
            problems += 1
            report((*path, i), str(error))
    assert problems, values
    return None


def _comparison(name: str, expected: Any, values: Sequence[str], kind: Kind, bare: bool) -> Matcher:
    if kind == "model":
        if name in ("contains", "word", "matches"):
            return ModelText(_TEXTUAL[name](name, expected, values))
        return ModelIs(name, expected, values, literal=name == "equals" and not bare)
    if kind == "number":
        _each(values, number, "is not a number")
    elif kind == "boolean":
        _each(values, boolean, "is neither true nor false")
    if kind == "list":
        return _list_comparison(name, expected, values, bare)
    if name in _TEXTUAL:
        return _TEXTUAL[name](name, expected, values)
    return Equals(name, expected, values)


def _list_comparison(name: str, expected: Any, values: Sequence[str], bare: bool) -> Matcher:
    if name == "equals":
        return AllOf("has" if bare else name, expected, values, exact=not bare)
    if name == "one_of":
        return AllOf("has all of", expected, values, exact=False) if bare else Member(Equals(name, expected, values))
    if name == "contains":
        return Member(Same(name, expected, values))
    return Member(_TEXTUAL[name](name, expected, values))


def _each(values: Sequence[str], parse: Callable[[str], object], complaint: str) -> None:
    for value in values:
        if parse(value) is None:
            raise ValueError(f"{quote(value)} {complaint}")


def _below(report: Report, *steps: str | int) -> Report:
    return lambda path, text: report((*steps, *path), text)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
