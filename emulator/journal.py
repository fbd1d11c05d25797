"""What happened: an entry a call, kept as it came and decoded on demand.

Bounded by count and by bytes; the oldest finished calls go first. Credentials never get in: they are masked before an
entry is made.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator

from msgspec import Struct, field

LIMIT_ENTRIES = 1000
LIMIT_BYTES = 16 * 1024 * 1024
SCHEMES = ("bearer", "api-key", "basic")
SECRETS = ("authorization", "cookie", "proxy-authorization", "x-api-key")


class Entry(Struct):
    """One call. `began` is the emulator's clock (ns), `took` real seconds; `code` is None while the call is open.

    `rule` names the rule that answered, "default", "fallback", or nothing where no rule is asked. `story` is the
    account
    of why no rule matched under strictness, made at the time, since counters and states move on. `notes` are remarks
    on a reply that was sent as scripted although the request asked otherwise.
    """

    id: str
    method: str
    kind: str
    request: bytes
    metadata: tuple[tuple[str, str | bytes], ...]
    peer: str
    began: int
    rule: str = ""
    code: str | None = None
    message: str = ""
    took: float = 0.0
    sent: int = 0
    story: str = ""
    unmatched: bool = False
    notes: list[str] = field(default_factory=list)


class Journal:
    """The last calls of a session."""

    def __init__(self, limit_entries: int = LIMIT_ENTRIES, limit_bytes: int = LIMIT_BYTES) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._finished: deque[Entry] = deque()
        self._limit_entries, self._limit_bytes = limit_entries, limit_bytes
        self._bytes = 0
        self.evicted = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entry: Entry) -> None:
        """Open an entry, making room for it among the finished ones; open calls stay."""
        self._entries[entry.id] = entry
        self._bytes += len(entry.request)
        self._make_room()
        if entry.code is not None:
            self.close(entry)

    def close(self, entry: Entry) -> None:
        """The call is over; what was told of it counts from now on. Entries that were never added are left alone."""
        if entry.id not in self._entries:
            return
        self._finished.append(entry)
        self._bytes += _told(entry)
        self._make_room()

    def _make_room(self) -> None:
        while self._finished and (len(self._entries) > self._limit_entries or self._bytes > self._limit_bytes):
            oldest = self._finished.popleft()
            del self._entries[oldest.id]
            self._bytes -= len(oldest.request) + _told(oldest)
            self.evicted += 1

    def get(self, entry_id: str) -> Entry | None:
        """The entry of that id, if it is still kept."""
        return self._entries.get(entry_id)

    def last_unmatched(self) -> Entry | None:
        """The latest call that no rule matched."""
        return next((e for e in reversed(self._entries.values()) if e.unmatched), None)


def _told(entry: Entry) -> int:
    return 512 + len(entry.story) + len(entry.message)


def masked(metadata: tuple[tuple[str, str | bytes], ...]) -> tuple[tuple[str, str | bytes], ...]:
    """`metadata` without its credentials: a known scheme stays, of the secret the first four characters and `****`."""
    return tuple((key, _mask(value) if key in SECRETS else value) for key, value in metadata)


def _mask(value: str | bytes) -> str:
    text = value if isinstance(value, str) else value.decode("latin-1")
    scheme, gap, secret = text.partition(" ")
    if scheme.lower() not in SCHEMES:
        scheme, gap, secret = "", "", text
    return f"{scheme}{gap}{secret[:4] if len(secret) > 8 else ''}****"
