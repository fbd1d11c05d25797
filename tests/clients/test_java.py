"""The example in Java, on the official SDK, built and run."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .environments import made
from .programs import CALLED, EXAMPLES, FOUND, PRINTED, QUESTION, RULES, behind, build, called, plaintext, run, secured

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Serve

pytestmark = pytest.mark.clients
SOURCE = EXAMPLES / "java"
PASSWORD = "changeit"


@pytest.fixture(scope="session")
def program() -> str:
    """The jar, built; what it needs lies beside it."""
    for tool in ("mvn", "javac", "keytool"):
        if shutil.which(tool) is None:
            pytest.skip(f"there is no {tool} on PATH")

    def make(folder: Path) -> None:
        shutil.copy(SOURCE / "pom.xml", folder)
        shutil.copytree(SOURCE / "src", folder / "src")
        build("mvn", "-q", "-B", "package", folder=folder)

    return str(made("java", [SOURCE / "pom.xml", *SOURCE.rglob("*.java")], make) / "target" / "client.jar")


def test_it_completes_streams_and_waits_in_plaintext(program: str, serve: Serve) -> None:
    emulator = serve(RULES, strict=True)
    done = run("java", "-jar", program, QUESTION, **plaintext(emulator))
    assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
    assert called(emulator) == CALLED


def test_it_finds_its_addresses_and_calls_them_with_tls(program: str, serve: Serve, tmp_path: Path) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    store = tmp_path / "ca.p12"
    given = ("-storetype", "PKCS12", "-storepass", PASSWORD, "-keystore", str(store), "-file", str(emulator.ca))
    build("keytool", "-importcert", "-noprompt", "-alias", "fm-emulator", *given, folder=tmp_path)
    trusting = (f"-Djavax.net.ssl.trustStore={store}", f"-Djavax.net.ssl.trustStorePassword={PASSWORD}")
    done = run("java", *trusting, "-jar", program, QUESTION, **secured(emulator))
    assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
    assert called(emulator) == FOUND + CALLED


def test_it_runs_at_its_default_hosts(program: str) -> None:
    done = run(*behind("java", "-jar", program, QUESTION))
    assert (done.returncode, done.stdout) == (0, PRINTED), done.stderr
    assert "llm.api.cloud.yandex.net:443" in done.stderr
    assert "operation.api.cloud.yandex.net:443" in done.stderr


def test_a_refusal_is_told(program: str, serve: Serve) -> None:
    done = run("java", "-jar", program, "Какая квота?", **plaintext(serve(RULES)))
    assert done.returncode == 1
    assert "RESOURCE_EXHAUSTED: quota is over" in done.stderr
