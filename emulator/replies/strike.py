"""`Strike`: what chaos does to one call. It is drawn before the call is answered, and not changed by what others do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Literal

from msgspec import Struct
from msgspec.structs import replace

from ..errors import Status

if TYPE_CHECKING:
    from .streams import Step

End = Literal["", "error", "drop", "truncate", "stall"]


class Strike(Struct, frozen=True):
    """A delay (ns), and what then becomes of the call: nothing more, an error, a dropped connection, an end before the
    end, or silence for `stall` ns (None: for ever).

    `faults` names what struck, for people. Where `after` is set the stream is struck once it has sent so many messages:
    a number of them, or a fraction of those that there are. It always is: at the latest in place of the last one.
    """

    faults: tuple[str, ...] = ()
    delay: int = 0
    end: End = ""
    status: Status | None = None
    stall: int | None = None
    after: int | float | None = None

    @property
    def in_stream(self) -> bool:
        """Whether it waits for messages of a stream."""
        return self.after is not None

    def place(self, messages: int) -> int:
        """After how many of a stream's messages it comes."""
        after = self.after if self.after is not None else 0
        return int(after * messages) if isinstance(after, float) else max(0, min(after, messages - 1))

    def told(self) -> str:
        """What it does, for people."""
        parts = [f"{self.delay / 1e9:.4g} s later"] if self.delay else []
        if self.end == "error" and self.status is not None:
            parts.append(self.status.code.name)
        elif self.end == "drop":
            parts.append("connection dropped")
        elif self.end == "truncate":
            parts.append("stream ended early")
        elif self.end == "stall":
            parts.append("silent for ever" if self.stall is None else f"silent for {self.stall / 1e9:.4g} s")
        where = f" after {self.after} message{'s' * (self.after != 1)}" if isinstance(self.after, int) else ""
        return f"{', '.join(parts)}{where}"


def combined(strikes: Iterable[Strike]) -> Strike:
    """What several come to: their delays together, and the end of the first that has one."""
    found = tuple(strikes)
    if len(found) == 1:
        return found[0]
    ending = next((strike for strike in found if strike.end), Strike())
    faults = tuple(name for strike in found if strike.delay or strike is ending for name in strike.faults)
    return replace(ending, faults=faults, delay=sum(strike.delay for strike in found))


def struck(steps: Iterator[Step], strike: Strike, forever: int) -> Iterator[Step]:
    """The steps of a stream that is struck after `strike.after` messages; `forever` is a wait without end."""
    sent = 0
    for step in steps:
        if step.message is None or sent != strike.after:
            sent += step.message is not None
            yield step
            continue
        sent += 1
        if strike.end == "truncate":
            return
        if strike.end != "stall":
            yield replace(step, wait=0, message=None, failure=strike.status)
            return
        endless = strike.stall is None or step.wait == forever
        yield replace(step, wait=forever if endless else step.wait + (strike.stall or 0))


def messages_in(steps: Iterator[Step]) -> int:
    """How many messages those steps send."""
    return sum(1 for step in steps if step.message is not None)
