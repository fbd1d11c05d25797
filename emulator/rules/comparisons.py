"""Comparisons: one operator with what it compares with, compiled.

Their constructors raise ValueError, with the remedy, for what can't be compared with.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, AnyStr

from . import hints, narrow
from .hints import Advice, quote, show
from .matcher import Difference, Matcher, Overrun, any_of
from .model_uri import Model, ModelPattern
from .patterns import LARGEST, LONGEST_LITERAL, SHORT, longest_literal, quick, size
from .text import Glob, Text, fold, word_needle

if TYPE_CHECKING:
    import regex  # type: ignore[import-untyped]

PATTERN_TIME = 0.1
"""Seconds that one search of a `matches` pattern may take."""

Pattern = tuple["regex.Pattern[str]", bool]
"""A compiled pattern, and whether it is quick."""


class Equals(Matcher):
    """`equals` and `one_of`: exact, and numbers by their value."""

    __slots__ = ("booleans", "numbers", "texts")

    def __init__(self, operator: str, expected: Any, among: Iterable[str]) -> None:
        super().__init__(operator, expected)
        self.texts = frozenset(among)
        self.numbers = frozenset(n for text in self.texts if (n := number(text)) is not None)
        self.booleans = frozenset(b for text in self.texts if (b := boolean(text)) is not None)

    def holds(self, actual: Any) -> bool:
        if isinstance(actual, Text):
            return actual.raw in self.texts
        if isinstance(actual, bool):
            return actual in self.booleans
        return isinstance(actual, (int, float)) and actual in self.numbers

    def advise(self, actual: Any) -> Advice:
        return hints.equals_hint(sorted(self.texts), actual) if isinstance(actual, Text) else hints.NONE


class Textual(Matcher):
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
        """What would have matched a text that does not."""
        raise NotImplementedError


class Contains(Textual):
    """`contains`: any of several texts, folded. Those that are not narrow can be in narrow texts only where these have
    symbols.
    """

    __slots__ = ("narrow", "needles", "others")

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.needles = tuple(fold(source) for source in sources)
        if not all(self.needles):
            raise ValueError("is empty, and every text contains nothing; use present: true")
        self.narrow = _narrow(self.needles)
        self.others = len(self.narrow) < len(self.needles)

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, Text):
            return False
        if actual.narrow is None or (self.others and actual.has_symbols):
            return _stands_in(self.needles, actual.folded)
        return _stands_in(self.narrow, actual.evened)

    def advise_text(self, actual: Text) -> Advice:
        return hints.contains_hint(self.needles, actual)


class Word(Textual):
    """`word`: any of several whole words, phrases or beginnings. In narrow texts each kind is looked for apart."""

    __slots__ = ("hyphenated", "needles", "phrases", "single")

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.needles = tuple(word_needle(source) for source in sources)
        needles = _narrow(self.needles)
        self.phrases = tuple(needle for needle in needles if b" " in needle.strip())
        words = [needle for needle in needles if needle not in self.phrases]
        self.hyphenated = tuple(needle for needle in words if b"-" in needle)
        self.single = tuple(needle for needle in words if b"-" not in needle)

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, Text):
            return False
        if actual.narrow is None:
            return _stands_in(self.needles, actual.words)
        return (
            (bool(self.single) and _stands_in(self.single, actual.parts))
            or (bool(self.hyphenated) and _stands_in(self.hyphenated, actual.whole))
            or (bool(self.phrases) and _stands_in(self.phrases, actual.narrow_words))
        )

    def advise_text(self, actual: Text) -> Advice:
        return hints.word_hint(self.sources, actual)


def _narrow(needles: Iterable[str]) -> tuple[bytes, ...]:
    """The narrow forms of those that have one."""
    return tuple(coded for text in needles if (coded := narrow.needle(text)) is not None)


def _stands_in(needles: Iterable[AnyStr], text: AnyStr) -> bool:
    for needle in needles:  # noqa: SIM110 - any() costs three times as much
        if needle in text:
            return True
    return False


class GlobText(Textual):
    """`glob`: any of several patterns, exact."""

    __slots__ = ("globs",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.globs = tuple(Glob(source) for source in sources)

    def holds(self, actual: Any) -> bool:
        return isinstance(actual, Text) and any(glob.matches(actual.raw) for glob in self.globs)

    def advise_text(self, actual: Text) -> Advice:
        return hints.glob_hint(self.sources, actual)


class Matches(Textual):
    """`matches`: any of several regular expressions, searched for within the limit of time."""

    __slots__ = ("patterns",)

    def __init__(self, operator: str, expected: Any, sources: Sequence[str]) -> None:
        super().__init__(operator, expected, sources)
        self.patterns: tuple[Pattern, ...] = tuple((_pattern(source), quick(source)) for source in sources)

    def holds(self, actual: Any) -> bool:
        """Whether one of the patterns is found. Raises Overrun where that took too long to find out."""
        return isinstance(actual, Text) and any_of(self.patterns, lambda pattern: _found(pattern, actual.raw))

    def advise_text(self, actual: Text) -> Advice:
        return hints.matches_hint(self.sources, actual)


class Bound(Matcher):
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


class Present(Matcher):
    """`present`."""

    __slots__ = ()

    def holds(self, actual: Any) -> bool:
        return (actual is not None and actual != ()) is self.expected


class ModelIs(Matcher):
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


class ModelText(Matcher):
    """A text comparison with a model's `name/branch`, or with its URI if a pattern has `://`."""

    __slots__ = ("full", "inner")

    def __init__(self, inner: Textual) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner
        self.full = any("://" in source for source in inner.sources)

    def holds(self, actual: Any) -> bool:
        return isinstance(actual, Model) and self.inner.holds(actual.full if self.full else actual.label)

    def check(self, actual: Any) -> tuple[Difference, ...]:
        if not isinstance(actual, Model):
            return self.inner.check(None)
        return self.inner.check(actual.full if self.full else actual.label)


