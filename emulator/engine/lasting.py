"""What a request is answered with that gets the same answer as long as the rules are what they are.

Many calls of a test suite, and nearly all of a load test, ask what was asked before. Where nothing but the request
decided (no metadata, no state, no count, no chance), the answer is kept as it goes out, for the book that gave it; who
changes the rules has another book, for which nothing is kept yet. What choosing the rule changes is done each time
all the same, so counters, states and verification see no difference.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

from msgspec import Struct

from ..replies.play import Pairs, Play
from .book import Book
from .choose import Delta

MOST = 4096
"""Answers that are kept, over all rules of an emulator; the oldest go first (our choice, as are the sizes)."""

MOST_BYTES = 16 * 1024 * 1024
LARGEST = 128 * 1024
"""Bytes of a request and its answer together, beyond which it is made anew each time."""

_BESIDE = 1024
"""Bytes that an answer takes beside those of the request and of its messages, about."""


class Lasting(Struct, frozen=True):
    """An answer to `request`: its serialized `messages`, and what is to be noted of it. `play` is set for streams."""

    kind: str
    rule: str
    delta: Delta
    request: bytes
    messages: tuple[bytes, ...]
    play: Play | None = None
    notes: tuple[str, ...] = ()
    headers: Pairs = ()
    trailers: Pairs = ()
    unmatched: bool = False


Answers = dict[tuple[str, bytes], Lasting]
"""Those of one book, by method and request."""


class Kept:
    """The answers of all books of an emulator."""

    def __init__(self, most: int = MOST, most_bytes: int = MOST_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._bytes = 0
        self._by_book: dict[int, tuple[weakref.ref[Book], Answers]] = {}
        self._order: deque[tuple[Answers, tuple[str, bytes], int]] = deque()

    def __len__(self) -> int:
        return len(self._order)

    def of(self, book: Book) -> Answers:
        """Those of that book, empty at first."""
        found = self._by_book.get(key := id(book))
        if found is None:
            found = self._by_book[key] = weakref.ref(book, lambda _: self._by_book.pop(key, None)), {}
        return found[1]

    def keep(self, answers: Answers, method: str, lasting: Lasting) -> None:
        """Keep that answer of a method among `answers`, unless it is too large."""
        size = _BESIDE + len(lasting.request) + sum(map(len, lasting.messages))
        key = (method, lasting.request)
        if size > LARGEST or key in answers:
            return
        answers[key] = lasting
        self._order.append((answers, key, size))
        self._bytes += size
        while len(self._order) > self._most or self._bytes > self._most_bytes:
            where, oldest, its_size = self._order.popleft()
            del where[oldest]
            self._bytes -= its_size


def lasting_of(kind: str, play: Play, request: bytes, messages: tuple[bytes, ...], streamed: bool) -> Lasting | None:
    """What is to be kept of that answer to a call of that kind; None if another like it may be answered otherwise."""
    delta: Any = play.lasting
    if delta is None or play.strike is not None or play.delay:
        return None
    kept = play if streamed else None
    notes = tuple(play.notes)
    return Lasting(kind, play.rule, delta, request, messages, kept, notes, play.headers, play.trailers, play.unmatched)
