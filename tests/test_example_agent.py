"""The application in examples/agent passes its own suite, types and lint, as its reader would run them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
AGENT = ROOT / "examples" / "agent"
TESTS = 42
"""How many there are; examples/README.md says it too."""


def run(*command: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m ...` with this interpreter; one that fails says what it said."""
    done = subprocess.run(
        (sys.executable, "-m", *command),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=300,
    )
    assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}{done.stderr}"
    return done


@pytest.mark.slow
def test_the_examples_suite_passes_without_a_warning() -> None:
    done = run("pytest", "examples/agent", "-W", "error", "-p", "no:cacheprovider", PYTHONDONTWRITEBYTECODE="1")
    assert re.search(rf"^{TESTS} passed in ", done.stdout, re.MULTILINE), done.stdout


def test_the_readme_says_how_many_tests_there_are() -> None:
    assert f"{TESTS} tests" in (ROOT / "examples" / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_example_is_typed(tmp_path: Path) -> None:
    # An editable install is not seen by mypy, so it is told where the emulator is.
    run("mypy", "--strict", "assistant", "tests", "--cache-dir", str(tmp_path), cwd=AGENT, MYPYPATH=str(ROOT))


def test_the_example_is_linted_and_formatted() -> None:
    run("ruff", "check", "--no-cache", "examples")
    run("ruff", "format", "--no-cache", "--check", "examples")


def test_the_application_knows_nothing_of_the_emulator() -> None:
    for file in (AGENT / "assistant").glob("*.py"):
        assert "emulator" not in file.read_text(encoding="utf-8"), file