class AllOf(Matcher):
    """A list that has every one of the expected members; with `exact`, these and no others."""

    __slots__ = ("among", "exact")

    def __init__(self, operator: str, expected: Any, among: Sequence[str], *, exact: bool) -> None:
        super().__init__(operator, expected)
        self.among = tuple(Equals("equals", text, (text,)) for text in among)
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


class Member(Matcher):
    """A list with a member that satisfies a comparison."""

    __slots__ = ("inner",)

    def __init__(self, inner: Matcher) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        if not isinstance(actual, tuple):
            return False
        return any_of(actual, lambda member: self.inner.holds(Text(member) if isinstance(member, str) else member))

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


class Same(Equals):
    """`contains` on a list: a member that is the same once folded."""

    __slots__ = ("folded",)

    def __init__(self, operator: str, expected: Any, among: Sequence[str]) -> None:
        super().__init__(operator, expected, among)
        self.folded = frozenset(map(fold, among))

    def holds(self, actual: Any) -> bool:
        return actual.folded in self.folded if isinstance(actual, Text) else super().holds(actual)


class Count(Matcher):
    """How many members a list has."""

    __slots__ = ("inner",)

    def __init__(self, inner: Bound) -> None:
        super().__init__(inner.operator, inner.expected)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        return isinstance(actual, tuple) and self.inner.holds(len(actual))

    def advise(self, actual: Any) -> Advice:
        return (f"it has {len(actual)}", 0) if isinstance(actual, tuple) else hints.NONE


_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?", re.ASCII)


def number(text: str) -> int | float | None:
    """The number that a scalar was written as; None if it is none."""
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    try:
        return int(text)
    except ValueError:
        value = float(text)
        return value if math.isfinite(value) else None


def boolean(text: str) -> bool | None:
    """The boolean that a scalar was written as; None if it is none."""
    return {"true": True, "false": False}.get(text.lower())


def _found(pattern: Pattern, text: str) -> bool:
    compiled, quick = pattern
    # With the interpreter's lock let go of, as `regex` does by itself, other threads take it, and most of the time goes
    # into getting it back; and to look at the clock takes longer than most searches.
    if quick and len(text) <= SHORT:
        return compiled.search(text, concurrent=False) is not None
    try:
        return compiled.search(text, concurrent=False, timeout=PATTERN_TIME) is not None
    except TimeoutError:
        raise Overrun(
            f"the pattern {quote(compiled.pattern)} took more than {PATTERN_TIME} s and was given up: make it simpler"
        ) from None


def _pattern(source: str) -> regex.Pattern[str]:
    import regex

    if not source:
        raise ValueError("is empty, and every text matches nothing; use present: true")
    try:
        if size(source) > LARGEST:
            raise ValueError(f"repeats too much: written out, {quote(source)} has more than {LARGEST} elements")
        if longest_literal(source) > LONGEST_LITERAL:
            raise ValueError(
                f"holds more than {LONGEST_LITERAL} plain characters in a row; use equals or contains for them"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return regex.compile(source)
    except regex.error as error:
        place = f" at character {error.pos + 1}" if error.pos is not None else ""
        raise ValueError(f"is not a regular expression: {error.msg}{place} of {quote(source)}") from None
    except (RecursionError, MemoryError, OverflowError, LookupError, TypeError) as error:
        raise ValueError(f"is not a regular expression that can be compiled: {type(error).__name__}") from None
