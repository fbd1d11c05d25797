"""What a rule's conditions need to hold: a few values or literals, one of which a request must have.

A need is necessary, not sufficient: the rule is still held against the request, so an index over needs can only spare
work, never change what is chosen. A condition of which nothing can be told needs nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from msgspec import Struct

from . import literals
from .comparisons import AllOf, Contains, Equals, GlobText, Matches, Member, ModelIs, Word
from .conditions import Check, Clause, Either
from .matcher import All, Any_, Matcher, Some
from .model_uri import Model
from .subject import Subject
from .text import Text

VALUE, LITERAL, MODEL, MEMBER = "value", "literal", "model", "member"
"""How a need is looked up: the value itself, a literal in its text, a model's name or URI, a member of a list."""


class Need(Struct, frozen=True):
    """`read(subject)`, which all conditions called `name` have in common, must have one of `among`, by the `way`."""

    name: str
    read: Callable[[Subject], Any]
    way: str
    among: frozenset[Hashable]

    @property
    def rarity(self) -> float:
        """How rarely it is met, for a choice between several: a guess by the length of what must be there."""
        if self.way == LITERAL:
            return min(len(literal) for literal in self.among)  # type: ignore[arg-type]
        if self.way == VALUE:
            texts = [value for value in self.among if isinstance(value, str)]
            return 50 if texts and self.name in _FREE else 2
        return 2


_FREE = frozenset({"question", "message", "any_message", "system", "prompt", "text", "task"})
"""Conditions on what people write; of others, requests often have the same value."""

Needs = tuple[Need, ...]
"""Needs of which one must be met."""


def needs_of(checks: Iterable[Check]) -> Iterator[Needs]:
    """What a request needs to pass all of `checks`: each of the needs that are told, and perhaps others."""
    for check in checks:
        if isinstance(check, Clause):
            yield from _of_matcher(check, check.matcher)
        elif isinstance(check, Either):
            yield from _one_of([needs_of(checks) for checks in check.among])


def rarest(several: Iterable[Needs]) -> Needs:
    """Of several needs the one that is probably met most rarely; empty if there is none."""
    return max(several, key=lambda needs: min(need.rarity for need in needs), default=())


def _of_matcher(clause: Clause, matcher: Matcher) -> Iterator[Needs]:
    if isinstance(matcher, Some):
        yield from _of_matcher(clause, matcher.inner)
    elif isinstance(matcher, All):
        for inner in matcher.among:
            yield from _of_matcher(clause, inner)
    elif isinstance(matcher, Any_):
        yield from _one_of([_of_matcher(clause, inner) for inner in matcher.among])
    elif isinstance(matcher, Matches) and len(matcher.sources) == 1:
        for among in literals.of_pattern(matcher.sources[0]):
            yield (Need(clause.name, clause.read, LITERAL, among),)
    else:
        way, wanted = _asked(matcher)
        if wanted:
            yield (Need(clause.name, clause.read, way, wanted),)


def _asked(matcher: Matcher) -> tuple[str, frozenset[Hashable] | None]:
    if type(matcher) is Equals:
        return VALUE, _values(matcher)
    if isinstance(matcher, Contains):
        return LITERAL, _union([literals.of_contains(needle) for needle in matcher.needles])
    if isinstance(matcher, Word):
        return LITERAL, _union([literals.of_word(needle) for needle in matcher.needles])
    if isinstance(matcher, GlobText):
        return LITERAL, _union([literals.of_glob(source) for source in matcher.sources])
    if isinstance(matcher, Matches):
        return LITERAL, _union([literals.rarest(literals.of_pattern(source)) for source in matcher.sources])
    if isinstance(matcher, ModelIs):
        exact = [pattern.target for pattern in matcher.patterns if pattern.exact]
        return MODEL, frozenset(exact) if len(exact) == len(matcher.patterns) else None
    if isinstance(matcher, AllOf) and matcher.among:
        return MEMBER, _values(matcher.among[0])
    if isinstance(matcher, Member) and type(matcher.inner) is Equals:
        return MEMBER, _values(matcher.inner)
    return VALUE, None


def _values(matcher: Equals) -> frozenset[Hashable]:
    return frozenset((*matcher.texts, *matcher.numbers, *(_boolean(b) for b in matcher.booleans)))


def looked_up(way: str, value: Any) -> Sequence[Hashable]:
    """What of a value read from a request is compared with the needs that are looked up this way, but for literals."""
    if way == MODEL:
        return (value.label.raw, value.full.raw) if isinstance(value, Model) else ()
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return () if way == MEMBER else (_plain(value),)


def _plain(value: Any) -> Hashable:
    if isinstance(value, Text):
        return value.raw
    return _boolean(value) if isinstance(value, bool) else value


def _boolean(value: bool) -> Hashable:
    return (value,)  # True is 1 to a dictionary


def _one_of(several: Sequence[Iterable[Needs]]) -> Iterator[Needs]:
    among = [rarest(needs) for needs in several]
    if among and all(among):
        yield tuple(need for needs in among for need in needs)


def _union(several: Sequence[literals.Literals | None]) -> frozenset[Hashable] | None:
    return frozenset().union(*(one for one in several if one)) if all(several) else None
