"""`Session`: where state lives. One object owns the rules, what they have counted, the journal, the operations and
the time.

A server begins with exactly one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .clock import Clock
from .journal import Journal
from .operations import Operations
from .seed import Seed

if TYPE_CHECKING:
    from .engine.book import Book
    from .engine.choose import State


class Session:
    """`id` is empty for the session a server begins with; `strict` fails calls that no rule matches."""

    def __init__(self, id: str, book: Book, state: State, clock: Clock, seed: Seed, strict: bool = False) -> None:
        self.id = id
        self.book, self.state = book, state
        self.clock, self.seed = clock, seed
        self.strict = strict
        self.journal = Journal()
        self.operations = Operations(clock)
        self._calls = {"call": 0, "aside": 0}

    def counted(self, aside: bool) -> tuple[str, int]:
        """Count a call: its kind, and its number among those. Health checks and the like shift nothing."""
        kind = "aside" if aside else "call"
        self._calls[kind] += 1
        return kind, self._calls[kind]

    @property
    def account(self) -> str:
        """The service account that `created_by` names."""
        return self.seed.identifier("aje", "account")
