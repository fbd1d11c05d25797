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
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from . import hints
from .hints import Advice, quote, show
from .implication import implies
from .model import Condition, Operators
from .model_uri import Model, ModelPattern
from .text import Glob, Text, fold, word_needle

if TYPE_CHECKING:
    import regex  # type: ignore[import-untyped]

__all__ = ["Condition", "Difference", "Kind", "Matcher", "Model", "Operators", "Report", "compile_condition", "implies"]

Kind = Literal["text", "texts", "number", "boolean", "list", "model", "value"]
Report = Callable[[tuple[str | int, ...], str], None]

PATTERN_TIME = 0.1
"""Seconds that one search of a `matches` pattern may take."""


class Difference:
    """One comparison that failed. `path` says where, and is for the caller to set; the rest is told only when asked."""

    __slots__ = ("_matcher", "actual", "expected", "note", "operator", "path")

    def __init__(
        self, path: str, operator: str, expected: Any, actual: Any, matcher: Matcher | None = None, note: str = ""
    ) -> None:
        self.path = path
        self.operator = operator
        self.expected = expected
        self.actual = actual
        self.note = note
        self._matcher = matcher

    def text(self) -> str:
        """One short sentence: what failed, what the value is (an excerpt), what would have matched."""
        where = f"{self.path}: " if self.path else ""
        if self._matcher is None:
            return f"{where}{self.operator}: expected {self.expected}, but {self.actual}"
        hint, place = self._advice()
        end = f"; {hint}" if hint else ""
        return f"{where}{self._matcher.describe()} failed, it is {self._matcher.show(self.actual, place)}{end}"

    def hint(self) -> str:
        """What would have matched; empty if nothing near is known."""
        return self._advice()[0]

    def _advice(self) -> Advice:
        if self.note:
            return self.note, 0
        return hints.NONE if self._matcher is None else self._matcher.advise(self.actual)

    def __repr__(self) -> str:
        return f"Difference({self.text()!r})"


class Matcher:
    """One comparison, or several joined by `all`, `any`, `not`.

    `holds` is the decision alone, `check` the same with what differs.
    """

    __slots__ = ("expected", "operator")

    def __init__(self, operator: str, expected: Any) -> None:
        self.operator = operator
        self.expected = expected

    def holds(self, actual: Any) -> bool:
        """Whether `actual` satisfies this. Never raises."""
        raise NotImplementedError

    def check(self, actual: Any) -> tuple[Difference, ...]:
        """What differs; nothing if `actual` satisfies this. Never raises."""
        return () if self.holds(actual) else (Difference("", self.operator, self.expected, actual, self),)

    def describe(self) -> str:
        """The comparison as a rule would write it, bounded."""
        return f"{self.operator} {show(self.expected)}"

    def advise(self, actual: Any) -> Advice:
        """What would have matched `actual`, which does not."""
        return hints.NONE

    def show(self, actual: Any, place: int) -> str:
        """`actual` as it was compared, an excerpt around `place`."""
        return show(actual, place)


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
    return _Some(matcher) if kind in ("texts", "value") else matcher


# -- comparisons


class _Equals(Matcher):
    """`equals` and `one_of`: exact, and numbers by their value."""

    __slots__ = ("booleans", "numbers", "texts")

    def __init__(self, operator: str, expected: Any, among: Iterable[str]) -> None:
        super().__init__(operator, expected)
        self.texts = frozenset(among)
        self.numbers = frozenset(n for text in self.texts if (n := _number(text)) is not None)
        self.booleans = frozenset(b for text in self.texts if (b := _boolean(text)) is not None)

    def holds(self, actual: Any) -> bool:
        if isinstance(actual, Text):
            return actual.raw in self.texts
        if isinstance(actual, bool):
            return actual in self.booleans
        return isinstance(actual, (int, float)) and actual in self.numbers

    def advise(self, actual: Any) -> Advice:
        return hints.equals_hint(sorted(self.texts), actual) if isinstance(actual, Text) else hints.NONE


class _Textual(Matcher):
    """A comparison that only texts can satisfy, with any of several patterns."""

    __slots__ = ("sources",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected)
        self.sources = sources

    def advise(self, actual: Any) -> Advice:
        if isinstance(actual, Text):
            return self.advise_text(actual)
        return hints.NONE if actual is None else (f"{self.operator} compares texts: use equals", 0)

    def advise_text(self, actual: Text) -> Advice:
        raise NotImplementedError


