"""What is counted is what there is, at every step of any history: the journal's bytes, and those of what is stored."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

import emulator.content as bounds
from emulator.content import Content, Full, Room, Store, Writer
from emulator.journal import Entry, Journal, Subscription

SIZES = st.sampled_from((0, 1, 7, 8, 9, 20))
SMALL, TOGETHER, MOST = 8, 20, 60
"""Bytes that stay in memory, that all in memory may hold, and that all may."""


class Entries(RuleBasedStateMachine):
    """A journal of few calls, some of which are long open."""

    opened: Bundle[Entry] = Bundle("opened")
    closed: Bundle[Entry] = Bundle("closed")

    @initialize(entries=st.integers(0, 5), size=st.sampled_from((0, 600, 2000, 10_000)))
    def begin(self, entries: int, size: int) -> None:
        self.most, self.size = entries, size
        self.journal = Journal(entries, size)
        self.came: dict[str, Entry] = {}  # what is kept, in order
        self.weight: dict[str, int] = {}
        self.over: list[str] = []  # those that are over, in the order in which they ended
        self.evicted = self.n = 0
        self.subscription: Subscription = self.journal.subscribe()
        self.news: list[str] = []

    @rule(target=opened, request=SIZES, metadata=st.lists(SIZES, max_size=3))
    def open(self, request: int, metadata: list[int]) -> Entry:
        self.n += 1
        pairs = tuple((f"k{i}", "v" * size if i % 2 else b"v" * size) for i, size in enumerate(metadata))
        entry = Entry(f"c{self.n}", "/a.B/C", "", b"?" * request, pairs, "peer", self.n)
        self.journal.add(entry)
        self.came[entry.id] = entry
        self.weight[entry.id] = request + sum(metadata) + 2 * len(metadata)
        self.make_room()
        return entry

    @rule(target=closed, entry=consumes(opened), replies=st.lists(SIZES, max_size=3), message=SIZES, story=SIZES)
    def close(self, entry: Entry, replies: list[int], message: int, story: int) -> Entry:
        entry.replies = [b"!" * size for size in replies]
        entry.sent_at = list(range(len(replies)))
        entry.message, entry.story, entry.code = "m" * message, "s" * story, "OK"
        self.journal.close(entry)
        if entry.id in self.came and self.came[entry.id] is entry:
            self.weight[entry.id] += 512 + sum(replies) + message + story + 40 * len(replies)
            self.over.append(entry.id)
            self.news.append(entry.id)
            self.make_room()
        return entry

    @rule(entry=closed, more=SIZES)
    def change(self, entry: Entry, more: int) -> None:
        """What is told of a call after its end changes nothing in the accounts."""
        entry.notes = ("later",)
        entry.replies.append(b"!" * more)

    @rule()
    def clear(self) -> None:
        self.journal.clear()
        self.came.clear()
        self.weight.clear()
        self.over.clear()
        self.evicted = 0

    @rule(again=st.booleans())
    def begin_again(self, again: bool) -> None:
        """The numbers of calls begin anew, as after a reset; calls that are open end after that."""
        self.clear()
        self.n = 0 if again else self.n

    @rule()
    def read(self) -> None:
        async def taken() -> list[str]:
            return [(await anext(self.subscription)).id for _ in self.news]

        assert asyncio.run(taken()) == self.news
        self.news.clear()

    def make_room(self) -> None:
        while self.over and (len(self.came) > self.most or sum(self.weight.values()) > self.size):
            oldest = self.over.pop(0)
            del self.came[oldest], self.weight[oldest]
            self.evicted += 1

    @invariant()
    def it_is_as_it_should_be(self) -> None:
        if not hasattr(self, "journal"):
            return
        assert [entry.id for entry in self.journal] == list(self.came)
        assert all(self.journal.holds(entry) for entry in self.came.values())
        assert self.journal.bytes == sum(self.weight.values())
        assert self.journal.evicted == self.evicted
        still_open = len(self.came) - len(self.over)
        assert len(self.journal) <= max(self.most, still_open)


class Contents(RuleBasedStateMachine):
    """Two stores that share a room, and what is written, held and dropped in them."""

    writers: Bundle[tuple[Store, Writer]] = Bundle("writers")
    contents: Bundle[tuple[Store, Content, bytes]] = Bundle("contents")

    def __init__(self) -> None:
        super().__init__()
        self.before = bounds.MOST_IN_MEMORY, bounds.MOST_IN_MEMORY_TOGETHER
        bounds.MOST_IN_MEMORY, bounds.MOST_IN_MEMORY_TOGETHER = SMALL, TOGETHER
        self.room = Room(MOST)
        self.stores = [Store(self.room), Store(self.room)]
        self.lives = [0, 0]  # how often each was closed
        self.used: dict[int, tuple[int, int, int]] = {}  # by who holds it: store, its life, bytes
        self.written: dict[int, bytes] = {}
        self.holders: dict[int, int] = {}
        self.kept: list[Any] = []  # so that no identity comes twice

    def teardown(self) -> None:
        for store in self.stores:
            store.close()
        for one in self.kept:
            if isinstance(one, Writer) and id(one) in self.used:
                one.discard()
        assert (self.room.used, self.room.in_memory) == (0, 0)
        bounds.MOST_IN_MEMORY, bounds.MOST_IN_MEMORY_TOGETHER = self.before

    def alive(self) -> int:
        return sum(size for n, life, size in self.used.values() if self.lives[n] == life)

    def number(self, store: Store) -> int:
        return self.stores.index(store)

    @rule(target=writers, n=st.integers(0, 1))
    def write(self, n: int) -> tuple[Store, Writer]:
        writer = self.stores[n].writer()
        self.kept.append(writer)
        self.used[id(writer)] = n, self.lives[n], 0
        self.written[id(writer)] = b""
        return self.stores[n], writer

    @rule(pair=writers, size=SIZES)
    def write_on(self, pair: tuple[Store, Writer], size: int) -> None:
        writer = pair[1]
        if id(writer) not in self.used:
            return
        n, life, before = self.used[id(writer)]
        raw = bytes([65 + before % 26]) * size
        full = self.alive() + size > MOST
        closed = self.lives[n] != life
        try:
            writer.write(raw)
        except Full:
            assert full, "it was refused, and there was room"
        except OSError:
            assert closed, "it was refused, and the store is open"
            self.discard(pair)
        else:
            assert not full, "more is stored than may be"
            self.used[id(writer)] = n, life, before + size
            self.written[id(writer)] += raw

    @rule(target=contents, pair=consumes(writers))
    def finish(self, pair: tuple[Store, Writer]) -> Any:
        store, writer = pair
        if id(writer) not in self.used:
            return multiple()
        content = writer.finish()
        self.kept.append(content)
        self.used[id(content)] = self.used.pop(id(writer))
        self.holders[id(content)] = 1
        raw = self.written.pop(id(writer))
        assert content.size == len(raw)
        return store, content, raw

    @rule(pair=consumes(writers))
    def discard(self, pair: tuple[Store, Writer]) -> None:
        if self.used.pop(id(pair[1]), None) is not None:
            pair[1].discard()

    @rule(kept=contents)
    def hold(self, kept: tuple[Store, Content, bytes]) -> None:
        if self.holders[id(kept[1])]:
            kept[1].hold()
            self.holders[id(kept[1])] += 1

    @rule(kept=contents)
    def drop(self, kept: tuple[Store, Content, bytes]) -> None:
        content = kept[1]
        if self.holders[id(content)]:
            content.drop()
            self.holders[id(content)] -= 1
            if not self.holders[id(content)]:
                del self.used[id(content)]

    @rule(kept=contents)
    def read(self, kept: tuple[Store, Content, bytes]) -> None:
        _, content, raw = kept
        n, life, _ = self.used.get(id(content), (0, -1, 0))
        if self.lives[n] == life:
            assert content.read() == raw
            with content.open() as file:
                assert file.read() == raw

    @rule(n=st.integers(0, 1))
    def begin_again(self, n: int) -> None:
        """The server stops, and serves again; what was under way ends after that."""
        self.stores[n].close()
        self.lives[n] += 1
        assert self.stores[n].open()

    @invariant()
    def the_room_holds_what_is_stored_and_no_more(self) -> None:
        assert self.room.used == self.alive() <= MOST
        assert 0 <= self.room.in_memory <= min(TOGETHER, self.room.used)
        for n, store in enumerate(self.stores):
            mine = sum(size for m, life, size in self.used.values() if (m, life) == (n, self.lives[n]))
            assert store.share._used == mine


TestEntries = Entries.TestCase
TestContents = Contents.TestCase
