"""`memory`: resident memory of a server when it is idle, after many calls, and when its journal is full of large ones.

`start` has that at the moment of the first answer for several fixtures; here it is followed on.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from typing import Any

from emulator.api import CompletionRequest

from . import questions, servers, wire
from .bare import SERVICE
from .results import LESS, Figure
from .run import Run, interleaved

LARGE = 16
"""KB of a large request: a thousand of them are what a journal holds."""


def measured(run: Run) -> list[Figure]:
    """MB in each state, of servers started anew each round, beside a bare server that went through the same."""
    fixtures = questions.fixture(run.folder, 10)

    def measure(name: str) -> dict[str, float]:
        with ExitStack() as stack:
            if name == servers.BARE:
                return _followed(run, stack.enter_context(servers.bare(run.folder)), f"/{SERVICE}/One")
            server = stack.enter_context(servers.emulator(run.folder, fixtures, name))
            return _followed(run, server, questions.COMPLETION)

    samples = interleaved(run.times(3), (servers.BARE, *run.variants), measure)
    rows: dict[str, list[Figure]] = defaultdict(list)
    for name, found in samples.items():
        for row, values in found.items():
            beside = tuple(samples[servers.BARE][row])
            rows[row].append(Figure("memory", row, name, "resident", "MB", LESS, tuple(values), beside))
    return [figure for found in rows.values() for figure in found]


def _followed(run: Run, server: Any, path: str) -> dict[str, float]:
    found = {"idle": server.resident() / 1e6}
    with wire.Client(server.target, path, questions.requests(questions.LAST)) as client:
        run.failed(f"memory: {server.name}", client.run(64, calls=run.calls))
    found[f"after {run.calls:,} calls"] = server.resident() / 1e6
    with wire.Client(server.target, path, _large()) as client:
        run.failed(f"memory: {server.name}, large", client.run(16, calls=min(run.calls, 2_000)))
    found["journal full of large requests"] = server.resident() / 1e6
    return found


def _large() -> list[bytes]:
    made = []
    for n in range(64):
        request = CompletionRequest(model_uri=questions.MODEL)
        text = f"{n} {questions.question(n, questions.LAST)} " * LARGE
        request.messages.add(role="user", text=text)
        made.append(request.SerializeToString())
    return made
