"""`journal`: the same call with the journal empty and full, in sessions made for it."""

from __future__ import annotations

import functools
import itertools
from contextlib import ExitStack
from typing import Any

from . import questions, servers, wire
from .results import LESS, MORE, Figure
from .run import Run

FITS = 800
"""Calls that a journal takes without letting go of others; it holds 1,000."""

_FULL = 2_000


def measured(run: Run) -> list[Figure]:
    """Throughput and CPU a call of the calls that find the journal full; the floor is those that find it empty."""
    figures = []
    with ExitStack() as stack:
        fixtures = questions.fixture(run.folder, 100)
        for variant in run.variants:
            server = stack.enter_context(servers.emulator(run.folder, fixtures, variant))
            with servers.laid_out(server, run.layouts[0]):
                figures += _compared(run, server, run.times(9))
    return figures


_sessions = itertools.count(1)


def _compared(run: Run, server: Any, rounds: int) -> list[Figure]:
    empty, full = [], []
    measure = functools.partial(_measure, run, server)
    for _ in range(rounds + 1):
        session = (("x-emulator-session", f"benchmark-{next(_sessions)}"),)
        with wire.Client(
            server.target, questions.COMPLETION, questions.requests(questions.LAST), metadata=session
        ) as c:
            c.run(64, calls=100)
            empty.append(measure(c))
            c.run(64, calls=_FULL)
            full.append(measure(c))
    return [
        Figure(
            "journal",
            row,
            server.name,
            name,
            unit,
            better,
            tuple(sample[name] for sample in found[1:]),  # the first round warms up
            tuple(sample[name] for sample in empty[1:]),
        )
        for row, found in (("empty", empty), ("full", full))
        for name, unit, better in (("throughput", "calls/s", MORE), ("cpu", "us/call", LESS))
    ]


def _measure(run: Run, server: Any, client: wire.Client) -> dict[str, float]:
    before = server.cpu()
    outcome = client.run(64, calls=FITS)
    run.failed(f"journal: {server.name}", outcome)
    return {"throughput": outcome.per_second, "cpu": (server.cpu() - before) / outcome.calls * 1e6}
