"""`Play`: what one call will be answered, decided and not yet sent.

A play is made when a rule is chosen and is never changed by what other calls do. Services ask it for messages on the
wire; an operation keeps it until its result is fetched.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import Status
from .streams import FOREVER, Cutting, Step, steps
from .strike import Strike, struck
from .timeline import Timeline

Pairs = tuple[tuple[str, str], ...]


class Play(Struct):
    """The answer to one call.

    `rule` is how the journal names what answered; `delay` is ns before anything is sent. Either `failure` is set and
    the call ends with it, or `final` gives the final message (by the call a CompletionResponse, an
    ImageGenerationResponse, tokens, a vector, classes, or the response of a batch; None for a batch whose response is
    made from its task). `final` may take long
    where `slow` is set: ask it in a thread. Of an `unmatched` play `spent` labels the rules that would have answered,
    had their `times` not been used up.

    An operation that is no rule's may have `metadata`, a message that it tells from IN_PROGRESS on, and `ready` to be
    awaited before that or `final` is asked for.

    `lasting` is set where the same request will get the same as long as the rules stay: to what choosing it changes.

    `faults` are those of the rule, as `chaos` compiled them; `strike` is what they, and those of all calls, have come
    to for this one, whose `after` is then a number of messages.
    """

    rule: str
    delay: int = 0
    headers: Pairs = ()
    trailers: Pairs = ()
    failure: Status | None = None
    final: Callable[[], Any] = lambda: None
    slow: bool = False
    cutting: Cutting | None = None
    timeline: Timeline | None = None
    notes: list[str] = field(default_factory=list)
    unmatched: bool = False
    spent: tuple[str, ...] = ()
    metadata: Callable[[], Any] | None = None
    ready: Callable[[], Awaitable[None]] | None = None
    faults: Sequence[Any] = ()
    strike: Strike | None = None
    lasting: Any = None

    @property
    def at_once(self) -> bool:
        """Whether it is a completion of one message that waits for nothing; its failure, if that is what it is, too."""
        if self.delay or self.strike is not None:
            return False
        cutting = self.cutting
        return self.failure is not None or (cutting is not None and cutting.whole)

    @property
    def unpaced(self) -> bool:
        """Whether it is a completion whose messages follow each other without a wait, to its end."""
        cutting = self.cutting
        return not self.delay and self.strike is None and cutting is not None and cutting.unpaced

    def steps(self) -> Iterator[Step]:
        """The messages of a streamed completion, each with its wait."""
        assert self.cutting is not None
        found = steps(self.final(), self.cutting)
        strike = self.strike
        return found if strike is None or not strike.in_stream else struck(found, strike, FOREVER)

    @property
    def truncated(self) -> bool:
        """Whether its stream ends before its last message, and says that all is well."""
        return self.strike is not None and self.strike.end == "truncate"

    def unhurt(self) -> Play:
        """The same without what chaos did to it."""
        return self if self.strike is None else replace(self, strike=None)
