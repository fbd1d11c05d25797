"""Verification: what happened, held against what was expected.

What the verdict needs is counted as calls end, apart from the journal, so that nothing which the journal had to drop is
lost to it; only details may be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from msgspec import Struct

from ..calls import CALLS_BY_METHOD
from ..errors import UsageError
from ..journal import Entry, Journal
from ..rules.model import Expect
from .book import Book, Rule
from .choose import State
from .explain import short
from .query import head, subject_of
from .tally import MOST_DETAILS, Count, Tally, times, without_command

if TYPE_CHECKING:
    from xml.etree import ElementTree

    from ..operations import Operations

CHECKS = ("expect", "times", "unmatched", "unread", "unfetched")
"""What can be checked; `verify` tells what each asks."""

DEFAULT_CHECKS = ("expect", "times")
"""What is checked where nobody says what."""

MOST_LOOKED_AT = 200
"""Calls among which the nearest is looked for."""

_UNTOLD = "[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"  # compiled when first needed: that takes 3 ms

_HELD = {
    "times": "times: no call came to a rule whose times were used up",
    "unmatched": "unmatched: a rule answered every call",
    "unread": "unread: every stream was read to its end",
    "unfetched": "unfetched: a Get has told the end of every operation",
}


class Problem(Struct, frozen=True):
    """Something that is not as expected: which check found it, the rule, call or operation it is about (empty for
    several), and the whole of it in words.
    """

    check: str
    subject: str
    text: str


class Report(Struct, frozen=True):
    """The verdict: what is wrong, and what was held. `evicted` counts the calls that the journal has dropped."""

    problems: tuple[Problem, ...] = ()
    held: tuple[str, ...] = ()
    evicted: int = 0

    def text(self) -> str:
        """The verdict for people, a line or several for each problem."""
        lines = [times(len(self.problems), "problem") if self.problems else "everything is as expected"]
        for problem in self.problems:
            first, *more = problem.text.splitlines() or [""]
            lines.append(f"✗ {problem.check}: {first}")
            lines.extend(f"    {line}" for line in more)
        lines.extend(f"✓ {line}" for line in self.held)
        if self.evicted:
            lines.append(f"note: {self._note()}")
        return "\n".join(lines)

    def junit(self) -> str:
        """The verdict as JUnit XML: a test case for each problem and for each thing held."""
        from xml.etree import ElementTree as xml

        suite = xml.Element("testsuite", name="fm-emulator verify")
        suite.set("tests", str(len(self.problems) + len(self.held)))
        suite.set("failures", str(len(self.problems)))
        for name in ("errors", "skipped"):
            suite.set(name, "0")
        for problem in self.problems:
            case = _case(suite, problem.check, problem.subject or "more")
            first = (problem.text.splitlines() or [""])[0]
            failure = xml.SubElement(case, "failure", message=_sound(first), type=problem.check)
            failure.text = _sound(problem.text)
        for line in self.held:
            check = line.partition(":")[0]
            _case(suite, check if check in CHECKS else "expect", line)
        if self.evicted:
            xml.SubElement(suite, "system-out").text = self._note()
        return xml.tostring(suite, encoding="unicode") + "\n"

    def _note(self) -> str:
        were = "call was" if self.evicted == 1 else "calls were"
        return f"{self.evicted} {were} dropped from the journal; counts are whole, details of those may be missing"


def _case(suite: ElementTree.Element, check: str, name: str) -> ElementTree.Element:
    from xml.etree import ElementTree as xml

    return xml.SubElement(suite, "testcase", classname=f"verify.{check}", name=_sound(name))


def _sound(text: str) -> str:
    """`text` without what XML can't hold."""
    return re.sub(_UNTOLD, "\N{REPLACEMENT CHARACTER}", text)


def verify(
    book: Book, state: State, tally: Tally, operations: Operations, journal: Journal, checks: Iterable[str]
) -> Report:
    """Hold what happened against what was expected.

    - `expect`: rules were chosen as often as their `expect` says;
    - `times`: no call came to a rule that had answered all its `times`, and found no other;
    - `unmatched`: a rule answered every call that rules are asked about;
    - `unread`: no client left a completion's stream before its end, and none is open;
    - `unfetched`: a Get has told the end of every operation that was not cancelled.

    Raises UsageError for a check that there is not.
    """
    wanted_checks = list(dict.fromkeys(checks))
    for check in wanted_checks:
        if check not in CHECKS:
            raise UsageError(f"checks: no such check: {check}; there are {', '.join(CHECKS)}")
    problems: list[Problem] = []
    held: list[str] = []
    told: dict[str, Callable[[], list[Problem]]] = {
        "times": lambda: _listed("times", tally.spent, "that came to rules whose times were used up"),
        "unmatched": lambda: _unmatched(book, state, tally, journal),
        "unread": lambda: _unread(tally, journal),
        "unfetched": lambda: _unfetched(operations, journal),
    }
    for check in CHECKS:
        if check not in wanted_checks:
            continue
        if check == "expect":
            missed = {problem.subject: problem for problem in unmet(book, state)}
            for rule in book.rules:
                if rule.label in missed and _misses(rule, state):
                    problems.append(_explained(missed[rule.label], rule, state, journal))
                elif rule.expect is not None:
                    held.append(_chosen(rule, state))
            continue
        found = told[check]()
        problems.extend(found)
        if not found:
            held.append(_HELD[check])
    return Report(tuple(problems), tuple(held), journal.evicted)


