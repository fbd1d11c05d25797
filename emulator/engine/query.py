"""Questions to the journal: which calls were like this, and how those that were not differ.

Conditions are those of a rule's `when`, compiled by the same code, so a call that a query finds is a call that such a
rule would have matched.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from msgspec import Struct

from ..api import METHODS
from ..call import texts_of
from ..calls import CALLS_BY_METHOD, METHODS_BY_CALL
from ..errors import Code, UsageError
from ..journal import Entry
from ..rules.conditions import Compiled
from ..rules.operators import Difference
from ..rules.subject import Subject

FIELDS = ("kind", "method", "rule", "code", "when", "unmatched")
MOST_SHOWN = 3
"""Calls that an assertion's text shows."""


class Query(Struct, frozen=True):
    """What calls are asked for; what is empty is not asked.

    `kind` is the fixture language's name of a call, `method` a path or its end, `rule` the name of what answered,
    `code` a status by name, `when` conditions; `unmatched` asks for calls that no rule matched. `said` is `when` as
    written.
    """

    kind: str = ""
    method: str = ""
    rule: str = ""
    code: str = ""
    when: Compiled | None = None
    unmatched: bool = False
    said: str = ""

    def fits(self, entry: Entry, scenario: Mapping[str, str]) -> bool:
        """Whether `entry` is one of the calls asked for; `scenario` are the session's states as they are now."""
        return not self._differing(entry) and not self._unlike(entry, scenario)

    def differences(self, entry: Entry, scenario: Mapping[str, str]) -> tuple[Difference, ...]:
        """What keeps `entry` from fitting; nothing if it fits."""
        return (*self._differing(entry), *self._unlike(entry, scenario))

    def text(self) -> str:
        """The question in a few words."""
        parts = [f"{name} {getattr(self, name)}" for name in ("kind", "method", "rule", "code") if getattr(self, name)]
        parts += [f"when {self.said}"] if self.when is not None else []
        parts += ["unmatched"] if self.unmatched else []
        return ", ".join(parts) or "any call"

    def _differing(self, entry: Entry) -> tuple[Difference, ...]:
        """Differences that are seen without a look into the request."""
        found = []
        if self.kind and entry.kind != self.kind and CALLS_BY_METHOD.get(entry.method) != self.kind:
            found.append(_other("kind", self.kind, entry.kind or CALLS_BY_METHOD.get(entry.method) or entry.method))
        if self.method and not _is_method(entry.method, self.method):
            found.append(_other("method", self.method, entry.method))
        if self.rule and entry.rule != self.rule:
            found.append(_other("rule", self.rule, entry.rule or "answered by no rule"))
        if self.code and entry.code != self.code:
            found.append(_other("code", self.code, entry.code or "still open"))
        if self.unmatched and not entry.unmatched:
            found.append(_other("unmatched", "that no rule matched", f"answered by {entry.rule or 'no rule'}"))
        return tuple(found)

    def _unlike(self, entry: Entry, scenario: Mapping[str, str]) -> tuple[Difference, ...]:
        if self.when is None:
            return ()
        subject = subject_of(entry, scenario)
        if subject is None:
            why = (
                f"{entry.method} with a request that can be read" if entry.method in CALLS_BY_METHOD else "such a call"
            )
            return (Difference("when", "", "a call that rules answer", f"it is not {why}"),)
        return tuple(difference for check in self.when.checks for difference in check.check(subject))


def compile_query(**fields: Any) -> Query:
    """The query of these fields (see `Query`); None and what is empty are not asked.

    `when` is a mapping or YAML text of conditions as in a rule. Raises UsageError that names the field and the remedy.
    """
    for name in fields:
        if name not in FIELDS:
            raise UsageError(f"{name}: no such question about calls; there are {', '.join(FIELDS)}")
    kind, code, when = fields.get("kind") or "", _code(fields.get("code")), fields.get("when")
    if kind and kind not in METHODS_BY_CALL:
        raise UsageError(f"kind: no such call: {kind}; there are {', '.join(METHODS_BY_CALL)}")
    compiled, said = None, ""
    if when is not None and when != "":
        compiled, said = _compiled(when)
        if kind and kind not in compiled.calls:
            raise UsageError(f"when: {kind} does not have what the conditions look at; they fit {_fitting(compiled)}")
    method, rule = fields.get("method") or "", fields.get("rule") or ""
    return Query(kind, method, rule, code, compiled, bool(fields.get("unmatched")), said)


