"""What calls came to, counted: plain numbers, which are written in Prometheus's format when somebody asks for them.

Everything is bounded, whatever clients ask and fixtures hold: methods are those of the API, rules are told apart up to
`MOST_RULES` of them, and the rest is `other`.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter

from msgspec import Struct, field

from ..api import METHODS
from ..call import Call
from . import OTHER

MOST_RULES = 200
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper ends, in real seconds, of how long calls took."""


class Method(Struct):
    """The calls of one method: how many by bucket of what they took, that in sum, and what was sent."""

    buckets: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    messages: int = 0
    unmatched: int = 0


class Metrics:
    """Counts since the emulator was made; nothing resets them.

    `calls` are by method, status and rule, `refusals` by the gate that refused.
    """

    def __init__(self) -> None:
        self.calls: Counter[tuple[str, str, str]] = Counter()
        self.methods: dict[str, Method] = {}
        self.refusals: Counter[str] = Counter()
        self._rules: set[str] = set()

    def closed(self, call: Call) -> None:
        """Count a call."""
        entry = call.entry
        name = entry.method[1:] if entry.method in METHODS else OTHER
        method = self.methods.get(name)
        if method is None:
            method = self.methods[name] = Method()
        self.calls[name, entry.code or "", self._told_apart(entry.rule)] += 1
        method.buckets[bisect_left(BUCKETS, entry.took)] += 1
        method.seconds += entry.took
        method.messages += entry.sent
        method.unmatched += entry.unmatched
        if call.refused_by:
            self.refusals[call.refused_by] += 1

    def _told_apart(self, rule: str) -> str:
        if rule in self._rules:
            return rule
        if len(self._rules) >= MOST_RULES:
            return OTHER
        self._rules.add(rule)
        return rule
