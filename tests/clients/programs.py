"""Client programs: what they are scripted to be answered, how they are run, what they then print."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from emulator import Emulator

EXAMPLES = Path(__file__).parents[2] / "examples" / "clients"
QUESTION = "Привет!"
RULES = EXAMPLES / "rules.yaml"
PRINTED = """\
completion: Здравствуйте! Чем помочь? (17 tokens)
stream: Здравствуйте! [PARTIAL]
stream: Здравствуйте! Чем [PARTIAL]
stream: Здравствуйте! Чем помочь? [FINAL]
operation: Async GPT Completion, done: false
deferred: Здравствуйте! Чем помочь?
"""
FOUND = ["ApiEndpointService/List"]
CALLED = [
    "TextGenerationService/Completion",
    "TextGenerationService/Completion",
    "TextGenerationAsyncService/Completion",
    "OperationService/Get",
    "OperationService/Get",
]
"""What such a program calls, after it FOUND its addresses or was told one."""

_BUILD, _RUN = 900, 90
"""Seconds: what is downloaded the first time may take long; past these something hangs."""


def build(*command: str, folder: Path) -> None:
    """Run `command` in `folder`; one that fails says what it said."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_BUILD)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout[-5000:]}{done.stderr[-5000:]}")


def run(*command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program with nothing about proxies or the cloud in its environment but what is given."""
    clean = {name: value for name, value in os.environ.items() if not _tells(name)}
    settings = {"YC_FOLDER_ID": "b1gtest", "YC_IAM_TOKEN": "t1.any", **environment}
    return subprocess.run(command, env={**clean, **settings}, capture_output=True, encoding="utf-8", timeout=_RUN)


def plaintext(emulator: Emulator) -> Mapping[str, str]:
    """The environment in which the programs call `emulator` without TLS."""
    return {"YC_API_ENDPOINT": emulator.target, "YC_PLAINTEXT": "yes"}


def secured(emulator: Emulator) -> Mapping[str, str]:
    """The environment in which they call it with TLS, and ask it for its addresses first."""
    return {"YC_API_ENDPOINT": f"localhost:{emulator.tls_port}"}


def behind(*command: str) -> tuple[str, ...]:
    """The command that runs a program as it is, at the hosts it calls by default, with an emulator behind its back."""
    return (sys.executable, "-m", "emulator", "exec", "--fixtures", str(RULES), "--strict", "--", *command)


def called(emulator: Emulator) -> list[str]:
    """The methods that were called, without their packages."""
    return [call.method.rpartition(".")[2] for call in emulator.calls()]


def _tells(name: str) -> bool:
    return name.startswith("YC_") or name.lower().endswith("_proxy") or name in ("SSL_CERT_FILE", "JAVA_TOOL_OPTIONS")
