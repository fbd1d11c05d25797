"""`burst`: thousands of calls at once on one channel of grpcio: how many fail, and how long all take."""

from __future__ import annotations

import collections
import functools
import time
from contextlib import ExitStack
from typing import Any

import grpc

from . import questions, servers
from .bare import SERVICE
from .results import LESS, Figure
from .run import Run, interleaved


def measured(run: Run) -> list[Figure]:
    """Failed calls, of which there should be none, and ms until the last reply."""
    figures = []
    with ExitStack() as stack:
        subjects: dict[str, tuple[Any, str]] = {
            servers.BARE: (stack.enter_context(servers.bare(run.folder)), f"/{SERVICE}/One")
        }
        fixtures = questions.fixture(run.folder, 100)
        for variant in run.variants:
            subjects[variant] = (
                stack.enter_context(servers.emulator(run.folder, fixtures, variant)),
                questions.COMPLETION,
            )
        samples = interleaved(run.times(3), tuple(subjects), functools.partial(_burst, run, subjects))
    for name, found in samples.items():
        row = f"{run.calls:,} calls on one channel"
        failed, floor = tuple(found["failed"]), samples[servers.BARE]
        figures.append(Figure("burst", row, name, "failures", "", LESS, failed))
        figures.append(Figure("burst", row, name, "time", "ms", LESS, tuple(found["ms"]), tuple(floor["ms"])))
    return figures


def _burst(run: Run, subjects: dict[str, tuple[Any, str]], name: str) -> dict[str, float]:
    server, path = subjects[name]
    requests = questions.requests(questions.LAST)
    with grpc.insecure_channel(server.target, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call: Any = channel.unary_unary(path, None, None)  # a stream of one message is the same on the wire
        call(requests[0], timeout=60)
        began = time.perf_counter()
        under_way = [call.future(requests[n % len(requests)], timeout=120) for n in range(run.calls)]
        codes = collections.Counter(future.code().name for future in under_way)
        ms = (time.perf_counter() - began) * 1000
    failed = run.calls - codes.pop("OK", 0)
    if failed:
        run.note(f"burst: {name}: {', '.join(f'{count} x {code}' for code, count in codes.items())}")
    return {"failed": failed, "ms": ms}
