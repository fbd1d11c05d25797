"""`Session`: where state lives. One object owns the rules laid over the files', what they have counted, the journal,
the operations, what was let in and what is remembered, and the time. `Sessions` are all there are; a server begins with
exactly one, and another begins with the first call that names it.

Rules stand in three layers: what was added while running, the newest first; the session's own; and those of the files,
which all sessions share, so that a reload swaps them under everyone. Idle sessions are dropped by real time, when
somebody asks for a new one: nothing runs in the background.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .behaviour import Habits
from .chaos import Fault, failing
from .clock import Clock, Monotonic
from .config import Config
from .content import Room
from .datasets import VALIDATION, Datasets
from .engine.book import Book, Rule
from .engine.choose import State
from .engine.lasting import Answers, Kept
from .engine.layers import Layer, placed, stacked
from .engine.tally import Tally
from .errors import Code, Status
from .iam import Tokens
from .idempotency import Idempotency
from .journal import Entry, Journal
from .operations import Operations
from .quotas import Quotas
from .rules.accounts import OPEN, REQUIRED, Auth
from .seed import Seed, as_uuid

if TYPE_CHECKING:
    from .engine.verify import Report

PARTS = (
    "rules",
    "counters",
    "states",
    "journal",
    "operations",
    "datasets",
    "clock",
    "quotas",
    "idempotency",
    "iam_tokens",
)
"""What `Session.reset` can reset."""

BATCH = "completion_batch"
BEGAN_AGAIN = "the session was reset or restored while this call was open"
MOST_COUNTERS = 100_000
"""Rules whose calls are counted; beyond that those are forgotten that are gone (our choice)."""

MOST_LAYERS = 10_000
"""Layers of rules that may lie over the files' in a session (our choice); a layer is what is added at once."""

OWN, FILES = "session", "files"
"""Layers by id: the session's own rules, and those of the files; added ones are r1, r2, ..."""


class Shared:
    """The rules that sessions share: what the files say. `kept` are answers for calls to come, `error` tells why the
    last reload was refused, `pausing` whether rules of any session let a stream pause, at its end perhaps.
    """

    def __init__(self, book: Book) -> None:
        self.kept = Kept()
        self._pausing: set[str] = set()  # sessions, by id, whose own rules do
        self.book = book
        self.error = ""

    @property
    def book(self) -> Book:
        """The rules of the files."""
        return self._book

    @book.setter
    def book(self, book: Book) -> None:
        self._book, self._pauses = book, book.pausing
        self.pausing = self._pauses or bool(self._pausing)

    def lies_over(self, session: str, pausing: bool) -> None:
        """What that session lays over the rules of the files lets streams pause, or doesn't."""
        (self._pausing.add if pausing else self._pausing.discard)(session)
        self.pausing = self._pauses or bool(self._pausing)