# -- expect


def wanted(expect: Expect) -> str:
    """How often a rule is expected to be chosen, in words: "at least 1", "exactly 2", "1 to 3"."""
    low, high = _bounds(expect)
    if high is None:
        return f"at least {low}"
    if low == high:
        return f"exactly {low}"
    return f"{low} to {high}" if low else f"at most {high}"


def unmet(book: Book, state: State) -> list[Problem]:
    """A problem for each rule that was chosen less or more often than it expects."""
    return [Problem("expect", rule.label, _chosen(rule, state)) for rule in book.rules if _misses(rule, state)]


def _bounds(expect: Expect) -> tuple[int, int | None]:
    if expect.exactly is not None:
        return expect.exactly, expect.exactly
    return expect.at_least or 0, expect.at_most


def _misses(rule: Rule, state: State) -> bool:
    if rule.expect is None:
        return False
    low, high = _bounds(rule.expect)
    n = state.chosen.get(rule.identity, 0)
    return n < low or (high is not None and n > high)


def _chosen(rule: Rule, state: State) -> str:
    assert rule.expect is not None
    n = state.chosen.get(rule.identity, 0)
    return f"{rule.label}: chosen {times(n, 'time')}, expected {wanted(rule.expect)}"


def _explained(problem: Problem, rule: Rule, state: State, journal: Journal) -> Problem:
    """The same with the nearest call's differences, if the rule was never chosen."""
    if state.chosen.get(rule.identity, 0):
        return problem
    return Problem(problem.check, problem.subject, f"{problem.text}\n{_nearest(rule, state, journal)}")


def _nearest(rule: Rule, state: State, journal: Journal) -> str:
    """What kept the nearest of the last calls from `rule`: that of which fewest conditions fail, unmatched before
    answered and later before earlier.
    """
    best: tuple[tuple[int, int, bool], Entry, list[str]] | None = None
    for entry in reversed(tuple(journal)[-MOST_LOOKED_AT:]):
        if CALLS_BY_METHOD.get(entry.method) not in rule.calls:
            continue
        subject = subject_of(entry, state.scenario)
        if subject is None:
            continue
        found = [differences for check in rule.when.checks if (differences := check.check(subject))]
        texts = [difference.text() for differences in found for difference in differences]
        rank = (len(found), len(texts), not entry.unmatched)
        if best is None or rank < best[0]:
            best = rank, entry, texts
    if best is None:
        return f"no {' or '.join(sorted(rule.calls))} came"
    _, entry, texts = best
    if texts:
        return f"the nearest call, {head(entry)}, differs: {'; '.join(texts)}"
    what = f"{entry.rule} answered it" if entry.rule else f"it ended with {entry.code or 'nothing so far'}"
    return f"the nearest call, {head(entry)}, meets the conditions, but {what}"


# -- calls


def _listed(check: str, count: Count, what: str) -> list[Problem]:
    problems = [Problem(check, each.id, f"{each.head}: {each.text}") for each in count.details]
    return problems + _rest(check, count, what)


def _rest(check: str, count: Count, what: str) -> list[Problem]:
    more = count.n - len(count.details)
    return [Problem(check, "", f"and {times(more, 'more call', 'more calls')} {what}")] if more > 0 else []


def _unmatched(book: Book, state: State, tally: Tally, journal: Journal) -> list[Problem]:
    """Those refused under strictness were told why at the time; of the others it is told as rules and counters are
    now.
    """
    problems = []
    for each in tally.unmatched.details:
        text = each.text
        entry = journal.get(each.id) if not text else None
        subject = subject_of(entry, state.scenario) if entry is not None and entry.unmatched else None
        if subject is not None:
            text = without_command(short(book, state, subject, each.id))
        problems.append(Problem("unmatched", each.id, f"{each.head}: {text or 'no rule matched this call'}"))
    return problems + _rest("unmatched", tally.unmatched, "that no rule matched")


def _unread(tally: Tally, journal: Journal) -> list[Problem]:
    problems = _listed("unread", tally.unread, "whose client left before the end")
    for entry in journal:
        if entry.code is None and entry.kind == "completion" and entry.streamed:
            text = f"{head(entry)}: still open, {times(entry.sent, 'message')} sent so far"
            problems.append(Problem("unread", entry.id, text))
    return problems


# -- operations


def _unfetched(operations: Operations, journal: Journal) -> list[Problem]:
    left = [record for record in operations if not record.fetched and not _cancelled(record.ended)]
    if not left:
        return []
    begun = {entry.operation_id: head(entry) for entry in journal if entry.kind and entry.operation_id}
    problems = []
    for record in left[:MOST_DETAILS]:
        what = begun.get(record.id) or record.call
        text = f"{record.id}, begun by {what} (rule: {record.rule}): no Get has told its end"
        problems.append(Problem("unfetched", record.id, text))
    more = len(left) - len(problems)
    if more:
        problems.append(Problem("unfetched", "", f"and {times(more, 'more operation')} whose end no Get has told"))
    return problems


def _cancelled(ended: object) -> bool:
    return getattr(ended, "status", None) == "CANCELED"


assert set(_HELD) | {"expect"} == set(CHECKS)
