"""Every case of the benchmarks runs, as small as can be, and measures what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import npm, servers
from benchmarks.__main__ import CASES
from benchmarks.run import Run

MEASURES = {
    "start": {"start", "memory", "to import grpc.aio"},
    "unary": {"throughput", "cpu"},
    "stream": {"throughput", "cpu"},
    "npm": {"throughput", "cpu"},
    "pacing": {"overrun p50", "overrun p99"},
    "burst": {"failures", "time"},
    "latency": {"p50", "p99"},
    "parts": {"cpu"},
    "memory": {"resident"},
    "journal": {"throughput", "cpu"},
    "operations": {"memory", "started", "last quarter started", "polled", "finished"},
    "batch": {"time", "p50", "p99", "worst", "rows", "resident at most", "and in processes beside"},
    "soak": {"resident", "descriptors", "threads", "throughput"},
}
NO_FLOOR_OF_THEIR_OWN = ("journal", "parts", "operations", "batch", "soak")


def small(folder: Path, notes: list[str]) -> Run:
    return Run(
        folder,
        Path.home() / ".cache" / "fm-emulator-benchmarks",
        print,
        rounds=1,
        seconds=0.05,
        warm=0.05,
        operations=50,
        rows=300,
        soak=20_000,
        rules=(1, 100),
        starts=(10,),
        calls=100,
        streams=(5,),
        engines=(servers.EMULATOR,),
        notes=notes,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.clients if case == "npm" else ()) for case in CASES]
)
def test_a_case_measures_the_emulator_and_the_floor(case: str, tmp_path: Path) -> None:
    notes: list[str] = []

    run = small(tmp_path, notes)

    figures = CASES[case](run)

    assert run.failures == []
    assert {f.measure for f in figures} == MEASURES[case]
    wanted = {servers.EMULATOR} if case in NO_FLOOR_OF_THEIR_OWN else {servers.EMULATOR, servers.BARE}
    assert wanted <= {f.server for f in figures}
    assert (npm.NAME in {f.server for f in figures}) is (case == "npm")
    assert all(f.case == case and len(f.rounds) == 1 for f in figures)
    assert all(f.rounds[0] > 0 for f in figures if f.measure in ("throughput", "cpu", "start", "time", "rows"))
    assert not [note for note in notes if "failed" in note or "had not" in note]
    assert len({f.key for f in figures}) == len(figures)


@pytest.mark.slow
def test_an_engine_that_is_not_there_is_left_out_and_told_of(tmp_path: Path) -> None:
    told: list[str] = []
    missing = "emulator, of another kind"

    with pytest.raises(KeyError):
        servers.options(missing)
    assert servers.variants(tmp_path, told.append, (servers.EMULATOR,)) == [servers.EMULATOR]
    assert told == []


@pytest.mark.slow
def test_a_process_that_is_to_run_without_uvloop_does_not_find_it(tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "uvloop.py").write_text("")
    find = "import importlib.util; print(importlib.util.find_spec('uvloop') is not None)"

    def found(variant: str) -> str:
        environment = servers.environment(variant, tmp_path)
        path = os.pathsep.join(filter(None, (environment.get("PYTHONPATH"), str(tmp_path / "site"))))
        run = subprocess.run([sys.executable, "-c", find], env={**os.environ, "PYTHONPATH": path}, capture_output=True)
        return run.stdout.decode().strip()

    assert found(servers.EMULATOR) == "True"
    assert found(servers.NO_UVLOOP) == "False"
