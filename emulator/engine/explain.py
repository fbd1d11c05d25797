"""Why a call was answered as it was: every rule's verdict, the nearest of those that lost, and a rule that would match.

The short form goes into a status and stays within a few hundred characters; the story is for people and the journal.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from ..calls import CHATS, CONVERSATIONS, TEXTS
from ..rules.operators import Difference
from ..rules.subject import Subject
from .book import Book, Rule
from .choose import State, differences

MOST_PASTED = 100
MOST_RULES = 10
"""Rules whose verdicts a story tells; of more it says how many there are."""


class Verdict(Struct, frozen=True):
    """What kept a rule from answering; nothing if it would. `share` is the part of its conditions that hold."""

    rule: Rule
    differences: tuple[Difference, ...]
    share: float


def verdicts(book: Book, state: State, subject: Subject) -> list[Verdict]:
    """Every rule that can answer this call, in the order they are tried."""
    out = []
    for rule in book.by_call[subject.call]:
        found = differences(rule, state, subject)
        failed = sum(1 for check in rule.when.checks if check.check(subject))
        share = 1 - failed / len(rule.when.checks) if rule.when.checks else 1.0
        out.append(Verdict(rule, found, share))
    return out


def nearest(book: Book, state: State, subject: Subject) -> list[Verdict]:
    """The rules that lost, the nearest first: by the share of conditions that hold, then by how few fail."""
    return _nearest_of(verdicts(book, state, subject))


def _nearest_of(tried: list[Verdict]) -> list[Verdict]:
    return sorted((v for v in tried if v.differences), key=lambda v: (-v.share, len(v.differences)))


def short(book: Book, state: State, subject: Subject, entry_id: str) -> str:
    """What a status says of a call that no rule matched."""
    what = f"no rule matches this {subject.call}"
    found = nearest(book, state, subject)
    tells = f"`fm-emulator explain {entry_id}` tells all"
    if not found:
        n = len(book.rules)
        others = (
            "" if not n else f" (the {n} rule{'s' if n > 1 else ''} there {'are' if n > 1 else 'is'} for other calls)"
        )
        return f"{what}: there is no rule for it{others}; {tells}"
    best = found[0]
    told = "; ".join(d.text() for d in best.differences[:2])
    more = len(best.differences) - 2
    told += f"; and {more} more" if more > 0 else ""
    return f"{what}; the nearest is {best.rule.label}: {told}; {tells}"


def story(book: Book, state: State, subject: Subject, limit: int = MOST_RULES) -> str:
    """The whole account: the request, then each rule with a tick or a cross for every condition."""
    lines = [_request_line(subject)]
    tried = verdicts(book, state, subject)
    winner = next((verdict for verdict in tried if not verdict.differences), None)
    shown = _nearest_of(tried)[:limit]
    if winner is not None:
        lines.append(f"✓ {winner.rule.label} answers")
        order = {verdict.rule.identity: n for n, verdict in enumerate(tried)}
        later = order[winner.rule.identity]
        shown = [verdict for verdict in _nearest_of(tried) if order[verdict.rule.identity] < later][:limit]
        lines.extend(_check_lines(winner, subject))
    else:
        lines.append("no rule matches" if tried else f"there is no rule for {subject.call}")
    for verdict in shown:
        lines.append(f"✗ {verdict.rule.label}")
        lines.extend(_check_lines(verdict, subject))
    hidden = len([v for v in tried if v.differences]) - len(shown)
    if hidden > 0 and winner is None:
        lines.append(f"… and {hidden} more that are further off")
    return "\n".join(lines)


def _check_lines(verdict: Verdict, subject: Subject) -> list[str]:
    lines: list[str] = []
    for check in verdict.rule.when.checks:
        found = check.check(subject)
        lines.extend(f"    ✗ {difference.text()}" for difference in found)
        if not found:
            lines.append(f"    ✓ {check.name}")
    lines.extend(f"    ✗ {d.text()}" for d in verdict.differences if not d.path)
    return lines


def _request_line(subject: Subject) -> str:
    if subject.call in CONVERSATIONS:
        about = f"question {_quoted(subject.question)}, model {subject.model.name}"
    elif subject.call == "generate_image":
        about = f"prompt {_quoted(subject.prompt)}"
    elif subject.call in TEXTS:
        about = f"text {_quoted(subject.text)}, model {subject.model.name}"
    else:
        about = f"dataset {_quoted(subject.dataset)}, model {subject.model.name}"
    return f"{subject.call}: {about}"


def _quoted(text: Any) -> str:
    if text is None:
        return "(none)"
    raw = " ".join(text.raw.split())
    return f'"{raw}"' if len(raw) <= 120 else f'"{raw[:119]}…"'


def paste(subject: Subject) -> str:
    """A rule, as YAML, that would match this request."""
    rule: dict[str, Any] = {}
    when: dict[str, Any] = {}
    reply: dict[str, Any]
    if subject.call != "completion":
        rule["call"] = subject.call
    if subject.call in CONVERSATIONS:
        if subject.ends_in_tool_results:
            when["tool_results"] = {name: _same(texts[-1]) for name, texts in subject.tool_results.items()}
        elif subject.question is not None:
            when["question"] = _same(subject.question)
        reply = {"text": "…"} if subject.call in CHATS else _measure(subject)
    elif subject.call in TEXTS:
        when["text"] = _same(subject.text)
        reply = _measure(subject)
    elif subject.call == "generate_image":
        when["prompt"] = _same(subject.prompt) if subject.prompt is not None else {"present": False}
        reply = {}
    else:
        when["dataset"] = _same(subject.dataset) if subject.dataset is not None else {"present": False}
        reply = {}
    rule["when"] = when
    if reply:
        rule["reply"] = reply
    else:
        rule["operation"] = {"done_after": "5s"}
    return _yaml({"rules": [rule]})


def _yaml(data: Any) -> str:
    """Plain data as YAML for people, which loads as it was: breaks that aren't newlines are written as escapes, since
    PyYAML would fold them.
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        pass

    def represented(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
        escaped = any(mark in text for mark in "\x85\u2028\u2029")
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"' if escaped else None)

    Dumper.add_representer(str, represented)
    return str(yaml.dump(data, Dumper=Dumper, allow_unicode=True, sort_keys=False, width=100))


def _measure(subject: Subject) -> dict[str, Any]:
    """A reply, to be changed, of the kind that a call about tokens, vectors or classes is answered with."""
    if subject.call == "text_embedding":
        return {"embedding": [0.6, 0.8]}
    if subject.call in ("classify", "few_shot_classify"):
        labels = list(dict.fromkeys(subject.labels)) or ["…"]
        return {"predictions": {label: 0.0 if i else 1.0 for i, label in enumerate(labels)}}
    return {"tokens": ["…"]}


def _same(text: Any) -> Any:
    """A condition that this text meets; in a plain one braces would be read as a variable."""
    return text.raw if "{{" not in text.raw else {"matches": f"^{re.escape(text.raw[:MOST_PASTED])}"}