class _Contains(_Textual):
    __slots__ = ("needles",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.needles = tuple(fold(source) for source in sources)
        if not all(self.needles):
            raise ValueError("is empty, and every text contains nothing; use present: true")

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, Text):
            return False
        folded = actual.folded
        for needle in self.needles:  # noqa: SIM110 - any() costs three times as much
            if needle in folded:
                return True
        return False

    def advise_text(self, actual: Text) -> Advice:
        return hints.contains_hint(self.needles, actual)


class _Word(_Textual):
    __slots__ = ("needles",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.needles = tuple(word_needle(source) for source in sources)

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, Text):
            return False
        words = actual.words
        for needle in self.needles:  # noqa: SIM110
            if needle in words:
                return True
        return False

    def advise_text(self, actual: Text) -> Advice:
        return hints.word_hint(self.sources, actual)


class _Glob(_Textual):
    __slots__ = ("globs",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.globs = tuple(Glob(source) for source in sources)

    def holds(self, actual: Any) -> bool:
        return isinstance(actual, Text) and any(glob.matches(actual.raw) for glob in self.globs)

    def advise_text(self, actual: Text) -> Advice:
        return hints.glob_hint(self.sources, actual)


class _Matches(_Textual):
    __slots__ = ("patterns",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.patterns = tuple(_pattern(source) for source in sources)

    def holds(self, actual: Any) -> bool:
        return not self.check(actual)

    def check(self, actual: Any) -> tuple[Difference, ...]:
        note = ""
        if isinstance(actual, Text):
            for pattern in self.patterns:
                try:
                    if pattern.search(actual.raw, timeout=PATTERN_TIME):
                        return ()
                except TimeoutError:
                    note = f"the pattern took more than {PATTERN_TIME} s on it and was given up: make it simpler"
        return (Difference("", self.operator, self.expected, actual, self, note),)

    def advise_text(self, actual: Text) -> Advice:
        return hints.matches_hint(self.sources, actual)


class _Bound(Matcher):
    """`at_least` or `at_most`."""

    __slots__ = ()

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, (int, float)) or isinstance(actual, bool):
            return False
        return bool(actual >= self.expected if self.operator == "at_least" else actual <= self.expected)

    def advise(self, actual: Any) -> Advice:
        if actual is None or (isinstance(actual, (int, float)) and not isinstance(actual, bool)):
            return hints.NONE
        return f"{self.operator} compares numbers", 0


class _Present(Matcher):
    __slots__ = ()

    def holds(self, actual: Any) -> bool:
        return (actual is not None and actual != ()) is self.expected


class _Model(Matcher):
    """A model by its patterns."""

    __slots__ = ("patterns",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str], *, literal: bool) -> None:
        super().__init__(operator, expected)
        self.patterns = tuple(ModelPattern(source, literal=literal) for source in sources)

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, Model):
            return False
        for pattern in self.patterns:  # noqa: SIM110
            if pattern.matches(actual):
                return True
        return False

    def advise(self, actual: Any) -> Advice:
        if not isinstance(actual, Model):
            return hints.NONE
        return hints.model_hint([pattern.source for pattern in self.patterns], actual)

    def show(self, actual: Any, place: int) -> str:
        whole = isinstance(actual, Model) and any("://" in pattern.source for pattern in self.patterns)
        return show(actual.full if whole else actual, place)


class _ModelText(Matcher):
    """A text comparison with a model's `name/branch`, or with its URI if a pattern has `://`."""

    __slots__ = ("full", "inner")

    def __init__(self, inner: _Textual) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner
        self.full = any("://" in source for source in inner.sources)

    def holds(self, actual: Any) -> bool:
        return not self.check(actual)

    def check(self, actual: Any) -> tuple[Difference, ...]:
        if not isinstance(actual, Model):
            return self.inner.check(None)
        return self.inner.check(actual.full if self.full else actual.label)


class _AllOf(Matcher):
    """A list that has every one of the expected members; with `exact`, these and no others."""

    __slots__ = ("among", "exact")

    def __init__(self, operator: str, expected: Any, among: Sequence[str], *, exact: bool) -> None:
        super().__init__(operator, expected)
        self.among = tuple(_Equals("equals", text, (text,)) for text in among)
        self.exact = exact

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, tuple) or (self.exact and len(actual) != len(self.among)):
            return False
        members = [Text(member) if isinstance(member, str) else member for member in actual]
        return all(_take(wanted, members, self.exact) for wanted in self.among)

    def advise(self, actual: Any) -> Advice:
        if not isinstance(actual, tuple):
            return hints.NONE
        wanted = [one.expected for one in self.among]
        hint, _ = hints.members_hint(wanted, actual)
        if hint or not self.exact:
            return hint, 0
        more = [member for member in actual if str(member) not in wanted]
        return (f"it also has {show(more)}" if more else "one is there more than once"), 0