def subject_of(entry: Entry, scenario: Mapping[str, str]) -> Subject | None:
    """The request of `entry` as rules see it; None for calls that rules don't answer, and for bytes that are none.

    Its credentials are masked, and the states those of `scenario`.
    """
    name = CALLS_BY_METHOD.get(entry.method)
    if name is None:
        return None
    try:
        message = METHODS[entry.method].input.FromString(entry.request)
    except Exception:  # what the call itself was refused for
        return None
    return Subject(name, message, entry.request, texts_of(entry.metadata), scenario)


def counted(
    entries: Iterable[Entry], query: Query, expected: int | str, scenario: Mapping[str, str] | None = None
) -> str:
    """The text of an assertion that failed: what was asked, how many calls fit, and the nearest of those that don't.

    `expected` is a number or in words: "at least 1".
    """
    calls = list(entries)
    told = [(entry, query.differences(entry, scenario or {})) for entry in calls]
    fitting = [entry for entry, differences in told if not differences]
    words = expected if isinstance(expected, str) else f"exactly {expected}"
    are = "fits" if len(fitting) == 1 else "fit"
    lines = [f"expected {words} of: {query.text()}", f"{len(fitting)} of {len(calls)} calls {are}"]
    if not calls:
        return f"{lines[0]}\nno call came"
    lines.extend(f"  ✓ {head(entry)}" for entry in fitting[:MOST_SHOWN])
    if len(fitting) > MOST_SHOWN:
        lines.append(f"  … and {len(fitting) - MOST_SHOWN} more")
    far = [(entry, differences) for entry, differences in reversed(told) if differences]
    for entry, differences in sorted(far, key=lambda pair: len(pair[1]))[:MOST_SHOWN]:
        lines.append(f"  ✗ {head(entry)}")
        lines.extend(f"      {difference.text()}" for difference in differences)
    return "\n".join(lines)


def head(entry: Entry) -> str:
    """A call in one line: its id, its method and what it is about."""
    about = entry.about
    return f"{entry.id} {CALLS_BY_METHOD.get(entry.method) or entry.method}" + (f' "{about}"' if about else "")


def _is_method(path: str, asked: str) -> bool:
    """Whether `asked` is `path`, or its end from a `/` or a `.` on."""
    return path == asked or path.endswith((f"/{asked}", f".{asked}"))


def _other(name: str, expected: str, actual: str) -> Difference:
    return Difference(name, "equals", expected, f"it is {actual}")


def _code(given: Any) -> str:
    if given is None or given == "":
        return ""
    name = str(getattr(given, "name", given))
    if name not in Code.__members__:
        raise UsageError(f"code: no such status: {name}; there are {', '.join(Code.__members__)}")
    return name


def _fitting(compiled: Compiled) -> str:
    return ", ".join(name for name in METHODS_BY_CALL if name in compiled.calls) or "no call"


def _compiled(when: Any) -> tuple[Compiled, str]:
    """`when` compiled, and as it was written, in a line."""
    from ..rules.conditions import compile_when
    from ..rules.decode import INVALID, decode
    from ..rules.document import parse
    from ..rules.inline import nodes_of
    from ..rules.model import When
    from ..rules.problems import Problems
    from ..rules.variables import substituted
    from .book import DESCRIPTORS

    problems, compiled, node = Problems("when"), Compiled(), None
    if isinstance(when, str):
        node, said = parse(when, "when", problems.mistakes, problems.warnings), " ".join(when.split())
        if node is None and not problems.mistakes:
            raise UsageError("when: there are no conditions in it; write some, as in question: {contains: привет}")
    elif isinstance(when, Mapping):
        try:
            node, said = nodes_of(dict(when)), json.dumps(dict(when), ensure_ascii=False, default=str)
        except (TypeError, ValueError) as failed:
            raise UsageError(f"when: {failed}") from None
    else:
        raise UsageError(f"when: {type(when).__name__} is neither a mapping of conditions nor YAML text")
    spec = decode(node, When, problems) if node is not None else INVALID
    if spec is not INVALID:
        spec = substituted(spec, {}, problems.at)
        compiled = compile_when(spec, DESCRIPTORS, problems.at)
    if problems.mistakes:
        several = isinstance(when, str) and "\n" in when.strip()
        told = [f"line {m.line}: {m.text}" if several and m.line else m.text for m in sorted(set(problems.mistakes))]
        raise UsageError(f"when: {'; '.join(told)}")
    if not compiled.calls & METHODS_BY_CALL.keys():
        raise UsageError("when: no call has everything that the conditions look at; ask in several questions")
    return compiled, said
