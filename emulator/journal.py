"""What happened: an entry a call, kept as it came and decoded on demand.

Bounded by count and by bytes; the oldest finished calls go first. Credentials never get in: they are masked before an
entry is made. Messages of a stream, each of which holds the whole text so far, are not kept: their play makes them
again.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any
from weakref import WeakSet

from msgspec import Struct, field

from .api import METHODS
from .call import Metadata
from .calls import CALLS_BY_METHOD, CONVERSATIONS, TEXTS
from .masking import SECRETS, mask, mask_signature
from .replies.play import Play

LIMIT_ENTRIES = 1000
LIMIT_BYTES = 16 * 1024 * 1024
MOST_WAITING = 1000
MOST_WAITING_BYTES = LIMIT_BYTES
"""Entries that wait for a subscriber who is slow to take them, and their bytes as the journal counts them."""

LONGEST_ABOUT = 120
_IAM = "/yandex.cloud.iam."
_DATASETS = "/yandex.cloud.ai.dataset."
_SECRET_FIELDS = ("yandex_passport_oauth_token", "jwt", "iam_token")
"""Fields of messages about IAM tokens that are credentials themselves."""


class Entry(Struct):
    """One call. `began` is the emulator's clock (ns), `took` real seconds; `code` is None while the call is open.

    `rule` names the rule that answered, "default", "fallback", or nothing where no rule is asked. `story` is the
    account of why no rule matched under strictness, made at the time, since counters and states move on. `notes` are
    remarks on a reply that was sent as scripted although the request asked otherwise, `behaviour` remarks on what the
    client did. `spent` labels the rules that would have answered an unmatched call, had their `times` not been used up.

    `sent_at` holds an instant (ns of the session's clock) for each message sent, when it was due. What was sent is in
    `replies`, or made again by `play` where that is set; `bytes_sent` is the length of the largest message. `whole`
    tells that the reply was sent to its end, a scripted failure included.

    `deadline` is how many seconds the client allowed, None for no limit; `operation_id` the operation that the call
    began or asked about, `account` the id of the account that called, where a credential was asked for. `faults` tells
    what chaos did to it. `metadata_size` are the bytes of the metadata, where they were counted.
    """

    id: str
    method: str
    kind: str
    request: bytes
    metadata: Metadata
    peer: str
    began: int
    rule: str = ""
    code: str | None = None
    message: str = ""
    took: float = 0.0
    story: str = ""
    unmatched: bool = False
    spent: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    sent_at: list[int] = field(default_factory=list)
    replies: Sequence[bytes] = ()
    play: Play | None = None
    bytes_sent: int = 0
    whole: bool = False
    deadline: float | None = None
    request_id: str = ""
    operation_id: str = ""
    behaviour: tuple[str, ...] = ()
    account: str = ""
    faults: tuple[str, ...] = ()
    metadata_size: int | None = None

    @property
    def sent(self) -> int:
        """How many messages were sent."""
        return len(self.sent_at)

    @property
    def streamed(self) -> bool:
        """Whether it is a completion that was asked for as a stream."""
        return self.play is not None and self.play.cutting is not None and self.play.cutting.streaming

    @property
    def about(self) -> str:
        """What it is about, in a line of at most 120 characters: the last question, a prompt, a text, the id of a
        dataset or an operation. Empty where that can't be told.
        """
        return _about(self)

    def messages(self) -> list[bytes]:
        """The messages that were really sent, serialized."""
        if self.play is None:
            return list(self.replies)
        if not self.sent_at:
            return []
        made = (step.message for step in self.play.steps() if step.message is not None)
        # One at a time: a stream's partial messages are one object that grows.
        return [message.SerializeToString(deterministic=True) for message in itertools.islice(made, self.sent)]


class Subscription:
    """An async iterator of entries as they close, in that order.

    At most 1,000 wait to be taken, of 16 MiB together unless it is one; beyond that the oldest is dropped, and `missed`
    counts it. It ends with `close`, with the block that it is used in as a context manager, or when nobody holds it any
    more.
    """

    def __init__(self, most: int = MOST_WAITING, most_bytes: int = MOST_WAITING_BYTES) -> None:
        self.missed = 0
        self._entries: deque[tuple[Entry, int]] = deque()
        self._bytes = 0
        self._most, self._most_bytes = most, most_bytes
        self._news = asyncio.Event()
        self._closed = False

    def put(self, entry: Entry, size: int) -> None:
        """Hand on an entry that has closed, of so many bytes; the journal's business."""
        if self._closed:
            return
        self._entries.append((entry, size))
        self._bytes += size
        while len(self._entries) > self._most or (self._bytes > self._most_bytes and len(self._entries) > 1):
            self._take()
            self.missed += 1
        self._news.set()

    def _take(self) -> Entry:
        entry, size = self._entries.popleft()
        self._bytes -= size
        return entry

    def close(self) -> None:
        """Get no more; what was waiting goes, and whoever waits for the next is let go."""
        self._closed = True
        self._entries.clear()
        self._bytes = 0
        self._news.set()

    def __enter__(self) -> Subscription:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Entry:
        while not self._entries:
            if self._closed:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()
        return self._take()


class Journal:
    """The last calls of a session. `evicted` counts those that had to go to make room for others."""

    def __init__(self, limit_entries: int = LIMIT_ENTRIES, limit_bytes: int = LIMIT_BYTES) -> None:
        self._entries: dict[str, Entry] = {}
        self._finished: deque[tuple[Entry, int]] = deque()  # each with its bytes, as they were counted
        self._open: dict[str, int] = {}  # by id of an open entry: the bytes that it was counted with
        self._limit_entries, self._limit_bytes = limit_entries, limit_bytes
        self._bytes = 0
        self._subscriptions: WeakSet[Subscription] = WeakSet()
        self._followed = False  # there may be some
        self.evicted = 0

    def __iter__(self) -> Iterator[Entry]:
        return iter(tuple(self._entries.values()))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What its entries come to, as they are counted."""
        return self._bytes

    def add(self, entry: Entry) -> None:
        """Keep an entry, making room for it among the finished ones; open calls stay."""
        if entry.code is not None:
            self.keep(entry)
            return
        came = _came(entry)
        self._entries[entry.id] = entry
        self._bytes += came
        self._open[entry.id] = came
        self._make_room()

    def keep(self, entry: Entry) -> None:
        """`add` for a call that is over already."""
        size = _came(entry) + _told(entry)
        self._entries[entry.id] = entry
        self._bytes += size
        self._finished.append((entry, size))
        if self._followed:
            self._hand_on(entry, size)
        if len(self._entries) > self._limit_entries or self._bytes > self._limit_bytes:
            self._make_room()

    def close(self, entry: Entry) -> None:
        """The call is over; what was told of it counts from now on, and subscribers get it. Entries that are not in the
        journal are left alone.
        """
        if self.holds(entry):
            self._finish(entry, self._open.pop(entry.id, 0))

    def _finish(self, entry: Entry, came: int) -> None:
        told = _told(entry)
        self._finished.append((entry, came + told))
        self._bytes += told
        if self._followed:
            self._hand_on(entry, came + told)
        self._make_room()

    def _hand_on(self, entry: Entry, size: int) -> None:
        """Tell those who follow."""
        for subscription in self._subscriptions:
            subscription.put(entry, size)
        self._followed = bool(self._subscriptions)

    def clear(self) -> None:
        """Forget all calls, and how many were evicted. What is open ends outside of it, and is nobody's any more."""
        self._entries.clear()
        self._finished.clear()
        self._open.clear()
        self._bytes = self.evicted = 0

    def holds(self, entry: Entry) -> bool:
        """Whether this very entry is kept."""
        return self._entries.get(entry.id) is entry

    def subscribe(self) -> Subscription:
        """The entries that close from now on."""
        subscription = Subscription()
        self._subscriptions.add(subscription)
        self._followed = True
        return subscription

    def get(self, entry_id: str) -> Entry | None:
        """The entry of that id, if it is still kept."""
        return self._entries.get(entry_id)

    def last_unmatched(self) -> Entry | None:
        """The latest call that no rule matched."""
        return next((e for e in reversed(self._entries.values()) if e.unmatched), None)

    def _make_room(self) -> None:
        while self._finished and (len(self._entries) > self._limit_entries or self._bytes > self._limit_bytes):
            oldest, size = self._finished.popleft()
            del self._entries[oldest.id]
            self._bytes -= size
            self.evicted += 1


def _came(entry: Entry) -> int:
    """Bytes of what the client sent."""
    metadata = entry.metadata_size
    return len(entry.request) + (size_of(entry.metadata) if metadata is None else metadata)


def _told(entry: Entry) -> int:
    """Bytes of what the call has come to; a play counts as its largest message."""
    replies = entry.bytes_sent if entry.play is not None else sum(map(len, entry.replies))
    return 512 + len(entry.story) + len(entry.message) + replies + 40 * len(entry.sent_at)


def _about(entry: Entry) -> str:
    method = METHODS.get(entry.method)
    if method is None:
        return ""
    try:
        message = method.input.FromString(entry.request)
    except Exception:  # what the call itself was refused for
        return ""
    call = CALLS_BY_METHOD.get(entry.method)
    if call in CONVERSATIONS:
        texts = (m.text for m in reversed(message.messages) if m.role == "user" and m.WhichOneof("Content") == "text")
        found = next(texts, "")
    elif call == "generate_image":
        found = " ".join(m.text for m in message.messages)
    elif call in TEXTS:
        found = message.text
    elif call == "completion_batch":
        found = message.source_dataset_id
    else:
        named = (getattr(message, field, "") for field in ("operation_id", "dataset_id", "name"))
        found = next((name for name in named if name and isinstance(name, str)), "")
    line = " ".join(found[: 10 * LONGEST_ABOUT].split())
    return line if len(line) <= LONGEST_ABOUT else line[: LONGEST_ABOUT - 1] + "…"


def size_of(metadata: Metadata) -> int:
    """Bytes of metadata, as they are counted."""
    return sum(map(len, itertools.chain.from_iterable(metadata)))


def masked(metadata: Metadata) -> Metadata:
    """`metadata` without its credentials: a known scheme stays, of the secret the first four characters and `****`."""
    return tuple([(pair[0], mask(pair[1])) if pair[0] in SECRETS else pair for pair in metadata])


def masked_request(method: str, raw: bytes) -> bytes:
    """A request as it may be kept: as it is, or without the credentials in it."""
    if not method.startswith(_IAM):
        return raw
    return _masked_message(METHODS[method].input, raw) if method in METHODS else b""


def masked_reply(method: str, raw: bytes) -> bytes:
    """A reply as it may be kept: as it is, or without the credentials in it, the signatures of URLs among them."""
    if method.startswith(_IAM):
        return _masked_message(METHODS[method].output, raw)
    return _unsigned(METHODS[method].output, raw) if method.startswith(_DATASETS) and method in METHODS else raw


def _unsigned(cls: type[Any], raw: bytes) -> bytes:
    message = cls.FromString(raw)
    _mask_signatures(message)
    masked_bytes: bytes = message.SerializeToString(deterministic=True)
    return masked_bytes


def _mask_signatures(message: Any) -> None:
    """Mask the signature of every URL in `message`."""
    for field_, value in message.ListFields():
        if isinstance(value, str):
            setattr(message, field_.name, mask_signature(value))
        elif field_.type == field_.TYPE_STRING:  # several
            value[:] = list(map(mask_signature, value))
        elif field_.message_type is not None and not field_.message_type.GetOptions().map_entry:
            for inner in (value,) if hasattr(value, "ListFields") else value:
                _mask_signatures(inner)


def _masked_message(cls: type[Any], raw: bytes) -> bytes:
    try:
        message = cls.FromString(raw)
    except Exception:  # nobody knows what is in there
        return b""
    message.DiscardUnknownFields()
    for name in _SECRET_FIELDS:
        if getattr(message, name, ""):
            setattr(message, name, mask(getattr(message, name)))
    masked_bytes: bytes = message.SerializeToString(deterministic=True)
    return masked_bytes
