"""Rules that can never be reached, since one that is tried before them takes everything they would.

Only plain subsumption is told: every condition of the earlier rule follows from one of the later rule's on the same
field. Rules that retire (`times`), look at states, or pass after their last reply are left out, for they let others by.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import Mistake
from ..rules import model
from ..rules.conditions import FIELDS
from ..rules.implication import implies
from .book import Book, Rule

MOST_RULES = 1000
"""Every pair is looked at; beyond this many rules that takes too long, and nothing is said."""

_MAPPED = ("tool_results", "options", "metadata", "request", "state")
_NESTED = ("all", "any", "not_")


def unreachable(book: Book) -> Iterator[Mistake]:
    """A warning for each rule that is never reached, naming the one before it."""
    if len(book.rules) > MOST_RULES:
        return
    before: list[tuple[Rule, dict[str, Any]]] = []
    for rule in book.rules:
        mine = _conditions(rule.conditions)
        taker = next((first for first, theirs in before if _takes(first, theirs, rule, mine)), None)
        if taker is not None:
            yield rule.mistake(f"never reached: {taker.label} comes before and takes everything it would")
        if mine is not None and _lasts(rule):
            before.append((rule, mine))


def warnings(book: Book) -> list[Mistake]:
    """Everything that is valid and hardly meant, in file and line order."""
    return sorted({*book.warnings, *unreachable(book)})


def _lasts(rule: Rule) -> bool:
    """Whether a rule goes on answering whatever it matches."""
    looks_at_state = rule.conditions is not None and rule.conditions.state is not None
    passes = bool(rule.sequence) and rule.after_last == "pass"
    only_before_results = any(r.calls_tools for r in rule.recipes) and not rule.when.looks_at_tool_results
    return rule.times is None and not looks_at_state and not passes and not only_before_results


def _takes(first: Rule, theirs: dict[str, Any], rule: Rule, mine: dict[str, Any] | None) -> bool:
    if not rule.calls <= first.calls or _comes_first_to_rows(rule, first):
        return False
    return all(
        mine is not None and name in mine and implies(mine[name], wanted, _kind(name))
        for name, wanted in theirs.items()
    )


def _comes_first_to_rows(rule: Rule, before: Rule) -> bool:
    """Whether rows of a batch meet `rule` first, for it names them, though it stands after `before`."""
    return rule.for_rows and not before.for_rows and rule.priority == before.priority


def _kind(name: str) -> str:
    if name in FIELDS:
        return FIELDS[name][0]
    return {"tool_results": "texts", "options": "value", "request": "value"}.get(name.partition(".")[0], "text")


def _conditions(when: model.When | None) -> dict[str, Any] | None:
    """Conditions by field, `metadata.x` and the like each on its own; None where they nest, for which nothing is
    said.
    """
    if when is None:
        return {}
    if any(getattr(when, name) is not None for name in _NESTED):
        return None
    out: dict[str, Any] = {}
    for name in model.When.__struct_fields__:
        value = getattr(when, name)
        if value is None:
            continue
        if name in _MAPPED:
            out.update({f"{name}.{key}": condition for key, condition in value.items()})
        else:
            out[name] = value
    return out
