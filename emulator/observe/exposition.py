"""The counts, and what sessions hold at the moment, in Prometheus's format. Imports prometheus_client: only on demand.

What sessions hold is looked at when it is asked for, a stretch at a time, so that calls are answered in between.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from .. import __version__
from ..clock import SECOND
from ..sessions import Session, Sessions
from .metrics import BUCKETS, Metrics

STRETCH = 1000
"""Operations that are looked at in one go."""


async def exposed(metrics: Metrics, sessions: Sessions, accept: str) -> tuple[bytes, str]:
    """The body of an answer to who accepts `accept`, and its content type."""
    operations = await _operations(sessions)
    registry = CollectorRegistry()
    registry.register(_Seen([*_counted(metrics), *_held(list(sessions), operations)]))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Seen(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


async def _operations(sessions: Iterable[Session]) -> Counter[tuple[str, str]]:
    """How many operations there are by call and state."""
    found: Counter[tuple[str, str]] = Counter()
    n = 0
    for session in sessions:
        for record in session.operations:
            moment = record.moment(session.clock.now())
            found[record.call, moment.status or ("COMPLETED" if moment.done else "IN_PROGRESS")] += 1
            n += 1
            if n % STRETCH == 0:
                await asyncio.sleep(0)
    return found


def _counted(metrics: Metrics) -> Iterator[Metric]:
    calls = CounterMetricFamily(
        "fm_emulator_calls", "Calls that ended, by method, status and rule.", labels=("method", "code", "rule")
    )
    for labels, n in metrics.calls.items():
        calls.add_metric(labels, n)
    yield calls
    took = HistogramMetricFamily(
        "fm_emulator_call_duration_seconds", "Real time from a request to the end of its call.", labels=("method",)
    )
    sent = CounterMetricFamily("fm_emulator_messages_sent", "Messages that were sent.", labels=("method",))
    unmatched = CounterMetricFamily("fm_emulator_unmatched_calls", "Calls that no rule matched.", labels=("method",))
    for name, method in metrics.methods.items():
        took.add_metric((name,), _cumulated(method.buckets), method.seconds)
        sent.add_metric((name,), method.messages)
        unmatched.add_metric((name,), method.unmatched)
    yield from (took, sent, unmatched)
    refusals = CounterMetricFamily(
        "fm_emulator_refusals", "Calls that a gate refused before a service saw them.", labels=("by",)
    )
    for by, n in metrics.refusals.items():
        refusals.add_metric((by,), n)
    yield refusals


def _cumulated(buckets: list[int]) -> list[tuple[str, float]]:
    out, sum_ = [], 0
    for end, n in zip((*map(str, BUCKETS), "+Inf"), buckets, strict=True):
        sum_ += n
        out.append((end, float(sum_)))
    return out


def _held(sessions: list[Session], operations: Counter[tuple[str, str]]) -> Iterator[Metric]:
    about = GaugeMetricFamily("fm_emulator_build_info", "1, with the version.", labels=("version",))
    about.add_metric((__version__,), 1)
    yield about
    states = GaugeMetricFamily("fm_emulator_operations", "Operations, by call and state.", labels=("call", "state"))
    for labels, n in operations.items():
        states.add_metric(labels, n)
    yield states
    default = sessions[0]
    sums: tuple[tuple[str, str, Callable[[Session], float]], ...] = (
        ("calls_open", "Calls of programs that are under way, streams among them.", lambda s: s.open_calls),
        ("sleepers", "Calls that wait for the emulator's clock.", lambda s: s.clock.sleepers),
        ("datasets", "Datasets.", lambda s: len(s.datasets)),
        ("journal_calls", "Calls that the journals hold.", lambda s: len(s.journal)),
        ("journal_bytes", "What the journals hold, as they count it.", lambda s: s.journal.bytes),
        ("journal_evicted", "Calls that the journals dropped to make room.", lambda s: s.journal.evicted),
    )
    for name, help_, of in sums:
        yield GaugeMetricFamily(f"fm_emulator_{name}", help_, value=sum(map(of, sessions)))
    yield GaugeMetricFamily("fm_emulator_sessions", "Sessions.", value=len(sessions))
    yield GaugeMetricFamily("fm_emulator_rules", "Rules of the files.", value=len(default.shared.book.rules))
    yield GaugeMetricFamily(
        "fm_emulator_clock_seconds", "The emulator's clock, since the epoch.", value=default.clock.now() / SECOND
    )
