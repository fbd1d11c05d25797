"""The example in Go, on the official SDK, built and run."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from .environments import made
from .programs import CALLED, EXAMPLES, FOUND, PRINTED, QUESTION, RULES, behind, build, called, plaintext, run, secured

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve

pytestmark = pytest.mark.clients
SOURCE = EXAMPLES / "go"
OLDEST = (1, 23)


@pytest.fixture(scope="session")
def program() -> str:
    """The program, built."""
    if shutil.which("go") is None:
        pytest.skip("there is no go on PATH")
    said = subprocess.run(["go", "version"], capture_output=True, text=True, timeout=60).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        pytest.skip(
            f"the official SDK needs Go {OLDEST[0]}.{OLDEST[1]}; here is {said.strip() or 'one that is broken'}"
        )

    def make(folder: Path) -> None:
        build("go", "build", "-mod=readonly", "-o", str(folder / "client"), ".", folder=SOURCE)

    return str(made("go", [SOURCE / name for name in ("main.go", "go.mod", "go.sum")], make) / "client")


def test_it_completes_streams_and_waits_in_plaintext(program: str, serve: Serve) -> None:
    emulator = serve(RULES, strict=True)
    done = run(program, QUESTION, **plaintext(emulator))
    assert (done.stdout, done.stderr) == (PRINTED, "")
    assert called(emulator) == CALLED


def test_it_finds_its_addresses_and_calls_them_with_tls(program: str, serve: Serve) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    done = run(program, QUESTION, SSL_CERT_FILE=str(emulator.ca), **secured(emulator))
    assert (done.stdout, done.stderr) == (PRINTED, "")
    assert called(emulator) == FOUND + CALLED


def test_it_runs_at_its_default_hosts(program: str) -> None:
    done = run(*behind(program, QUESTION))
    assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
    assert "api.cloud.yandex.net:443" in done.stderr


def test_a_refusal_is_told(program: str, serve: Serve) -> None:
    done = run(program, "Какая квота?", **plaintext(serve(RULES)))
    assert done.returncode == 1
    assert done.stderr == "completion: rpc error: code = ResourceExhausted desc = quota is over\n"
