"""What all cases share: how much is asked of them, the order of servers, and what becomes a figure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from . import servers, wire
from .results import LESS, MORE, Figure

_S = TypeVar("_S", bound=Hashable)
Samples = dict[str, list[float]]
"""What was measured in each round, by its name."""


@dataclass
class Run:
    """How much is asked: `rounds` of each server, `seconds` of load a round; None is what the case finds right. Each
    server is asked for `warm` seconds before the first, since what compiles as it runs, as Node.js does, needs that.

    `folder` is for files of the run; `cache` outlives it. `say` tells a person what is going on, `notes` collects what
    belongs beside the figures, `failures` what must not be at all.
    """

    folder: Path
    cache: Path
    say: Callable[[str], object]
    rounds: int | None = None
    seconds: float = 0.7
    warm: float = 2.0
    operations: int = 40_000
    rows: int = 1_000_000
    soak: int = 100_000
    rules: tuple[int, ...] = (1, 100, 1_000, 10_000)
    starts: tuple[int, ...] = (10, 10_000)
    calls: int = 10_000
    streams: tuple[int, ...] = (100, 1_000)
    layouts: tuple[str, ...] = field(default_factory=lambda: tuple(servers.layouts()))
    engines: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    @cached_property
    def variants(self) -> list[str]:
        """The ways to run the emulator that are measured; those that can't be are told of once."""
        return servers.variants(self.folder, self.note, self.engines)

    def times(self, default: int) -> int:
        """How many rounds a case has that would have `default`."""
        return default if self.rounds is None else self.rounds

    def note(self, line: str) -> None:
        """Say it, and keep it with the figures."""
        if line not in self.notes:
            self.notes.append(line)
            self.say(line)

    def fail(self, line: str) -> None:
        """Say it, keep it with the figures, and let the whole run fail."""
        self.note(line)
        self.failures.append(line)

    def failed(self, what: str, outcome: wire.Outcome) -> None:
        """Note calls that failed although none should."""
        if outcome.failed:
            why = ", ".join(f"{count} {reason}" for reason, count in outcome.why.items())
            self.note(f"{what}: of {outcome.calls:,} calls {outcome.failed:,} failed: {why}")


def interleaved(rounds: int, subjects: Sequence[_S], measure: Callable[[_S], dict[str, float]]) -> dict[_S, Samples]:
    """Every subject once a round, beginning with another one in each."""
    found: dict[_S, Samples] = {subject: defaultdict(list) for subject in subjects}
    for n in range(rounds):
        first = n % len(subjects)
        for subject in (*subjects[first:], *subjects[:first]):
            for name, value in measure(subject).items():
                found[subject][name].append(value)
    return found


@dataclass(frozen=True)
class Asked:
    """A server under one load: which row it makes, in which layout, and how it is asked."""

    row: str
    server: str
    layout: str
    process: Any = field(hash=False, compare=False)
    path: str
    requests: tuple[bytes, ...] = field(hash=False, compare=False)
    floor: str = "One"
    """The method of the bare server that it is compared with."""
    expected: bytes = field(default=b"", hash=False, compare=False)
    """What the last message of a reply has to have in it."""


def under_load(run: Run, case: str, asked: Sequence[Asked], rounds: int, *, messages: str = "") -> list[Figure]:
    """Throughput and CPU of all these, interleaved, each beside its floor: a bare server among them.

    With `messages`, such as "chunks", what is counted are the messages of streams and not calls.
    """

    following: dict[tuple[str, str, bytes, int], int] = {}  # the request that is next in turn

    def measure(one: Asked) -> dict[str, float]:
        first = following.get(_asked_by(one), 0)
        load = servers.loaded(one.process, one.path, one.requests, seconds=run.seconds, layout=one.layout, first=first)
        following[_asked_by(one)] = load.following
        run.failed(f"{case}: {one.row}, {one.server}, {one.layout}", load.outcome)
        if load.client > 0.9:
            run.note(f"{case}: {one.row}, {one.server}, {one.layout}: the client was the limit")
        if not messages:
            return {"throughput": load.per_second, "cpu": load.cpu}
        calls_per_message = load.per_second / load.messages_per_second if load.messages_per_second else 0.0
        return {"throughput": load.messages_per_second, "cpu": load.cpu * calls_per_message}

    for one in asked:
        for request in (one.requests[0], one.requests[-1]):
            _check(one, servers.checked(one.process.target, one.path, request))
    warmed: set[str] = set()
    for one in {_asked_by(one): one for one in asked}.values():
        with wire.Client(one.process.target, one.path, one.requests) as client:
            client.run(64, calls=len(one.requests))
            if one.process.target not in warmed:
                client.run(64, seconds=run.warm)
            following[_asked_by(one)] = client.following
        warmed.add(one.process.target)
    samples = interleaved(rounds, asked, measure)
    floors = {(one.floor, one.layout): samples[one] for one in asked if one.server == servers.BARE}
    made = []
    unit = messages or "calls"
    for one in asked:
        floor = floors[one.floor, one.layout]
        for name, unit_, better in (("throughput", f"{unit}/s", MORE), ("cpu", f"us/{unit.rstrip('s')}", LESS)):
            measured, beside = tuple(samples[one][name]), tuple(floor[name])
            made.append(Figure(case, f"{one.row}, {one.layout}", one.server, name, unit_, better, measured, beside))
    return made


def _asked_by(one: Asked) -> tuple[str, str, bytes, int]:
    """What tells the requests of a row from others that a server gets."""
    return one.process.target, one.path, one.requests[0], len(one.requests)


def _check(one: Asked, replies: list[bytes]) -> None:
    if not replies or one.expected not in replies[-1]:
        raise RuntimeError(f"{one.row}, {one.server}: {replies[-1:]!r} is not the reply that is to be measured")
