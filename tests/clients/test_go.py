"""The example in Go, on the official SDK, built and run."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .programs import CALLED, EXAMPLES, FOUND, PRINTED, QUESTION, RULES, build, called, plaintext, run, secured

if TYPE_CHECKING:
    from conftest import Serve

pytestmark = pytest.mark.clients
SOURCE = EXAMPLES / "go"
OLDEST = (1, 23)


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program, built."""
    if shutil.which("go") is None:
        pytest.skip("there is no go on PATH")
    said = subprocess.run(["go", "version"], capture_output=True, text=True, timeout=60).stdout
    version = re.search(r"go(\d+)\.(\d+)", said)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        pytest.skip(
            f"the official SDK needs Go {OLDEST[0]}.{OLDEST[1]}; here is {said.strip() or 'one that is broken'}"
        )
    binary: Path = tmp_path_factory.mktemp("go") / "client"
    build("go", "build", "-mod=readonly", "-o", str(binary), ".", folder=SOURCE)
    return str(binary)


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


def test_a_refusal_is_told(program: str, serve: Serve) -> None:
    done = run(program, "Какая квота?", **plaintext(serve(RULES)))
    assert done.returncode == 1
    assert done.stderr == "completion: rpc error: code = ResourceExhausted desc = quota is over\n"
