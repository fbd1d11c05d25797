"""`when`: from what a rule asks to what differs.

Each condition pairs a way to read the subject with a matcher. A condition's check gives its differences, and no
difference is a match, so the code that decides is the code that explains.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from msgspec import Struct

from ..calls import ALL_CALLS, CONVERSATIONS, TEXTS, common
from ..masking import SECRETS, mask
from .matcher import Overrun, any_of
from .model import Condition, When, given
from .operators import Difference, Matcher, compile_condition
from .paths import check as check_path
from .subject import Subject

_PICTURES = frozenset({"generate_image"})
_TEXTUAL = CONVERSATIONS | {"completion_batch"}
_FEW_SHOT = frozenset({"few_shot_classify"})

FIELDS: Mapping[str, tuple[str, frozenset[str]]] = {
    "question": ("text", CONVERSATIONS),
    "message": ("text", CONVERSATIONS),
    "any_message": ("texts", CONVERSATIONS),
    "system": ("text", CONVERSATIONS),
    "turn": ("number", CONVERSATIONS),
    "attempt": ("number", ALL_CALLS),
    "model": ("model", ALL_CALLS),
    "folder": ("text", ALL_CALLS),
    "tools": ("list", CONVERSATIONS),
    "tool_choice": ("text", CONVERSATIONS),
    "response_format": ("text", _TEXTUAL),
    "stream": ("boolean", _TEXTUAL),
    "prompt": ("text", _PICTURES),
    "weights": ("list", _PICTURES),
    "seed": ("number", _PICTURES),
    "ratio": ("text", _PICTURES),
    "dataset": ("text", frozenset({"batch_row", "completion_batch"})),
    "row": ("number", frozenset({"batch_row"})),
    "text": ("text", TEXTS),
    "labels": ("list", _FEW_SHOT),
    "task": ("text", _FEW_SHOT),
    "dim": ("number", frozenset({"text_embedding"})),
}
"""Conditions that compare one value: its kind, and the calls that have it."""

Report = Callable[[tuple[str | int, ...], str], None]
Descriptors = Mapping[str, Any]


class Clause(Struct, frozen=True):
    """One condition: where it stands, how the subject is read, what must hold."""

    name: str
    read: Callable[[Subject], Any]
    matcher: Matcher

    def holds(self, subject: Subject) -> bool:
        """Whether it holds. Raises Overrun for a pattern that takes too long."""
        return self.matcher.holds(self.read(subject))

    def check(self, subject: Subject) -> tuple[Difference, ...]:
        """What differs; nothing if it holds."""
        found = self.matcher.check(self.read(subject))
        for difference in found:
            difference.path = f"{self.name}.{difference.path}" if difference.path else self.name
        return found


class Secret(Clause, frozen=True):
    """A condition on a credential: what differs is told, and neither what was shown nor what was wanted."""

    def check(self, subject: Subject) -> tuple[Difference, ...]:
        value = self.read(subject)
        if not self.matcher.check(value):
            return ()
        actual = "it is absent" if value is None else f"it is {mask(value.raw)}"
        return (Difference(self.name, self.matcher.operator, "", f"{self.matcher.operator} failed, {actual}"),)


class Either(Struct, frozen=True):
    """`any`: one of several lists of conditions."""

    name: str
    among: tuple[tuple[Check, ...], ...]

    def holds(self, subject: Subject) -> bool:
        """Whether one of the alternatives holds. Raises Overrun."""
        return any_of(self.among, lambda checks: all_hold(checks, subject))

    def check(self, subject: Subject) -> tuple[Difference, ...]:
        """The differences of the alternative that came nearest."""
        nearest: tuple[Difference, ...] | None = None
        for checks in self.among:
            found = tuple(d for check in checks for d in check.check(subject))
            if not found:
                return ()
            if nearest is None or len(found) < len(nearest):
                nearest = found
        return nearest or ()


class Neither(Struct, frozen=True):
    """`not`: conditions that must not all hold."""

    name: str
    checks: tuple[Check, ...]

    def holds(self, subject: Subject) -> bool:
        """Whether one of the conditions does not hold. Raises Overrun."""
        return not all_hold(self.checks, subject)

    def check(self, subject: Subject) -> tuple[Difference, ...]:
        """One difference if all of the conditions hold, or if that is not known."""
        try:
            if self.holds(subject):
                return ()
        except Overrun as overrun:
            return (Difference(self.name, "", "", str(overrun)),)
        return (Difference(self.name, "not", "that these don't all hold", "they do"),)


Check = Clause | Either | Neither


def all_hold(checks: tuple[Check, ...], subject: Subject) -> bool:
    """Whether a request passes all of `checks`; the decision alone, without what differs. Raises Overrun."""
    for check in checks:  # noqa: SIM110 - all() costs three times as much
        if not check.holds(subject):
            return False
    return True


class Compiled(Struct, frozen=True):
    """A `when`: its checks, the calls that can meet it, and whether it looks at tool results."""

    checks: tuple[Check, ...] = ()
    calls: frozenset[str] = ALL_CALLS
    looks_at_tool_results: bool = False


def compile_when(when: When | None, descriptors: Descriptors, report: Report, prefix: str = "") -> Compiled:
    """Compile `when`; `descriptors` are the request descriptors by call, against which paths are checked.

    `report(path below when, text)` is told every mistake.
    """
    if when is None:
        return Compiled()
    checks: list[Check] = []
    calls = ALL_CALLS
    said = given(when)
    for name in [name for name in FIELDS if name in said]:
        condition, (kind, fits) = said[name], FIELDS[name]
        calls = common(calls, fits)
        if name == "response_format":
            _check_formats(condition, _below(report, name))
        matcher = compile_condition(condition, kind, _below(report, name))  # type: ignore[arg-type]
        if matcher is not None:
            checks.append(Clause(prefix + name, _reader(name, fits), matcher))
    for name, entries in _mapped(when):
        for key, condition in entries.items():
            clause, fits = _mapped_clause(name, key, condition, descriptors, report, prefix)
            calls = common(calls, fits)
            if clause is not None:
                checks.append(clause)
    looks = when.tool_results is not None or any("tool_result" in path for path in when.request or ())
    for i, inner in enumerate(when.all or ()):
        compiled = compile_when(inner, descriptors, _below(report, "all", i), prefix)
        checks.extend(compiled.checks)
        calls, looks = common(calls, compiled.calls), looks or compiled.looks_at_tool_results
    if when.any is not None:
        among = [compile_when(w, descriptors, _below(report, "any", i), prefix) for i, w in enumerate(when.any)]
        if not among:
            report(("any",), "an empty list can never match; list conditions or leave it out")
        checks.append(Either(prefix + "any", tuple(c.checks for c in among)))
        calls &= frozenset().union(*(c.calls for c in among)) if among else calls
        looks = looks or any(c.looks_at_tool_results for c in among)
    if when.not_ is not None:
        inner_not = compile_when(when.not_, descriptors, _below(report, "not"), prefix + "not ")
        checks.append(Neither(prefix + "not", inner_not.checks))
        calls = common(calls, inner_not.calls)
        looks = looks or inner_not.looks_at_tool_results
    return Compiled(tuple(checks), calls, looks)


FORMATS = ("json_object", "json_schema")


def _check_formats(condition: Condition, report: Report) -> None:
    """A plain value that no request can have is a slip: `json` is an SDK's word, not the API's."""
    for value in [condition] if isinstance(condition, str) else condition if isinstance(condition, list) else ():
        if value not in FORMATS:
            report(
                (), f"no such format: {value[:60]}; there are {', '.join(FORMATS)}, and present: false for plain text"
            )


def _mapped(when: When) -> list[tuple[str, dict[str, Condition]]]:
    names = ("tool_results", "options", "metadata", "request", "state")
    return [(name, value) for name in names if (value := getattr(when, name)) is not None]


def _mapped_clause(
    name: str, key: str, condition: Condition, descriptors: Descriptors, report: Report, prefix: str
) -> tuple[Clause | None, frozenset[str]]:
    below = _below(report, name, key)
    read: Callable[[Subject], Any]
    fits, kind = ALL_CALLS, "text"
    if name == "tool_results":
        fits, kind = CONVERSATIONS, "texts"
        read = _results_reader(key)
    elif name == "metadata":
        if key != key.lower():
            below((), f"metadata keys are in lower case on the wire; write {key.lower()}")
        read = lambda subject: subject.metadata(key)  # noqa: E731
    elif name == "state":
        read = lambda subject: subject.state(key)  # noqa: E731
    else:
        steps = tuple(key.split("."))
        kind = "value"
        fits, wrong = _fitting(name, key, descriptors)
        if wrong is not None:
            below((), wrong)
        read = (lambda subject: subject.option(steps)) if name == "options" else (lambda subject: subject.path(steps))
    matcher = compile_condition(condition, kind, below)  # type: ignore[arg-type]
    clause = Secret if name == "metadata" and key in SECRETS else Clause
    return (None if matcher is None else clause(f"{prefix}{name}.{key}", read, matcher)), fits


def _fitting(name: str, key: str, descriptors: Descriptors) -> tuple[frozenset[str], str | None]:
    """The calls whose requests have that path, and what is wrong if none has."""
    fits, wrong = set(), None
    for call, descriptor in descriptors.items():
        path = key
        if name == "options":
            path = ("generation_options." if call == "generate_image" else "completion_options.") + key
        problem = check_path(path, descriptor)
        if problem is None:
            fits.add(call)
        wrong = wrong or problem
    return (frozenset(fits), None) if fits else (ALL_CALLS, wrong)


def _results_reader(key: str) -> Callable[[Subject], Any]:
    def results(subject: Subject) -> tuple[Any, ...]:
        if subject.call not in CONVERSATIONS:
            return ()
        if key != "*":
            return subject.tool_results.get(key, ())
        return tuple(text for texts in subject.tool_results.values() for text in texts)

    return results


@cache
def _reader(name: str, fits: frozenset[str]) -> Callable[[Subject], Any]:
    # An `any` may speak of several calls; what a call does not have is absent.
    return lambda subject: getattr(subject, name) if subject.call in fits else None


def _below(report: Report, *steps: str | int) -> Report:
    return lambda path, text: report((*steps, *path), text)


def names_of(when: When) -> list[str]:
    """The conditions that `when` sets, by their names in fixtures."""
    names = zip(When.__struct_fields__, When.__struct_encode_fields__, strict=True)
    return [written for name, written in names if getattr(when, name) is not None]
