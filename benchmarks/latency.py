"""`latency`: what a client sees that makes one call at a time, with grpcio."""

from __future__ import annotations

import functools
import time
from contextlib import ExitStack
from typing import Any

import grpc

from . import questions, servers
from .bare import SERVICE
from .results import LESS, Figure
from .run import Run, interleaved
from .streams import percentile

CALLS = 500
"""A round."""


def measured(run: Run) -> list[Figure]:
    """ms from calling to the reply, at p50 and p99 of each round."""
    with ExitStack() as stack:
        subjects: dict[str, tuple[Any, str]] = {
            servers.BARE: (stack.enter_context(servers.bare(run.folder)), f"/{SERVICE}/One")
        }
        fixtures = questions.fixture(run.folder, 100)
        for variant in run.variants:
            server = stack.enter_context(servers.emulator(run.folder, fixtures, variant))
            subjects[variant] = (server, questions.COMPLETION)
        samples = interleaved(run.times(9), tuple(subjects), functools.partial(_latency, run, subjects))
    floor = samples[servers.BARE]
    return [
        Figure("latency", "one call at a time", name, at, "ms", LESS, tuple(found[at]), tuple(floor[at]))
        for name, found in samples.items()
        for at in ("p50", "p99")
    ]


def _latency(run: Run, subjects: dict[str, tuple[Any, str]], name: str) -> dict[str, float]:
    server, path = subjects[name]
    requests = questions.requests(questions.LAST)
    calls, times = min(CALLS, run.calls), []
    options = [("grpc.use_local_subchannel_pool", 1)]
    with servers.laid_out(server, servers.BOTH), grpc.insecure_channel(server.target, options=options) as channel:
        call: Any = channel.unary_stream(path, None, None)
        for n in range(calls + 20):
            began = time.perf_counter()
            for _ in call(requests[n % len(requests)], timeout=60):
                pass
            times.append((time.perf_counter() - began) * 1000)
    return {"p50": percentile(times[20:], 50), "p99": percentile(times[20:], 99)}
