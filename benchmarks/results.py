"""What was measured: figures a round, their medians and ratios; as tables, as JSON, and beside an earlier run."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MORE, LESS = "more", "less"
"""Which is better."""

_PACKAGES = (
    "fm-emulator",
    "grpcio",
    "protobuf",
    "uvloop",
    "pygrpc-native",
    "ahocorasick-rs",
    "msgspec",
    "regex",
    "pyarrow",
)


@dataclass(frozen=True)
class Figure:
    """One thing measured: `case` and `row` say what was done, `server` by whom, `measure` and `unit` what is counted.

    `rounds` has a value a round; `floor` that of what it is compared with, in the same rounds, or nothing. `better`
    is MORE or LESS.
    """

    case: str
    row: str
    server: str
    measure: str
    unit: str
    better: str
    rounds: tuple[float, ...]
    floor: tuple[float, ...] = ()

    @property
    def value(self) -> float:
        """The median of the rounds."""
        return statistics.median(self.rounds)

    @property
    def ratio(self) -> float | None:
        """The median of each round's ratio to the floor; None where there is none."""
        ratios = [ours / floor for ours, floor in zip(self.rounds, self.floor, strict=False) if floor]
        return statistics.median(ratios) if ratios else None

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What it is a figure of."""
        return self.case, self.row, self.server, self.measure


@dataclass
class Results:
    """A run: where and when, with what, its figures, and remarks such as what was left out and why."""

    figures: list[Figure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    date: str = ""
    machine: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    @property
    def cases(self) -> list[str]:
        """In the order they were run."""
        return list(dict.fromkeys(figure.case for figure in self.figures))

    def of(self, case: str) -> list[Figure]:
        """The figures of a case."""
        return [figure for figure in self.figures if figure.case == case]

    def find(self, case: str, row: str, server: str, measure: str) -> Figure | None:
        """The figure of that key."""
        return next((f for f in self.figures if f.key == (case, row, server, measure)), None)

    @property
    def about(self) -> str:
        """Date, machine and versions, in a line."""
        of = ", ".join(f"{name} {version}" for name, version in self.versions.items() if name != "fm-emulator")
        where = f"{self.machine.get('processor', '')}, {self.machine.get('cores')} cores".strip(", ")
        return f"{self.date[:10]}, {where}, {self.machine.get('system', '')}; {of}"


def here() -> Results:
    """An empty run, of now and of this machine."""
    versions = {"Python": platform.python_version()}
    for name in _PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    machine = {
        "processor": _processor(),
        "architecture": platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release().split('-')[0]}",
        "load": os.getloadavg()[0],
    }
    date = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    return Results(date=date, machine=machine, versions=versions)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def to_json(results: Results) -> str:
    """A run as JSON, with each round's values and the medians made of them."""
    figures = [
        {
            "case": f.case,
            "row": f.row,
            "server": f.server,
            "measure": f.measure,
            "unit": f.unit,
            "better": f.better,
            "median": f.value,
            "ratio": f.ratio,
            "rounds": f.rounds,
            "floor": f.floor,
        }
        for f in results.figures
    ]
    about = {"date": results.date, "machine": results.machine, "versions": results.versions, "notes": results.notes}
    return json.dumps({**about, "figures": figures}, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> Results:
    """The run that `to_json` wrote. Raises ValueError, which says what is wrong with it."""
    try:
        read = json.loads(text)
        names = [name for name in Figure.__dataclass_fields__ if name not in ("rounds", "floor")]
        figures = [
            Figure(**{n: f[n] for n in names}, rounds=tuple(f["rounds"]), floor=tuple(f["floor"]))
            for f in read["figures"]
        ]
        return Results(figures, list(read["notes"]), read["date"], read["machine"], read["versions"])
    except (KeyError, TypeError, json.JSONDecodeError) as failed:
        raise ValueError(f"not the JSON of a run of these benchmarks: {failed!r}") from failed


def number(value: float, unit: str) -> str:
    """A value in three digits or more, with its unit."""
    if value and abs(value) < 0.995:
        text = f"{value:.2f}"
    else:
        text = f"{value:.1f}" if abs(value) < 99.5 and not float(value).is_integer() else f"{value:,.0f}"
    return f"{text} {unit}".rstrip()


def times(ratio: float) -> str:
    """A ratio in two digits after the point, or two that say something."""
    return f"{ratio:.2f}" if ratio >= 0.095 else f"{ratio:.2g}"


def rows_of(figures: Iterable[Figure]) -> list[list[str]]:
    """A case as a table: a line for each row and server, a column for each measure and for its ratio to the floor."""
    found = list(figures)
    measures = list(dict.fromkeys(f.measure for f in found))
    with_ratio = {f.measure for f in found if f.floor}
    head = ["", "server"]
    for measure in measures:
        head += [measure, "ratio"] if measure in with_ratio else [measure]
    lines: dict[tuple[str, str], dict[str, Figure]] = {}
    for row in dict.fromkeys(f.row for f in found):
        for f in found:
            if f.row == row:
                lines.setdefault((row, f.server), {})[f.measure] = f
    table = [head]
    for (row, server), by_measure in lines.items():
        line = [row, server]
        for measure in measures:
            figure = by_measure.get(measure)
            line.append("" if figure is None else number(figure.value, figure.unit))
            if measure in with_ratio:
                ratio = None if figure is None else figure.ratio
                line.append("" if ratio is None else times(ratio))
        table.append(line)
    return table


def compared(earlier: Results, later: Results) -> list[list[str]]:
    """What changed, case by case: the median of each figure that both have, and its ratio to the floor of its run."""
    before = {figure.key: figure for figure in earlier.figures}
    table = [["case", "", "server", "measure", "earlier", "now", "change", "ratio", "now", "change"]]
    for f in later.figures:
        old = before.get(f.key)
        if old is None:
            continue
        ratio = ["", "", ""]
        if f.ratio is not None and old.ratio is not None:
            ratio = [times(old.ratio), times(f.ratio), change(old.ratio, f.ratio, f.better)]
        values = [number(old.value, old.unit), number(f.value, f.unit), change(old.value, f.value, f.better)]
        table.append([f.case, f.row, f.server, f.measure, *values, *ratio])
    return table


def change(before: float, after: float, better: str) -> str:
    """By how many per cent it has changed, and `worse` or `better` from 5 % on."""
    if before == after:
        return "0 %"
    if not before:
        return "worse" if (after > 0) == (better == LESS) else "better"
    percent = (after / before - 1) * 100
    word = "" if abs(percent) < 5 else " better" if (percent > 0) == (better == MORE) else " worse"
    return f"{percent:+.0f} %{word}"


def as_text(table: Sequence[Sequence[str]]) -> str:
    """A table for a terminal; columns of numbers stand to the right."""
    widths = [max(len(line[n]) for line in table) for n in range(len(table[0]))]
    right = [
        bool(head) and all(not line[n] or line[n][0] in "+-0123456789" for line in table[1:])
        for n, head in enumerate(table[0])
    ]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if to_the_right else cell.ljust(width)
            for cell, width, to_the_right in zip(line, widths, right, strict=True)
        ).rstrip()
        for line in table
    )


def as_markdown(table: Sequence[Sequence[str]]) -> str:
    """A table for a page."""
    lines = [f"| {' | '.join(line)} |" for line in table]
    return "\n".join([lines[0], f"|{' --- |' * len(table[0])}", *lines[1:]]).replace("|  |", "| |")
