"""Benchmarks: `python -m benchmarks [CASE ...] [--rounds N] [--rows N] [--operations N] [--json
FILE]`; all cases if none is named.

Figures of one machine mean little on another; ratios travel better, so that is what is compared. `start` runs beside a
bare grpc.aio server, interleaved, and prints the medians of the ratios with the absolute medians beside them; `batch`
compares the latency of other calls during a large batch with that before it; `operations` compares the rates of equal
quarters.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

from . import startup

CASES = {"no fixtures": 0, "10 rules": 10, "10000 rules": 10_000}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help="start, batch, operations (default: all)")
    parser.add_argument("--rounds", type=int, default=15, help="start: runs of each server (default 15)")
    parser.add_argument("--rows", type=int, default=1_000_000, help="batch: rows of the dataset (default 1,000,000)")
    parser.add_argument("--operations", type=int, default=1_000_000, help="operations: how many (default 1,000,000)")
    parser.add_argument("--json", metavar="FILE", help="write the figures there as well")
    args = parser.parse_args()
    figures: dict[str, Any] = {}
    print(f"Python {platform.python_version()}, {platform.machine()}")
    cases = ("start", "batch", "operations")
    for case in args.cases or cases:
        if case not in cases:
            parser.error(f"no such case: {case}; there are {', '.join(cases)}")
        with tempfile.TemporaryDirectory() as folder:
            if case == "operations":
                figures[case] = _operations(Path(folder), args.operations)
                continue
            figures[case] = _start(Path(folder), args.rounds) if case == "start" else _batch(Path(folder), args.rows)
    if args.json:
        Path(args.json).write_text(json.dumps(figures, indent=2) + "\n")


def _start(folder: Path, rounds: int) -> dict[str, dict[str, float]]:
    rows = {name: measured(n, folder, rounds if n < 1000 else 3) for name, n in CASES.items()}
    print(f"\nstart to serving, {rounds} rounds; ratios to bare grpc.aio")
    print(f"{'':<14}{'start':>9}{'bare':>9}{'ratio':>8}{'memory':>12}{'bare':>10}{'ratio':>8}")
    for name, row in rows.items():
        print(
            f"{name:<14}{row['start_ms']:>6.0f} ms{row['bare_start_ms']:>6.0f} ms{row['start_ratio']:>8.2f}"
            f"{row['memory_mb']:>9.1f} MB{row['bare_memory_mb']:>7.1f} MB{row['memory_ratio']:>8.2f}"
        )
    return rows


def _batch(folder: Path, rows: int) -> dict[str, Any]:
    from . import batch

    figures = batch.measured(rows, folder)
    print("\nbatch; ratios to the latency before")
    print(batch.shown(figures))
    return figures


def _operations(folder: Path, n: int) -> dict[str, Any]:
    from . import operations

    print("\noperations; rates of equal quarters")
    figures = {"router": operations.through_the_router(n), "socket": operations.over_a_socket(n // 5, folder)}
    for name, row in figures.items():
        print(operations.shown(name, row))
    return figures


def measured(rules: int, folder: Path, rounds: int) -> dict[str, float]:
    """Start to serving (process start until the first call is answered) and resident memory then, both servers."""
    command = startup.emulator_command(rules, folder)
    ours, bare = [], []
    for _ in range(rounds + 1):
        bare.append(startup.run(startup.bare_command(folder), folder))
        ours.append(startup.run(command, folder))
    ours, bare = ours[1:], bare[1:]  # the first round fills caches
    return {
        "start_ms": statistics.median(o.seconds for o in ours) * 1000,
        "bare_start_ms": statistics.median(b.seconds for b in bare) * 1000,
        "start_ratio": statistics.median(o.seconds / b.seconds for o, b in zip(ours, bare, strict=True)),
        "memory_mb": statistics.median(o.bytes for o in ours) / 1e6,
        "bare_memory_mb": statistics.median(b.bytes for b in bare) / 1e6,
        "memory_ratio": statistics.median(o.bytes / b.bytes for o, b in zip(ours, bare, strict=True)),
    }


if __name__ == "__main__":
    main()
