"""python -m tests.fuzz [TARGET ...] [--seconds N]: fuzz them, and tell what was found."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path.insert(0, str(TESTS))

from fuzz.targets import NAMES  # noqa: E402

PATIENCE = 600
"""Seconds beyond its time that a target gets: it imports, and goes through what is there, whatever the time."""


def main() -> int:
    """The number of targets in which something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", choices=[*NAMES, []], metavar="TARGET", help=", ".join(NAMES))
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default: 60)")
    parser.add_argument("--jobs", type=int, default=1, help="targets at once (default: 1)")
    parser.add_argument("--folder", type=Path, default=Path(".fuzz"), help="where corpus and findings are kept")
    parser.add_argument("--seed", type=int, default=0, help="of the mutations (default: another each time)")
    parser.add_argument("--within", help=argparse.SUPPRESS)
    given = parser.parse_args()
    flags = [f"-max_total_time={given.seconds}", *([f"-seed={given.seed}"] if given.seed else [])]
    if given.within:
        from fuzz.fuzzing import fuzz

        fuzz(given.within, given.folder / given.within, flags)
        return 0
    with ThreadPoolExecutor(given.jobs) as jobs:
        clean = jobs.map(lambda name: _clean(name, given.folder, given.seconds, given.seed), given.targets or NAMES)
        return sum(not one for one in clean)


def _clean(name: str, folder: Path, seconds: int, seed: int) -> bool:
    """Whether nothing was found in the time."""
    options = [f"--seconds={seconds}", f"--seed={seed}", f"--folder={folder.absolute()}"]
    log = folder / name / "log"
    log.parent.mkdir(parents=True, exist_ok=True)
    found = folder / name / "found"
    before = set(found.iterdir()) if found.exists() else set()
    with log.open("wb") as output:
        command = [sys.executable, "-m", "tests.fuzz", "--within", name, *options]
        try:
            status = subprocess.run(
                command, cwd=TESTS.parent, stdout=output, stderr=output, timeout=2 * seconds + PATIENCE, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = -1
    text = log.read_text(encoding="utf-8", errors="replace")
    figures = re.findall(r"^#\d+.* cov: (\d+) ft: (\d+)", text, re.MULTILINE)
    runs = re.search(r"number_of_executed_units: (\d+)", text)
    memory = re.search(r"peak_rss_mb: +(\d+)", text)
    new = sorted(set(found.iterdir()) - before) if found.exists() else []
    told = [
        f"{int(runs[1])} runs, {int(runs[1]) / seconds:.0f} a second" if runs else "it did not come to its end",
        f"{figures[-1][0]} branches, {figures[-1][1]} features" if figures else "",
        f"{memory[1]} MiB at most" if memory else "",
        f"{len(new)} found" if new else "nothing found",
    ]
    print(f"{name}: {'; '.join(each for each in told if each)}", flush=True)
    if new or status or not runs:
        print(text[-4000:] if not new else "\n".join(f"  {path}" for path in new))
        print(f"  the whole log: {log}")
    return not new and not status and runs is not None


if __name__ == "__main__":
    sys.exit(main())
