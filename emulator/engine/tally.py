"""What a session's calls come to, counted as they end; `verify` holds it against what was expected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

if TYPE_CHECKING:
    from ..journal import Entry

MOST_DETAILS = 100
"""Calls of each kind that are told one by one; of more it is said how many there were."""


class Detail(Struct, frozen=True):
    """One call that is to be told of: its entry's id, what it was, and why if that is known already."""

    id: str
    head: str
    text: str = ""


class Count(Struct):
    """How many there were, and the first of them."""

    n: int = 0
    details: list[Detail] = field(default_factory=list)

    def add(self, entry: Entry, text: str = "") -> None:
        """Count a call."""
        self.n += 1
        if len(self.details) < MOST_DETAILS:
            from .query import head

            self.details.append(Detail(entry.id, head(entry), text))


class Tally:
    """What a session's calls have come to that verification asks about."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Begin again."""
        self.unmatched, self.spent, self.unread = Count(), Count(), Count()

    def closed(self, entry: Entry) -> None:
        """A call is over."""
        if entry.unmatched:
            self.unmatched.add(entry, without_command(entry.message) if entry.story else "")
        if entry.spent:
            have = "have answered all their" if len(entry.spent) > 1 else "has answered all its"
            self.spent.add(entry, f"{' and '.join(entry.spent)} {have} times, and no other rule answers")
        if entry.faults:
            return  # whoever leaves a call that chaos has struck leaves nothing unread
        if entry.code == "CANCELLED" and not entry.whole and entry.kind == "completion" and entry.streamed:
            self.unread.add(entry, f"the client left after {times(entry.sent, 'message')}, before the end")


def without_command(text: str) -> str:
    """The account of a status without the command that tells more, which is for those who read a log."""
    return text.rpartition("; `fm-emulator explain")[0] or text


def times(n: int, one: str, many: str = "") -> str:
    """`n` and the noun for so many."""
    return f"{n} {one if n == 1 else many or one + 's'}"
