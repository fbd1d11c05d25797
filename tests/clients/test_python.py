"""The examples in Python, each on a client that PyPI has, in a virtual environment of its own."""

from __future__ import annotations

import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .environments import made
from .programs import EXAMPLES, QUESTION, RULES, build, called, plaintext, run, secured

if TYPE_CHECKING:
    from conftest import Serve

pytestmark = pytest.mark.clients

WHOLE = """\
completion: Здравствуйте! Чем помочь? (17 tokens)
stream: Здравствуйте! [PARTIAL]
stream: Здравствуйте! Чем [PARTIAL]
stream: Здравствуйте! Чем помочь? [FINAL]
deferred: Здравствуйте! Чем помочь?
"""
PRINTED = {
    "python-ai-studio": WHOLE + "".join(f"async {line}" for line in WHOLE.splitlines(keepends=True)),
    "python-cloud-ml": WHOLE + "batch: READY\n",
    "python-yandexcloud": WHOLE,
    "python-ai-studio-langchain": """\
completion: Здравствуйте! Чем помочь? (17 tokens)
stream: Здравствуйте!| Чем| помочь?|
chain: Здравствуйте! Чем помочь?
async completion: Здравствуйте! Чем помочь?
async stream: Здравствуйте!| Чем| помочь?|
""",
}
COMMUNITY = """\
completion: Здравствуйте! Чем помочь?
stream: Здравствуйте! Чем помочь?
text completion: Здравствуйте! Чем помочь?
"""


def python(name: str) -> str:
    """The interpreter of a client's own environment."""
    wanted = EXAMPLES / name / "requirements.txt"

    def make(folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        into = (sys.executable, "-m", "pip", "--python", str(folder), "--disable-pip-version-check", "install")
        build(*into, "--quiet", "--no-compile", "-r", str(wanted), folder=folder)

    return str(made(name, [wanted], make) / "bin" / "python")


def printed(name: str, question: str = QUESTION, **more: str) -> str:
    """What the program prints with the settings `more`; one that fails says what it said."""
    told = {"YC_API_KEY": "any-key", "POLL_INTERVAL": "0.1", "DATASET_ID": "fds000000000clients1", **more}
    if name != "python-yandexcloud":
        told["YC_IAM_TOKEN"] = ""  # they would prefer it
    done = run(python(name), str(EXAMPLES / name / "main.py"), question, PYTHONIOENCODING="utf-8", **told)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PRINTED)
def test_in_plaintext(serve: Serve, name: str) -> None:
    assert printed(name, **plaintext(serve(RULES, strict=True))) == PRINTED[name]


@pytest.mark.parametrize("name", PRINTED)
def test_with_tls(serve: Serve, name: str) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(emulator.ca)}
    assert printed(name, **secured(emulator), **roots) == PRINTED[name]


def test_langchain_community_with_tls(serve: Serve) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    roots = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(emulator.ca)}
    assert printed("python-langchain", YC_LLM_ENDPOINT=f"localhost:{emulator.tls_port}", **roots) == COMMUNITY


def test_the_older_sdk_waits_for_a_batch_through_its_operation(serve: Serve) -> None:
    emulator = serve(RULES, strict=True)
    printed("python-cloud-ml", **plaintext(emulator))
    calls = called(emulator)
    begun = calls.index("TextGenerationBatchService/Completion")
    assert calls[begun + 1 :] == ["OperationService/Get"] * 3 + ["DatasetService/Describe"]
