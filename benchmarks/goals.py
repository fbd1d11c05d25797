"""What the emulator is to reach, and whether a run shows that it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from . import npm, servers, startup, streams, unary
from .results import LESS, MORE, Figure, Results, times

LAYOUT = servers.EACH
"""Throughput is compared with server and client on a core each, where there are two: it varies least. The bare server
is grpc.aio by itself; the emulator is what users get, on uvloop where that is installed, and beside it without.
"""


def _unsaid(found: Results) -> float | None:
    return None


@dataclass(frozen=True)
class Goal:
    """A bound on a number of a run: at least, where MORE is better, or at most so much of it, in `unit`."""

    what: str
    bound: float
    better: str
    measured: Callable[[Results], float | None]
    unit: str = ""
    by_cpu: Callable[[Results], float | None] = _unsaid
    """The same by the server's CPU a call, which a busy machine changes less."""

    def met(self, value: float) -> bool:
        """Whether that is good enough."""
        return value >= self.bound if self.better == MORE else value <= self.bound


def _figure(found: Results, case: str, row: str, server: str, measure: str) -> Figure | None:
    in_layouts = (f"{row}, {LAYOUT}", f"{row}, {servers.BOTH}", row)
    of = (server, servers.EMULATOR) if server == servers.NO_UVLOOP else (server,)  # it may not be there at all
    return next(filter(None, (found.find(case, name, one, measure) for one in of for name in in_layouts)), None)


def _ratio(case: str, row: str, server: str, measure: str) -> Callable[[Results], float | None]:
    def measured(found: Results) -> float | None:
        figure = _figure(found, case, row, server, measure)
        return None if figure is None else figure.ratio

    return measured


def _between(
    case: str, ours: tuple[str, str], theirs: tuple[str, str], measure: str
) -> Callable[[Results], float | None]:
    """One row and server beside another of the same rounds."""

    def measured(found: Results) -> float | None:
        one, other = (_figure(found, case, *key, measure) for key in (ours, theirs))
        if one is None or other is None:
            return None
        return Figure(case, "", "", measure, "", one.better, one.rounds, other.rounds).ratio

    return measured


def _value(case: str, server: str, measure: str, row: Callable[[str], bool]) -> Callable[[Results], float | None]:
    def measured(found: Results) -> float | None:
        figures = [f for f in found.figures if (f.case, f.server, f.measure) == (case, server, measure) and row(f.row)]
        return max(f.value for f in figures) if figures else None

    return measured


_EMULATOR, _PLAIN, _NATIVE, _PEER = servers.EMULATOR, servers.NO_UVLOOP, servers.NATIVE, npm.NAME
_LAST, _NEW = "100 rules, last", f"100 rules, last, {unary.NEW}"
_MOST, _ONE = ("10,000 rules, last", _EMULATOR), ("1 rule, first", _EMULATOR)
_MOST_NEW, _ONE_NEW = ((f"{name}, {unary.NEW}", _EMULATOR) for name in ("10,000 rules, last", "1 rule, first"))


def _calls(what: str, bound: float, row: str, server: str) -> Goal:
    """Completions a second, beside the bare server."""
    return Goal(
        what, bound, MORE, _ratio("unary", row, server, "throughput"), by_cpu=_ratio("unary", row, server, "cpu")
    )


def _flat(what: str, most: tuple[str, str], one: tuple[str, str]) -> Goal:
    """Completions a second by most rules, beside those by one."""
    return Goal(
        what,
        0.90,
        MORE,
        _between("unary", most, one, "throughput"),
        by_cpu=_between("unary", most, one, "cpu"),
    )


def _chunks(what: str, server: str) -> Goal:
    """Chunks a second, beside the bare server."""
    return Goal(
        what,
        0.95,
        MORE,
        _ratio("stream", streams.ROW, server, "throughput"),
        by_cpu=_ratio("stream", streams.ROW, server, "cpu"),
    )


GOALS = (
    _calls("unary, 100 rules, the last matching: to bare grpc.aio", 0.90, _LAST, _EMULATOR),
    _calls("unary, without uvloop", 0.90, _LAST, _PLAIN),
    _calls("unary, questions never asked before", 0.90, _NEW, _EMULATOR),
    _flat("10,000 rules, the last matching: to 1 rule", _MOST, _ONE),
    _flat("10,000 rules, questions never asked before", _MOST_NEW, _ONE_NEW),
    _calls("native engine, 100 rules: to bare grpc.aio", 5.0, _LAST, _NATIVE),
    _calls("native engine, questions never asked before", 5.0, _NEW, _NATIVE),
    Goal(
        "native engine: to a mock server of npm",
        1.5,
        MORE,
        _between("npm", ("unary", _NATIVE), ("unary", _PEER), "throughput"),
        by_cpu=_between("npm", ("unary", _NATIVE), ("unary", _PEER), "cpu"),
    ),
    _chunks("streaming, chunks: to bare grpc.aio", _EMULATOR),
    _chunks("streaming, without uvloop", _PLAIN),
    Goal(
        "pacing, 100 streams at 50 ms: overrun at p99",
        40,
        LESS,
        _value("pacing", _EMULATOR, "overrun p99", "100 streams".__eq__),
        "ms",
    ),
    Goal("burst on one channel: failures", 0, LESS, _value("burst", _EMULATOR, "failures", bool)),
    Goal(
        "start to serving, 10 rules: to a process that imports grpc.aio",
        1.6,
        LESS,
        _ratio("start", "10 rules", _EMULATOR, f"to {startup.IMPORT}"),
    ),
    Goal("idle memory, no fixtures: to bare grpc.aio", 1.3, LESS, _ratio("start", "no fixtures", _EMULATOR, "memory")),
    Goal(
        "a pending operation, reply prepared at load",
        250,
        LESS,
        _value("operations", _EMULATOR, "memory", lambda row: row.endswith("prepared at load")),
        "B",
    ),
    Goal(
        "a pending operation, beside its reply, from a template",
        250,
        LESS,
        _value("operations", _EMULATOR, "memory", lambda row: row.endswith("from a template")),
        "B",
    ),
)


def table(found: Results) -> list[list[str]]:
    """Each goal, what was measured, and whether it is met; of what was not measured it says that."""
    lines = [["what", "goal", "measured", "", "by CPU"]]
    for goal in GOALS:
        value = goal.measured(found)
        bound = f"{'>=' if goal.better == MORE else '<='} {goal.bound:,g} {goal.unit}".strip()
        told = ["-", "not measured"] if value is None else [_told(value, goal), "met" if goal.met(value) else "missed"]
        by_cpu = goal.by_cpu(found)
        lines.append([goal.what, bound, *told, "" if by_cpu is None else times(1 / by_cpu)])
    return lines


def _told(value: float, goal: Goal) -> str:
    return f"{value:,.0f} {goal.unit}".strip() if goal.unit or not goal.bound else times(value)
