"""What was answered to whom under which idempotency key, so that the same call again gets the same reply.

Kept for a day of the session's clock, and bounded by number and bytes, the oldest out first. Only calls that went well
are kept: a client keeps its key over all its retries, and a retry must be able to succeed. A stream is kept as its
play. How long the real service remembers is not known; a day is chosen.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct, field

from .call import Pairs
from .clock import SECOND, Clock, Signal
from .replies.play import Play

if TYPE_CHECKING:
    from .replies.stored_reply import StoredReply

KEPT_FOR = 24 * 3600 * SECOND
"""How long a reply is remembered, in ns."""

MOST_REPLIES = 10_000
MOST_BYTES = 16 * 1024 * 1024
_OVERHEAD = 512


class Reply(Struct):
    """What a call of `method` was answered: `messages`, or for a stream its `play`.

    `request` is the digest of the request, `at` when the reply was whole (ns of the clock), `call` the entry of the
    journal, `rule` what answered. `headers` and `trailers` are those that were scripted. `size` is in bytes.
    """

    method: str
    request: bytes
    at: int
    call: str
    rule: str = ""
    operation_id: str = ""
    headers: Pairs = field(default_factory=list)
    trailers: Pairs = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    play: Play | None = None
    size: int = 0


class Flight(Struct):
    """A call with a key that is under way. `over` is given at its end; `reply` is there then, if it went well."""

    request: bytes
    call: str
    over: Signal
    reply: Reply | None = None


class Idempotency:
    """The replies that a session remembers, and the calls under way that may become such, by a digest of who called,
    which method and under which key.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.clear()

    def clear(self) -> None:
        """Forget all. Calls under way are not remembered when they end; who waits for one gets its reply still."""
        self._replies: OrderedDict[bytes, Reply] = OrderedDict()
        self._under_way: dict[bytes, Flight] = {}
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._replies)

    def knows(self, key: bytes) -> bool:
        """Whether a call with `key` has come before, as far as is known."""
        return key in self._replies or key in self._under_way

    def get(self, key: bytes) -> Reply | None:
        """The reply that is remembered under `key`."""
        reply = self._replies.get(key)
        if reply is not None and self._expired(reply):
            self.forget(key)
            return None
        return reply

    def under_way(self, key: bytes) -> Flight | None:
        """The call with `key` that has not ended."""
        return self._under_way.get(key)

    def begin(self, key: bytes, request: bytes, call: str) -> Flight:
        """A call with `key` begins; every `begin` needs an `end`."""
        flight = self._under_way[key] = Flight(request, call, Signal())
        return flight

    def keep(self, key: bytes, flight: Flight, reply: Reply) -> None:
        """The call has gone well, and this is what it was answered."""
        flight.reply = reply
        if self._under_way.get(key) is flight:  # else all was forgotten meanwhile
            self._add(key, reply)

    def end(self, key: bytes, flight: Flight) -> None:
        """The call is over, whatever became of it; who waits for that goes on."""
        if self._under_way.get(key) is flight:
            del self._under_way[key]
        flight.over.give()

    def forget(self, key: bytes) -> None:
        """Remember nothing under `key`."""
        reply = self._replies.pop(key, None)
        if reply is not None:
            self._bytes -= _size(reply)

    def _add(self, key: bytes, reply: Reply) -> None:
        self.forget(key)
        self._replies[key] = reply
        self._bytes += _size(reply)
        while self._replies:
            oldest = next(iter(self._replies))
            over = len(self._replies) > MOST_REPLIES or self._bytes > MOST_BYTES
            if not over and not self._expired(self._replies[oldest]):
                return
            self.forget(oldest)

    def _expired(self, reply: Reply) -> bool:
        return self._clock.now() - reply.at >= KEPT_FOR

    # -- as data

    def dump(self) -> list[StoredReply]:
        """What is remembered, as data, the oldest first."""
        from .replies.stored_reply import StoredReply, stored_stream

        return [
            StoredReply(
                key=key,
                method=reply.method,
                request=reply.request,
                at=reply.at,
                call=reply.call,
                size=reply.size,
                rule=reply.rule,
                operation_id=reply.operation_id,
                headers=[(name, value) for name, value in reply.headers if isinstance(value, str)],
                trailers=[(name, value) for name, value in reply.trailers if isinstance(value, str)],
                messages=reply.messages,
                stream=stored_stream(reply.play) if reply.play is not None else None,
            )
            for key, reply in self._replies.items()
            if not self._expired(reply)
        ]

    def put(self, replies: Iterable[tuple[bytes, Reply]]) -> None:
        """Remember these and no others."""
        self.clear()
        for key, reply in replies:
            self._add(key, reply)


def checked(stored: Iterable[StoredReply]) -> list[tuple[bytes, Reply]]:
    """The replies of that data, for `Idempotency.put`. Raises ValueError, which names the place, for what `dump` can't
    have made.
    """
    from .replies.stored import within

    return [(one.key, within(f"idempotency[{i}]", partial(_restored, one))) for i, one in enumerate(stored)]


def _restored(one: StoredReply) -> Reply:
    from .replies.stored import within
    from .replies.stored_reply import check_reply, restored_stream

    check_reply(one)
    reply = Reply(one.method, one.request, one.at, one.call, one.rule, one.operation_id)
    reply.headers, reply.trailers = [*one.headers], [*one.trailers]
    reply.messages, reply.size = one.messages, one.size
    if one.stream is not None:
        reply.play = within("stream", partial(restored_stream, one.stream, one.rule))
    return reply


def _size(reply: Reply) -> int:
    return _OVERHEAD + reply.size
