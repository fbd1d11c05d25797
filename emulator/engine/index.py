"""`Index`: which of many rules can still answer a request, found without trying each.

Every rule is filed under what its conditions need (see `rules.needs`): a value of a field, a model, or literals in a
text, all of which are looked for in one pass of an Aho-Corasick automaton. Rules of which no need is known are always
among those to try, and so is every rule where a text is too long to look through. What is left is tried one by one, in
order: the index spares work and decides nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, AnyStr

from ..rules import literals
from ..rules.lazy import cached_property
from ..rules.narrow import needle
from ..rules.needs import LITERAL, Needs, looked_up, needs_of, rarest
from ..rules.subject import Subject
from ..rules.text import Text

if TYPE_CHECKING:
    from .book import Rule

FEWEST = 16
"""Rules that are worth an index; fewer are tried one by one."""

FEW_LITERALS = 24
"""As many are looked for one by one in the time that the automaton takes."""

LONGEST = 32 * 1024
"""Characters of a text that is looked through; in a longer one every literal is taken to be there."""

_REMEMBERED = 512
_LONGEST_REMEMBERED = 2048


class Index:
    """The index of `rules`, which are tried in this order. `limited` tells whether `times` limits any of them."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = tuple(rules)
        self.limited = any(rule.times is not None for rule in self._rules)
        self._always: list[int] = []
        self._slots: tuple[_Slot, ...] = ()
        self._others: tuple[Rule, ...] = ()
        self._beyond: dict[str, int] | None = None
        if len(rules) >= FEWEST:
            self._file([tuple(needs_of(rule.when.checks)) for rule in self._rules])

    def _file(self, told: Sequence[tuple[Needs, ...]]) -> None:
        """File each rule under the need that it shares with the fewest."""
        shared = Counter(key for needs in told for key in {key for each in needs for key in _keys(each)})
        slots: dict[tuple[str, str], _Slot] = {}
        for position, several in enumerate(told):
            if not several:
                self._always.append(position)
                continue
            several = tuple([needs for needs in several if not _beyond(needs)]) or several
            least = min(sum(shared[key] for key in _keys(needs)) for needs in several)
            needs = rarest(needs for needs in several if sum(shared[key] for key in _keys(needs)) == least)
            for need in needs:
                slot = slots.setdefault((need.name, need.way), _Slot(need.read, need.way, _is_beyond(need.name)))
                slot.file(need.among, position)
            if self._beyond is None and _beyond(needs):
                self._beyond = {rule.identity: n for n, rule in enumerate(self._rules[: position + 1])}
        self._slots = tuple(slots.values())
        self._others = tuple(self._rules[position] for position in self._always)

    def among(self, subject: Subject) -> Iterable[Rule]:
        """The rules that may match `subject`, the first to be tried first: all that do, and hardly any other."""
        if not self._slots:
            return self._rules
        met: list[int] = []
        for slot in self._slots:
            met += slot.met(subject)
        if not met:
            return self._others
        if len(met) == 1 and not self._always:
            return (self._rules[met[0]],)
        return map(self._rules.__getitem__, sorted({*met, *self._always}))

    def looks_beyond(self, rule: Rule | None) -> bool:
        """Whether a rule that is tried before `rule`, or any, was found or left out by more than the request; what was
        looked at for that is not told to the subject, since rules that come later don't matter.
        """
        return self._beyond is not None and (rule is None or rule.identity not in self._beyond)


def _is_beyond(name: str) -> bool:
    """Whether what the condition called so looks at may differ between two calls of the same request."""
    return name == "attempt" or name.startswith(("metadata.", "state."))


def _beyond(needs: Needs) -> bool:
    return any(_is_beyond(need.name) for need in needs)


def _keys(needs: Needs) -> Iterator[tuple[str, str, Hashable]]:
    return ((need.name, need.way, one) for need in needs for one in need.among)


class _Slot:
    """The needs of one condition that are looked up in one way."""

    def __init__(self, read: Callable[[Subject], Any], way: str, beyond: bool) -> None:
        self._read, self._way, self._beyond = read, way, beyond
        self._filed: dict[Hashable, list[int]] = {}
        self._remembered: dict[str, tuple[int, ...]] = {}

    def file(self, among: Iterable[Hashable], position: int) -> None:
        for one in among:
            self._filed.setdefault(one, []).append(position)

    def met(self, subject: Subject) -> Iterable[int]:
        """The positions of the rules whose need is met."""
        before = subject.beyond
        value = self._read(subject)
        if self._beyond:
            subject.beyond = before
        if self._way == LITERAL:
            if isinstance(value, Text):
                return self._in(value)
            return chain.from_iterable(map(self._in, value)) if isinstance(value, tuple) else ()
        if isinstance(value, Text):
            return self._filed.get(value.raw, ())
        met: list[int] = []
        for one in looked_up(self._way, value):
            met += self._filed.get(one, ())
        return met

    def _in(self, value: Any) -> Iterable[int]:
        if not isinstance(value, Text):
            return ()
        raw = value.raw
        if len(raw) > LONGEST:
            return chain.from_iterable(self._filed.values())
        if len(raw) > _LONGEST_REMEMBERED:
            return self._found(value)
        found = self._remembered.get(raw)
        if found is None:
            if len(self._remembered) >= _REMEMBERED:  # rows are looked through in threads, too
                self._remembered.clear()
            found = self._remembered[raw] = self._found(value)
        return found

    def _found(self, text: Text) -> tuple[int, ...]:
        if text.narrow is None or (text.has_symbols and not self._all_narrow):
            return self._find(literals.searched(text.folded))
        return self._find_narrow(text.evened)  # what `searched` replaces is not narrow

    @cached_property
    def _all_narrow(self) -> bool:
        return all(needle(str(literal)) is not None for literal in self._filed)

    @cached_property
    def _find(self) -> Callable[[str], tuple[int, ...]]:
        """What finds the positions of the literals that stand in a text in the form that is searched."""
        wanted = {str(literal): positions for literal, positions in self._filed.items()}
        if len(wanted) <= FEW_LITERALS:
            return partial(_one_by_one, wanted)
        from ahocorasick_rs import AhoCorasick  # needed by many rules only

        automaton = AhoCorasick(list(wanted))
        return partial(_at_once, automaton.find_matches_as_indexes, list(wanted.values()))

    @cached_property
    def _find_narrow(self) -> Callable[[bytes], tuple[int, ...]]:
        """The same in a narrow text, where only narrow literals can be."""
        filed = ((needle(str(literal)), positions) for literal, positions in self._filed.items())
        wanted = {literal: among for literal, among in filed if literal is not None}
        if len(wanted) <= FEW_LITERALS:
            return partial(_one_by_one, wanted)
        from ahocorasick_rs import BytesAhoCorasick

        automaton = BytesAhoCorasick(list(wanted))
        return partial(_at_once, automaton.find_matches_as_indexes, list(wanted.values()))


def _one_by_one(wanted: Mapping[AnyStr, list[int]], text: AnyStr) -> tuple[int, ...]:
    return tuple([p for literal, positions in wanted.items() if literal in text for p in positions])


def _at_once(find: Any, positions: list[list[int]], text: str | bytes) -> tuple[int, ...]:
    hits = find(text, overlapping=True)
    return tuple([p for i in {hit[0] for hit in hits} for p in positions[i]]) if hits else ()