def _take(wanted: Matcher, members: list[Any], remove: bool) -> bool:
    for i, member in enumerate(members):
        if wanted.holds(member):
            if remove:
                del members[i]
            return True
    return False


class _Member(Matcher):
    """A list with a member that satisfies a comparison."""

    __slots__ = ("inner",)

    def __init__(self, inner: Matcher) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, tuple):
            return False
        return any(self.inner.holds(Text(member) if isinstance(member, str) else member) for member in actual)

    def advise(self, actual: Any) -> Advice:
        if not isinstance(actual, tuple):
            return hints.NONE
        expected = self.expected if isinstance(self.expected, tuple) else (self.expected,)
        if self.operator in ("contains", "one_of"):
            return hints.members_hint(expected, actual)
        for member in actual[:100]:
            advice = self.inner.advise(Text(member) if isinstance(member, str) else member)
            if advice[0]:
                return advice[0], 0
        return hints.NONE


class _Same(_Equals):
    """`contains` on a list: a member that is the same once folded."""

    __slots__ = ("folded",)

    def __init__(self, operator: str, expected: Any, among: Sequence[str]) -> None:
        super().__init__(operator, expected, among)
        self.folded = frozenset(map(fold, among))

    def holds(self, actual: Any) -> bool:
        return actual.folded in self.folded if isinstance(actual, Text) else super().holds(actual)


class _Count(Matcher):
    """How many members a list has."""

    __slots__ = ("inner",)

    def __init__(self, inner: _Bound) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        return isinstance(actual, tuple) and self.inner.holds(len(actual))

    def advise(self, actual: Any) -> Advice:
        return (f"it has {len(actual)}", 0) if isinstance(actual, tuple) else hints.NONE


# -- conditions of conditions


class _All(Matcher):
    __slots__ = ("among",)

    def __init__(self, among: Sequence[Matcher]) -> None:
        super().__init__("all", None)
        self.among = tuple(among)

    def holds(self, actual: Any) -> bool:
        for matcher in self.among:  # noqa: SIM110
            if not matcher.holds(actual):
                return False
        return True

    def check(self, actual: Any) -> tuple[Difference, ...]:
        return tuple(difference for matcher in self.among for difference in matcher.check(actual))

    def describe(self) -> str:
        return " and ".join(matcher.describe() for matcher in self.among)


class _Any(Matcher):
    __slots__ = ("among",)

    def __init__(self, among: Sequence[Matcher]) -> None:
        super().__init__("any", None)
        self.among = tuple(among)

    def holds(self, actual: Any) -> bool:
        return any(matcher.holds(actual) for matcher in self.among)

    def describe(self) -> str:
        shown = [matcher.describe() for matcher in self.among[:3]]
        more = len(self.among) - len(shown)
        return f"any of ({' | '.join(shown)}{f' | {more} more' if more else ''})"

    def advise(self, actual: Any) -> Advice:
        for matcher in self.among:
            for difference in matcher.check(actual):
                if (advice := difference._advice())[0]:
                    return advice
        return hints.NONE


class _Not(Matcher):
    __slots__ = ("inner",)

    def __init__(self, inner: Matcher) -> None:
        super().__init__("not", None)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        return not self.inner.holds(actual)

    def describe(self) -> str:
        return f"not ({self.inner.describe()})"


class _Some(Matcher):
    """A tuple one of whose values satisfies the whole condition; what is no tuple is taken for itself."""

    __slots__ = ("inner",)

    def __init__(self, inner: Matcher) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, tuple):
            return self.inner.holds(actual)
        if not actual:
            return self.inner.holds(None)
        return any(self.inner.holds(value) for value in actual)

    def check(self, actual: Any) -> tuple[Difference, ...]:
        if not isinstance(actual, tuple):
            return self.inner.check(actual)
        nearest: tuple[Difference, ...] | None = None
        for value in actual or (None,):
            found = self.inner.check(value)
            if not found:
                return ()
            # Of several that differ alike the last is shown: the newest message is what a person looks for.
            if nearest is None or len(found) <= len(nearest):
                nearest = found
        return nearest or ()

    def describe(self) -> str:
        return self.inner.describe()

    def advise(self, actual: Any) -> Advice:
        return self.inner.advise(actual)


