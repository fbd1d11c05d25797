"""Benchmarks: `python -m benchmarks [CASE ...]`; everything if no case is named. `--help` has the options.

Figures of one machine mean little on another; ratios travel better, so that is what is compared. Servers are measured
in turns, each once a round and another one first in each, beside a bare grpc.aio server with a constant reply; what is
told are medians, and of ratios the medians of each round's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from . import (
    burst,
    goals,
    journal,
    latency,
    memory,
    npm,
    operations,
    parts,
    plot,
    results,
    servers,
    soak,
    startup,
    streams,
    unary,
)
from .results import Figure, Results
from .run import Run


def _batch(run: Run) -> list[Figure]:
    from . import batch  # pyarrow takes its time

    return batch.figures(run)


CASES: dict[str, Callable[[Run], list[Figure]]] = {
    "start": startup.measured,
    "unary": unary.measured,
    "stream": streams.measured,
    "npm": npm.measured,
    "pacing": streams.paced,
    "burst": burst.measured,
    "latency": latency.measured,
    "parts": parts.measured,
    "memory": memory.measured,
    "journal": journal.measured,
    "operations": operations.measured,
    "batch": _batch,
    "soak": soak.measured,
}


ENGINES = {"grpc.aio": (servers.EMULATOR, servers.NO_UVLOOP), "native": (servers.NATIVE,)}
"""Variants of the emulator by what they are asked for with `--engine`."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or read what was measured, and tell it in the ways that were asked for. The exit status is 1 where what
    must hold did not.
    """
    parser = _parser()
    args = parser.parse_args(arguments)
    unknown = [case for case in args.cases if case not in CASES]
    if unknown:
        parser.error(f"no such case: {unknown[0]}; there are {', '.join(CASES)}")
    try:
        earlier = results.from_json(Path(args.compare).read_text()) if args.compare else None
        found = results.from_json(Path(args.read).read_text()) if args.read else None
    except (OSError, ValueError) as failed:
        parser.error(str(failed))
    if args.plot and Path(args.plot).suffix not in plot.FORMATS:
        parser.error(f"--plot: {args.plot} is to end in {' or '.join(plot.FORMATS)}")
    failures: list[str] = []
    if found is None:
        found = _measured(args, failures)
        if args.json:
            Path(args.json).write_text(results.to_json(found), encoding="utf-8")
    if args.markdown:
        print(_markdown(found))
    elif args.read:
        print(_text(found))
    print(f"\n{results.as_text(goals.table(found))}" if not args.markdown else "")
    if earlier is not None:
        print(f"\nsince {earlier.about}")
        print(results.as_text(results.compared(earlier, found)))
    if args.plot:
        plot.write(found, Path(args.plot))
    return 1 if failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n\n")[2])
    add = parser.add_argument
    add("cases", nargs="*", metavar="CASE", help=f"{', '.join(CASES)} (default: all)")
    add("--rounds", type=_whole, metavar="N", help="how often each server is measured (default: by case, 1 to 15)")
    add("--seconds", type=float, default=0.7, metavar="S", help="how long a load lasts each time (default 0.7)")
    add("--engine", action="append", default=[], choices=tuple(ENGINES), help="emulators to measure (default: all)")
    add("--operations", type=_whole, default=40_000, metavar="N", help="operations: how many (default 40,000)")
    add("--rows", type=_whole, default=1_000_000, metavar="N", help="batch: rows of the dataset (default 1,000,000)")
    add("--calls", type=_whole, default=100_000, metavar="N", help="soak: how many (default 100,000)")
    add("--json", metavar="FILE", help="write the figures there, each round's as well")
    add("--read", metavar="FILE", help="measure nothing; tell what was written there with --json")
    add("--compare", metavar="FILE", help="tell what changed since that run")
    add("--markdown", action="store_true", help="tables ready to be put on a page")
    add("--plot", metavar="FILE", help=f"a picture of the ratios: {', '.join(plot.FORMATS)}")
    return parser


def _whole(text: str) -> int:
    number = int(text.replace(",", "").replace("_", ""))
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not 1 or more")
    return number


def _measured(args: argparse.Namespace, failures: list[str]) -> Results:
    found = results.here()
    print(found.about, file=sys.stderr)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "fm-emulator-benchmarks"
    chosen = tuple(variant for name in args.engine for variant in ENGINES[name])
    for case in args.cases or CASES:
        print(f"{case} ...", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            run = Run(
                Path(folder),
                cache,
                lambda line: print(line, file=sys.stderr),
                rounds=args.rounds,
                seconds=args.seconds,
                operations=args.operations,
                rows=args.rows,
                soak=args.calls,
                engines=chosen,
                notes=found.notes,
                failures=failures,
            )
            try:
                figures = CASES[case](run)
            except servers.Unavailable as missing:
                run.note(str(missing))
                continue
        found.figures += figures
        if not args.markdown:
            print(f"\n{case}\n{results.as_text(results.rows_of(figures))}", flush=True)
    return found


def _text(found: Results) -> str:
    parts = [found.about, *found.notes]
    parts += [f"\n{case}\n{results.as_text(results.rows_of(found.of(case)))}" for case in found.cases]
    return "\n".join(parts)


def _markdown(found: Results) -> str:
    parts = [found.about + "."]
    parts += [f"### `{case}`\n\n{results.as_markdown(results.rows_of(found.of(case)))}" for case in found.cases]
    parts.append(f"### Goals\n\n{results.as_markdown(goals.table(found))}")
    if found.notes:
        parts.append("\n".join(f"- {note}" for note in found.notes))
    return "\n\n".join(parts)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that servers are ended, too
    sys.exit(main())
