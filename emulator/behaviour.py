"""How a client behaved, in short sentences on the entries of its calls.

The emulator answers all the same; these are remarks on what would go wrong, cost twice or wait for ever against a real
service. They are made as calls open and close, so what is remembered between calls is bounded, and an ordinary call
costs next to nothing.
"""

from __future__ import annotations

from .calls import CALLS_BY_METHOD
from .clock import Monotonic
from .digests import blake2b
from .journal import Entry

MOST_FAILURES = 1000
MOST_OPERATIONS = 1000

RETRIED = frozenset(
    {"UNAVAILABLE", "RESOURCE_EXHAUSTED", "DEADLINE_EXCEEDED", "INTERNAL", "ABORTED", "UNKNOWN", "CANCELLED"}
)
"""Statuses after which clients try again, or may want to."""

HARMLESS = (None, "tokenize", "tokenize_completion")
"""Calls that do no harm the second time: Get and Cancel, which rules don't answer, and those that only count."""

NO_DEADLINE = "no deadline: if the server hung, this call would wait for ever"
_TWICE = "the work may be done twice"
_OURS = "/yandex."
_KEY = "idempotency-key"
RETRY_ATTEMPT = "x-retry-attempt"
"""The header by which the official SDK tells that it tries again."""


class Habits:
    """What is noticed about the clients of one session, from the calls that they make."""

    def __init__(self) -> None:
        self.failures: dict[bytes, tuple[str, str]] = {}  # by method and request: the call's id and its key
        self._polls: dict[str, tuple[float, str]] = {}  # by operation: when it was last asked for, who was told its end

    def opened(self, entry: Entry, attempt: str) -> None:
        """A call has come, with that in its header about retries."""
        if not entry.method.startswith(_OURS):
            return
        if entry.deadline is None:
            entry.behaviour += (NO_DEADLINE,)
        earlier = self.failures.pop(_digest(entry), None) if self.failures else None
        if earlier is not None or (attempt.isdecimal() and attempt.strip("0")):
            entry.behaviour += (_retry(entry, earlier, attempt),)

    def polled(self, entry: Entry, operation_id: str, nth: int, done_before: bool) -> None:
        """The `nth` Get of an operation; `done_before` where an earlier one has told that it is done."""
        now = Monotonic.now()
        before, teller = self._polls.pop(operation_id, (None, ""))
        if nth > 1:
            gap = f", {now - before:.1f} s after the one before" if before is not None else ""
            entry.behaviour += (f"the {_ordinal(nth)} Get{gap}",)
        if done_before:
            entry.behaviour += (f"Get of an operation that {teller or 'the client'} was told is done already",)
        self._polls[operation_id] = (now, teller if done_before else entry.id)
        if len(self._polls) > MOST_OPERATIONS:
            del self._polls[next(iter(self._polls))]

    def closed(self, entry: Entry) -> None:
        """A call is over."""
        if entry.code == "OK" or not entry.method.startswith(_OURS):
            return
        if not entry.whole and entry.code in ("CANCELLED", "DEADLINE_EXCEEDED"):
            who = "the client left" if entry.code == "CANCELLED" else "the client's deadline passed"
            when = f"after {_messages(entry.sent)}, before the end" if entry.sent else "before the first message"
            entry.behaviour += (f"{who} {when}",)
        if entry.code in RETRIED:
            digest = _digest(entry)
            self.failures.pop(digest, None)  # the newest stand last
            self.failures[digest] = (entry.id, _header(entry, _KEY))
            if len(self.failures) > MOST_FAILURES:
                del self.failures[next(iter(self.failures))]


def _retry(entry: Entry, earlier: tuple[str, str] | None, attempt: str) -> str:
    """What is to be said of a retry, of which the client's header tells where no failed call is known."""
    what = f"a retry of {earlier[0]}" if earlier is not None else f"a retry ({RETRY_ATTEMPT}: {attempt[:9]})"
    if CALLS_BY_METHOD.get(entry.method) in HARMLESS:
        return what
    key = _header(entry, _KEY)
    if not key:
        return f"{what} without an {_KEY}: {_TWICE}"
    if earlier is None:
        return f"{what}, with an {_KEY}"
    return f"{what}, with its {_KEY}" if key == earlier[1] else f"{what} with another {_KEY}: {_TWICE}"


def _digest(entry: Entry) -> bytes:
    found = blake2b(entry.method.encode("utf-8", "replace"), digest_size=16)
    found.update(b"\0")
    found.update(entry.request)
    return found.digest()


def _header(entry: Entry, name: str) -> str:
    for key, value in entry.metadata:
        if key == name:
            return value if isinstance(value, str) else value.decode("latin-1")
    return ""


def _messages(n: int) -> str:
    return f"{n} message{'s' if n != 1 else ''}"


def _ordinal(n: int) -> str:
    ending = "th" if n % 100 in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