# -- compiling

_TEXTUAL: dict[str, type[_Textual]] = {"contains": _Contains, "word": _Word, "matches": _Matches, "glob": _Glob}
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
        parts.append(None if inner is None else _Not(inner))
    if not parts:
        report((), "has no operator; write a value, or one of equals, contains, word, matches, one_of, at_least, ...")
    elif len(parts) > 1 and spec.present is False:
        report(("present",), "what is absent can't be compared; leave out present or the other operators")
    if spec.at_least is not None and spec.at_most is not None and spec.at_least > spec.at_most:
        report(("at_most",), f"nothing is at least {spec.at_least:g} and at most {spec.at_most:g}; swap them")
    compiled = [part for part in parts if part is not None]
    if len(compiled) < max(1, len(parts)):
        return None
    return compiled[0] if len(compiled) == 1 else _All(compiled)


def _nested(name: str, among: Sequence[Condition], kind: Kind, report: Report) -> Matcher | None:
    if not among:
        report((name,), "an empty list says nothing; list conditions or leave it out")
        return None
    inner = [_compile(spec, kind, _below(report, name, i)) for i, spec in enumerate(among)]
    compiled = [matcher for matcher in inner if matcher is not None]
    if len(compiled) < len(inner):
        return None
    return _All(compiled) if name == "all" else _Any(compiled)


def _operator(name: str, value: Any, kind: Kind, report: Report) -> Matcher | None:
    if name not in _ALLOWED[kind]:
        report((name,), f"does not compare {_CALLED[kind]}; use {', '.join(_ALLOWED[kind])}")
        return None
    if name == "present":
        return _Present(name, value)
    if name in ("at_least", "at_most"):
        if not math.isfinite(value):
            report((name,), f"{value} is no number to compare with")
            return None
        bound = _Bound(name, int(value) if float(value).is_integer() else value)
        return _Count(bound) if kind == "list" else bound
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
    problems = 0
    for i, value in enumerate(values):
        try:
            # One at a time, so that each mistake is told at its own place.
            _comparison(name, value, (value,), kind, bare)
        except ValueError as error:
            problems += 1
            report((*path, i) if listed else path, str(error))
    return None if problems else _comparison(name, expected, values, kind, bare)


def _comparison(name: str, expected: Any, values: Sequence[str], kind: Kind, bare: bool) -> Matcher:
    if kind == "model":
        if name in ("contains", "word", "matches"):
            return _ModelText(_TEXTUAL[name](name, expected, values))
        return _Model(name, expected, values, literal=name == "equals" and not bare)
    if kind == "number":
        _each(values, _number, "is not a number")
    elif kind == "boolean":
        _each(values, _boolean, "is neither true nor false")
    if kind == "list":
        return _list_comparison(name, expected, values, bare)
    if name in _TEXTUAL:
        return _TEXTUAL[name](name, expected, values)
    return _Equals(name, expected, values)


def _list_comparison(name: str, expected: Any, values: Sequence[str], bare: bool) -> Matcher:
    if name == "equals":
        return _AllOf("has" if bare else name, expected, values, exact=not bare)
    if name == "one_of":
        return _AllOf("has all of", expected, values, exact=False) if bare else _Member(_Equals(name, expected, values))
    if name == "contains":
        return _Member(_Same(name, expected, values))
    return _Member(_TEXTUAL[name](name, expected, values))


def _each(values: Sequence[str], parse: Callable[[str], object], complaint: str) -> None:
    for value in values:
        if parse(value) is None:
            raise ValueError(f"{quote(value)} {complaint}")


def _below(report: Report, *steps: str | int) -> Report:
    return lambda path, text: report((*steps, *path), text)


def _written(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def _number(text: str) -> int | float | None:
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:
        number = float(text)
        return number if math.isfinite(number) else None


def _boolean(text: str) -> bool | None:
    return {"true": True, "false": False}.get(text.lower())


def _pattern(source: str) -> regex.Pattern[str]:
    import regex

    if not source:
        raise ValueError("is empty, and every text matches nothing; use present: true")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(source)
    except regex.error as error:
        place = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise ValueError(f"is not a regular expression: {error.msg}{place} of {quote(source)}") from None
    except (RecursionError, MemoryError, OverflowError, ValueError, LookupError, TypeError) as error:
        raise ValueError(f"is not a regular expression that can be compiled: {type(error).__name__}") from None
