"""`stream`: chunks a second of streamed completions. `pacing`: how late paced streams end."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any

from . import questions, servers, wire
from .bare import CHUNKS, EVERY, SERVICE
from .results import LESS, Figure
from .run import Asked, Run, interleaved, under_load

ROW = f"{CHUNKS} chunks"
NOMINAL = (CHUNKS - 1) * EVERY
"""Seconds that a paced stream takes at least."""


def measured(run: Run) -> list[Figure]:
    """Chunks a second and the server's CPU a chunk."""
    requests = tuple(questions.requests(questions.FIRST, stream=True))
    path = run.folder / "streamed.yaml"
    path.write_text(questions.streamed(), encoding="utf-8")
    asked: list[Asked] = []
    with ExitStack() as stack:
        for name, flags in {servers.BARE: (), **servers.bare_variants()}.items():
            server = stack.enter_context(servers.bare(run.folder, *flags, name=name))
            asked += [Asked(ROW, name, layout, server, f"/{SERVICE}/Stream", requests) for layout in run.layouts]
        for variant in run.variants:
            server = stack.enter_context(servers.emulator(run.folder, path, variant))
            asked += [Asked(ROW, variant, layout, server, questions.COMPLETION, requests) for layout in run.layouts]
        return under_load(run, "stream", asked, run.times(5), messages="chunks")


def paced(run: Run) -> list[Figure]:
    """By how many ms the whole of a paced stream is late, at p50 and p99 of all that began at once."""
    requests = tuple(questions.requests(questions.FIRST, stream=True))
    path = run.folder / "paced.yaml"
    path.write_text(questions.streamed(f"{EVERY * 1000:.0f}ms"), encoding="utf-8")
    figures = []
    with ExitStack() as stack:
        subjects: dict[str, tuple[Any, str]] = {
            servers.BARE: (stack.enter_context(servers.bare(run.folder)), f"/{SERVICE}/Paced")
        }
        for variant in run.variants:
            server = stack.enter_context(servers.emulator(run.folder, path, variant))
            subjects[variant] = (server, questions.COMPLETION)
        for count in run.streams:
            measure = functools.partial(_late, run, subjects, requests, count)
            samples = interleaved(run.times(5), tuple(subjects), measure)
            row, floor = f"{count:,} streams", samples[servers.BARE]
            for name, found in samples.items():
                for at in ("p50", "p99"):
                    values, beside = tuple(found[at]), tuple(floor[at])
                    figures.append(Figure("pacing", row, name, f"overrun {at}", "ms", LESS, values, beside))
    return figures


def _late(
    run: Run, subjects: dict[str, tuple[Any, str]], requests: tuple[bytes, ...], count: int, name: str
) -> dict[str, float]:
    server, path = subjects[name]
    with servers.laid_out(server, run.layouts[0]), wire.Client(server.target, path, requests) as client:
        client.run(min(count, 10), calls=min(count, 10))
        outcome = client.run(count, calls=count, keep=True)
    run.failed(f"pacing: {count} streams, {name}", outcome)
    short = sum(len(messages) != CHUNKS for messages in outcome.replies)
    if short:
        run.note(f"pacing: {count} streams, {name}: {short} streams had not {CHUNKS} chunks")
    late = [(seconds - NOMINAL) * 1000 for seconds in outcome.times]
    return {"p50": percentile(late, 50), "p99": percentile(late, 99)}


def percentile(values: list[float], percent: float) -> float:
    """The smallest value that at least so many per cent of all don't exceed (nearest rank)."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]
