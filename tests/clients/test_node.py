"""The example in JavaScript, on the official SDK, run by Node.js."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .environments import made
from .programs import CALLED, EXAMPLES, PRINTED, QUESTION, RULES, behind, build, called, plaintext, run, secured

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve

pytestmark = pytest.mark.clients
FILES = [EXAMPLES / "node" / name for name in ("main.js", "package.json", "package-lock.json")]


@pytest.fixture(scope="session")
def program() -> str:
    """The program, with its packages beside it."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} on PATH")

    def make(folder: Path) -> None:
        for file in FILES:
            shutil.copy(file, folder)
        build("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", folder=folder)

    return str(made("node", FILES, make) / "main.js")


def test_it_completes_streams_and_waits_in_plaintext(program: str, serve: Serve) -> None:
    emulator = serve(RULES, strict=True)
    done = run("node", program, QUESTION, **plaintext(emulator))
    assert (done.stdout, done.stderr) == (PRINTED, "")
    assert called(emulator) == CALLED


def test_it_does_so_with_tls(program: str, serve: Serve) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    done = run("node", program, QUESTION, **secured(emulator), YC_CA=str(emulator.ca))
    assert (done.stdout, done.stderr) == (PRINTED, "")
    assert called(emulator) == CALLED


def test_it_does_so_at_its_default_hosts(program: str) -> None:
    done = run(*behind("node", program, QUESTION))
    assert (done.returncode, done.stdout) == (0, PRINTED)
    assert "llm.api.cloud.yandex.net:443" in done.stderr
    assert "operation.api.cloud.yandex.net:443" in done.stderr


def test_a_refusal_is_told(program: str, serve: Serve) -> None:
    done = run("node", program, "Какая квота?", **plaintext(serve(RULES)))
    assert done.returncode == 1
    assert "RESOURCE_EXHAUSTED: quota is over" in done.stderr
