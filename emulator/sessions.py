"""`Session`: where state lives. One object owns the rules, what they have counted, the journal, the operations and
the time.

A server begins with exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .clock import Clock
from .journal import Journal
from .operations import Operations
from .seed import Seed

if TYPE_CHECKING:
    from .engine.book import Book
    from .engine.choose import State


@dataclass(slots=True)
class Session:
    """`id` is empty for the session a server begins with; `strict` fails calls that no rule matches."""

    id: str
    book: Book
    state: State
    clock: Clock
    seed: Seed
    strict: bool = False
    journal: Journal = field(default_factory=Journal)
    operations: Operations = field(init=False)
    calls: int = 0

    def __post_init__(self) -> None:
        self.operations = Operations(self.clock)

    @property
    def account(self) -> str:
        """The service account that `created_by` names."""
        return self.seed.identifier("aje", "account")
