"""Matchers: what decides whether a value is as wanted, and the differences that explain why it isn't.

A matcher answers with what differs, and nothing is a match, so the code that decides is the code that explains. Here
are the two and the joining of matchers by `all`, `any` and `not`; single comparisons are in `comparisons`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from . import hints
from .hints import Advice, show

_T = TypeVar("_T")


class Difference:
    """One comparison that failed. `path` says where, and is for the caller to set; the rest is told only when asked.

    Without a matcher, `expected` and `actual` are words for people, and `expected` may be empty.
    """

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
            return f"{where}expected {self.expected}, but {self.actual}" if self.expected else f"{where}{self.actual}"
        hint, place = self.advice()
        end = f"; {hint}" if hint else ""
        return f"{where}{self._matcher.describe()} failed, it is {self._matcher.show(self.actual, place)}{end}"

    def hint(self) -> str:
        """What would have matched; empty if nothing near is known."""
        return self.advice()[0]

    def advice(self) -> Advice:
        """The hint and the place in the value that it is about."""
        if self.note:
            return self.note, 0
        return hints.NONE if self._matcher is None else self._matcher.advise(self.actual)

    def __repr__(self) -> str:
        return f"Difference({self.text()!r})"


class Overrun(Exception):
    """A search took too long, so nobody knows whether the condition holds; the text says which. No rule answers so."""


def any_of(among: Iterable[_T], holds: Callable[[_T], bool]) -> bool:
    """Whether one of several holds. Raises Overrun if none does, but of one it is not known."""
    overrun: Overrun | None = None
    for one in among:
        try:
            if holds(one):
                return True
        except Overrun as raised:
            overrun = raised
    if overrun is not None:
        raise overrun
    return False


class Matcher:
    """One comparison, or several joined by `all`, `any`, `not`.

    `holds` is the decision alone, `check` the same with what differs.
    """

    __slots__ = ("expected", "operator")

    def __init__(self, operator: str, expected: Any) -> None:
        self.operator = operator
        self.expected = expected

    def holds(self, actual: Any) -> bool:
        """Whether `actual` satisfies this. Raises Overrun, and nothing else."""
        raise NotImplementedError

    def check(self, actual: Any) -> tuple[Difference, ...]:
        """What differs; nothing if `actual` satisfies this. Never raises."""
        note = ""
        try:
            if self.holds(actual):
                return ()
        except Overrun as overrun:
            note = str(overrun)
        return (Difference("", self.operator, self.expected, actual, self, note),)

    def describe(self) -> str:
        """The comparison as a rule would write it, bounded."""
        return f"{self.operator} {show(self.expected)}"

    def advise(self, actual: Any) -> Advice:
        """What would have matched `actual`, which does not."""
        return hints.NONE

    def show(self, actual: Any, place: int) -> str:
        """`actual` as it was compared, an excerpt around `place`."""
        return show(actual, place)


class All(Matcher):
    """`all`, and several operators side by side."""

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


class Any_(Matcher):
    """`any`."""

    __slots__ = ("among",)

    def __init__(self, among: Sequence[Matcher]) -> None:
        super().__init__("any", None)
        self.among = tuple(among)

    def holds(self, actual: Any) -> bool:
        return any_of(self.among, lambda matcher: matcher.holds(actual))

    def describe(self) -> str:
        shown = [matcher.describe() for matcher in self.among[:3]]
        more = len(self.among) - len(shown)
        return f"any of ({' | '.join(shown)}{f' | {more} more' if more else ''})"

    def advise(self, actual: Any) -> Advice:
        for matcher in self.among:
            for difference in matcher.check(actual):
                if (advice := difference.advice())[0]:
                    return advice
        return hints.NONE


class Not(Matcher):
    """`not`."""

    __slots__ = ("inner",)

    def __init__(self, inner: Matcher) -> None:
        super().__init__("not", None)
        self.inner = inner

    def holds(self, actual: Any) -> bool:
        return not self.inner.holds(actual)

    def describe(self) -> str:
        return f"not ({self.inner.describe()})"


class Some(Matcher):
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
        return any_of(actual, self.inner.holds)

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