class Session:
    """`id` is empty for the session that a server begins with; `strict` fails calls that no rule matches.

    `home` are the rules that all sessions share; `shared` is the same, but after a restore from elsewhere.
    `over` tells why it has ended, and is empty until then. `generation` counts how often its operations began again, by
    a reset or a restore; calls that came before begin none any more.
    `began` is the instant at which its clock began (ns). `open_calls` are those of programs, `holders` all that are
    under way, those of the control API included; `used` is when the last one began or ended (seconds of `Monotonic`).
    """

    strict: bool
    immediate: bool
    seed: Seed

    def __init__(self, id: str, shared: Shared, config: Config, room: Room | None = None) -> None:
        self.id = id
        self.home = self.shared = shared
        self.config = config
        self.over = ""
        self.generation = 0
        self._unguarded: dict[str, bool] = {}
        self._as_configured()
        self.clock = Clock(config.now, config.speed, config.frozen)
        self.state = State()
        self.tally, self.habits = Tally(), Habits()
        self.journal = Journal()
        self.began = self.clock.now()
        self.operations = Operations(self.clock, config.max_operations)
        self.tokens = Tokens(self.clock)
        self.quotas = Quotas(self.clock, config.quotas)
        self.idempotency = Idempotency(self.clock)
        self.datasets = Datasets(self.clock, lambda: self.book.datasets, lambda: self.account, room)
        self.own: Layer | None = None
        self.added: list[Layer] = []
        self.calls = {"call": 0, "aside": 0}
        self._asked: tuple[Seed | None, dict[str, Seed]] = None, {}
        self.open_calls = 0
        self.holders = 0
        self.used = Monotonic.now()
        self.numbered = 0
        self._laid: set[str] = set()
        self._book: Book | None = None
        self._beneath: Book | None = None
        self._answers: Answers = {}

    # -- rules

    @property
    def book(self) -> Book:
        """All rules, in the order they are tried."""
        if self._book is None or self._beneath is not self.shared.book:
            self._beneath = self.shared.book
            self._book = stacked(self.layers)
            self._answers = self.home.kept.of(self._book)
            self._unguarded.clear()
        return self._book

    @property
    def answers(self) -> Answers:
        """Those that are kept for these rules."""
        if self._book is None or self._beneath is not self.shared.book:
            _ = self.book
        return self._answers

    @property
    def auth(self) -> Auth:
        """Who may call: what the first layer with a section says, else the options."""
        closed = self.config.require_auth or self.config.api_key
        return self.book.auth or (REQUIRED if closed else OPEN)

    def unguarded(self, method: str) -> bool:
        """Whether everybody may call that method as often as they like, and nothing goes wrong with it on purpose."""
        found = self._unguarded.get(method)
        if found is None:
            book = self.book
            found = self.auth.open and not self.faults and not self.quotas.limits(book.quotas, method)
            self._unguarded[method] = found
        return found and not len(self.tokens)

    @property
    def faults(self) -> Sequence[Fault]:
        """What goes wrong with calls: what the first layer with such a section says, else the option."""
        told = self.book.chaos
        return self._failing if told is None else told

    @property
    def layers(self) -> list[Layer]:
        """The layers of rules, the first tried first."""
        own = [self.own] if self.own is not None else []
        return [*self.added, *own, Layer(FILES, self.shared.book)]

    def ruled(self) -> Iterator[tuple[Rule, str]]:
        """Each rule, in the order they are tried, with the id of its layer."""
        return placed(self.book, FILES)

    def add(self, book: Book) -> Layer:
        """Lay rules over all that are there. Raises RESOURCE_EXHAUSTED where there are too many layers."""
        if len(self.added) >= MOST_LAYERS:
            text = f"{MOST_LAYERS} layers of rules were added in this session; remove some, or add rules together"
            raise Status(Code.RESOURCE_EXHAUSTED, text)
        if len(self.state.chosen) > MOST_COUNTERS:
            self._forget_counters()
        self.numbered += 1
        layer = Layer(f"r{self.numbered}", book)
        self.added.insert(0, layer)
        self._restack()
        return layer

    def place(self, where: str) -> str:
        """How rules that are laid at `where` in a program are told from those laid there before: the line of a loop
        lays many.
        """
        place, n = where, 1
        while place in self._laid:
            n += 1
            place = f"{where} ({n})"
        self._laid.add(place)
        return place

    def _forget_counters(self) -> None:
        """Forget how often rules were chosen that are gone."""
        there = {rule.identity for rule in self.book.rules}
        chosen = self.state.chosen
        self.state.chosen = {one: n for one, n in chosen.items() if one in there or one.startswith("\0")}

    def replace(self, book: Book | None) -> None:
        """Replace the session's own rules; None takes them away."""
        self.own = Layer(OWN, book) if book is not None else None
        self._restack()

    def remove(self, layer_id: str = "") -> int:
        """Take away a layer that was added, or all of them; the number of rules that went. Raises NOT_FOUND."""
        gone = [layer for layer in self.added if layer_id in ("", layer.id)]
        if layer_id and not gone:
            there = ", ".join(layer.id for layer in self.added) or "none"
            raise Status(Code.NOT_FOUND, f"no layer {layer_id} of added rules; there is {there}")
        self.added = [layer for layer in self.added if layer not in gone]
        self._restack()
        return sum(len(layer.book.rules) for layer in gone)

    def lay(self, layers: Sequence[Layer], numbered: int) -> None:
        """Have exactly these layers over the files', the first tried first; `numbered` layers were ever added."""
        self.own = next((layer for layer in layers if layer.id == OWN), None)
        self.added = [layer for layer in layers if layer.id != OWN]
        self.numbered = numbered
        self._laid.update(given.name for layer in layers for given in layer.book.given)
        self._restack()

    def _restack(self) -> None:
        self._book, files = None, self.home.book
        self.home.lies_over(self.id, any(layer.book.pausing for layer in self.layers if layer.book is not files))

    def owns(self, id: str) -> bool:
        """Whether that is the id of an operation, a batch task or a dataset which this session has."""
        return id in self.operations or self.operations.of_task(id) is not None or self.datasets.owns(id)

    def fail(self, share: float) -> None:
        """Have that share of calls fail with UNAVAILABLE where no rules say what goes wrong."""
        self.failing, self._failing = share, failing(share)
        self._unguarded.clear()

    # -- calls

    def counted(self, aside: bool) -> tuple[str, str, str]:
        """Count a call: its id in the journal, its request id, and its `x-server-trace-id`. Health checks and the like
        are counted apart, so that they shift nothing.
        """
        kind = "aside" if aside else "call"
        n = self.calls[kind] = self.calls[kind] + 1
        if self._asked[0] is not self.seed:
            self._asked = self.seed, {kind: self.seed.at("request", kind) for kind in self.calls}
        digits = self._asked[1][kind].number(n).hex()
        trace = digits[32:48]
        return f"{kind[0]}{n}", as_uuid(digits), f"{trace}:{digits[48:]}:{trace}:1"

    def enter(self, entry: Entry | None) -> asyncio.Task[Any] | None:
        """A call that is not answered at once begins to be answered, in the running task, which is returned; `entry` is
        None for those of tools. Calls that are answered at once need not enter: nothing happens between their beginning
        and their end.
        """
        self.holders += 1
        if entry is not None:
            self.open_calls += 1
            self.journal.add(entry)
            return self.clock.enter()
        return None

    def leave(self, entry: Entry | None, began: asyncio.Task[Any] | None) -> None:
        """Such a call has been answered, whatever became of it. Every `enter` needs one, with what that returned: a
        stream that waits for its client may end in any task.
        """
        self.holders -= 1
        if entry is not None:
            self.open_calls -= 1
            self.clock.leave(began)
            if self.journal.holds(entry):  # else the session was reset meanwhile
                self._closed(entry)
                self.journal.close(entry)

    def answered(self, entry: Entry) -> None:
        """A call of a program was answered at once."""
        if entry.code != "OK" or entry.unmatched or entry.spent:
            self._closed(entry)
        self.journal.keep(entry)

    def _closed(self, entry: Entry) -> None:
        self.habits.closed(entry)
        self.tally.closed(entry)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Somebody uses the session meanwhile, so it is not idle."""
        self.holders += 1
        try:
            yield
        finally:
            self.holders -= 1
            self.used = Monotonic.now()

    @property
    def account(self) -> str:
        """The service account that `created_by` names."""
        return self.seed.identifier("aje", "account")

    def named(self, entry_id: str) -> str:
        """How a person names a call of this session to `fm-emulator explain`."""
        return f"{entry_id} --session {self.id}" if self.id else entry_id

    def open(self) -> None:
        """Let calls come, and wait for as long as they like; where what was stored was let go of, operations on it go,
        too.
        """
        self.clock.open()
        if self.datasets.store.open():
            for call in (BATCH, VALIDATION):
                self.operations.forget(call)

    def let_go(self) -> list[asyncio.Task[Any]]:
        """Let go of what is stored and end the work on it. Returns what is cancelled, and may still end."""
        batches = [record.batch for record in self.operations.batches() if record.batch is not None]
        ending = {*self.datasets.under_way(), *(task for batch in batches for task in batch.under_way())}
        for batch in batches:
            batch.close()
        self.datasets.close()
        return list(ending)

    # -- verification and the way back

    def verify(self, checks: Sequence[str]) -> Report:
        """Hold what happened against what was expected; `checks` as in `engine.verify.CHECKS`."""
        from .engine.verify import verify

        return verify(self.book, self.state, self.tally, self.operations, self.journal, checks)

    def reset(self, parts: Sequence[str] = ()) -> None:
        """Back to how the session began: the named parts, all of them if none is."""
        for part in parts or PARTS:
            getattr(self, f"_reset_{part}")()
        if set(PARTS) <= set(parts or PARTS):
            self._as_configured()

    def _as_configured(self) -> None:
        """What only a restore changes."""
        self.strict, self.immediate = self.config.strict, self.config.immediate
        self.fail(self.config.chaos)
        root = Seed(self.config.seed)
        self.seed = root.at("session", self.id) if self.id else root

    def _reset_rules(self) -> None:
        self.shared = self.home
        self.lay((), self.numbered)

    def _reset_counters(self) -> None:
        self.state = State(scenario=self.state.scenario)

    def _reset_states(self) -> None:
        self.state.scenario.clear()

    def _reset_journal(self) -> None:
        self.journal.clear()
        self._laid = {given.name for layer in self.added for given in layer.book.given}
        self.calls = {"call": 0, "aside": 0}
        self.tally.clear()
        self.habits = Habits()

    def _reset_operations(self) -> None:
        self.generation += 1
        self.datasets.let_go()
        self.operations.clear()

    def _reset_datasets(self) -> None:
        self.datasets.clear()
        self.operations.forget(VALIDATION)

    def _reset_clock(self) -> None:
        start = Clock(self.config.now, frozen=True).now()
        self.clock.set(start, self.config.frozen, self.config.speed)
        self.began = start
        self.operations.put_back()

    def _reset_iam_tokens(self) -> None:
        self.tokens.clear()

    def _reset_quotas(self) -> None:
        self.quotas.begin(self.config.quotas)
        self._unguarded.clear()

    def _reset_idempotency(self) -> None:
        self.idempotency.clear()


class Sessions:
    """All sessions of a server, by id; `default` is the one it began with."""

    def __init__(self, shared: Shared, config: Config) -> None:
        self.shared, self._config = shared, config
        self._room = Room(config.max_stored)
        self.default = Session("", shared, config, self._room)
        self._all: dict[str, Session] = {"": self.default}
        self._closed = False

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    @property
    def max_streams(self) -> int:
        """How many calls, and how many requests over HTTP, may be under way at once."""
        return self._config.max_streams

    def get(self, id: str) -> Session | None:
        """The session of that id, if it has begun."""
        return self._all.get(id)

    def named(self, id: str) -> Session:
        """The session of that id, which begins now if it hasn't. Raises RESOURCE_EXHAUSTED at the limit."""
        session = self._all.get(id)
        if session is None:
            self._sweep()
            most = self._config.max_sessions
            if len(self._all) > most:
                text = f"there are {most} sessions in use; delete some, lower --session-idle, or raise --max-sessions"
                raise Status(Code.RESOURCE_EXHAUSTED, text)
            session = self._all[id] = Session(id, self.shared, self._config, self._room)
            if self._closed:
                session.clock.close()
        session.used = Monotonic.now()
        return session

    def owner(self, id: str) -> Session | None:
        """The session whose operation, batch task or dataset that is."""
        return next((s for s in self._all.values() if s.owns(id)), None)

    def delete(self, id: str) -> None:
        """End a session: calls that wait in it get CANCELLED, which nobody retries.

        Raises NOT_FOUND, and INVALID_ARGUMENT for the one that a server begins with.
        """
        if not id:
            raise Status(Code.INVALID_ARGUMENT, "the session that a server begins with stays; reset it")
        if id not in self._all:
            raise Status(Code.NOT_FOUND, f"no such session: {id}; there is {self._there()}")
        self._drop(id, "it was deleted")

    def open(self) -> None:
        """Let calls wait for as long as they like."""
        self._closed = False
        for session in self:
            session.open()

    def close(self, why: Status | None = None) -> None:
        """Let go of everyone who waits for long, now or later, with `why`; see `Clock.close`."""
        self._closed = True
        for session in self:
            session.clock.close(why)

    def end(self, why: str) -> None:
        """All of them are over, since others stand in their place."""
        for session in self:
            session.over = why
        self.close(Status(Code.CANCELLED, why))
        self.clear()

    def clear(self) -> list[asyncio.Task[Any]]:
        """Let go of what sessions have stored; calls to them are over. Returns what is cancelled, and may still end."""
        return [task for session in self for task in session.let_go()]

    def _there(self) -> str:
        return ", ".join(id for id in self._all if id) or "none but the first"

    def _sweep(self) -> None:
        now = Monotonic.now()
        for session in self:
            if session.id and not session.holders and now - session.used > self._config.session_idle:
                self._drop(session.id, f"nobody used it for {self._config.session_idle:g} s")

    def _drop(self, id: str, why: str) -> None:
        session = self._all.pop(id)
        session.over = why
        self.shared.lies_over(id, False)
        session.clock.close(Status(Code.CANCELLED, f"the session {id} is over"))
        session.let_go()
