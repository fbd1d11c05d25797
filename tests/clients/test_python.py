"""The examples in Python, each on a client that PyPI has, in a virtual environment of its own."""

from __future__ import annotations

import sys
import venv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .environments import made
from .programs import EXAMPLES, QUESTION, RULES, behind, build, called, plaintext, run, secured

if TYPE_CHECKING:
    import subprocess

    from conftest import Serve

    from emulator import Emulator

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
DEFERRED = """\
deferred: Здравствуйте! Чем помочь?
deferred text: Здравствуйте! Чем помочь?
"""
DATASET = "fds000000000clients1"


def python(name: str) -> str:
    """The interpreter of a client's own environment."""
    wanted = EXAMPLES / name / "requirements.txt"

    def make(folder: Path) -> None:
        venv.create(folder, with_pip=False, symlinks=True)
        into = (sys.executable, "-m", "pip", "--python", str(folder), "--disable-pip-version-check", "install")
        build(*into, "--quiet", "--no-compile", "-r", str(wanted), folder=folder)

    return str(made(name, [wanted], make) / "bin" / "python")


def program(name: str, question: str = QUESTION) -> tuple[str, ...]:
    return python(name), str(EXAMPLES / name / "main.py"), question


def settings(name: str) -> dict[str, str]:
    """What the program is told wherever it runs. One that takes a key is given no token, which it would prefer."""
    told = {"YC_API_KEY": "any-key", "POLL_INTERVAL": "0.1", "DATASET_ID": DATASET, "PYTHONIOENCODING": "utf-8"}
    return told if name == "python-yandexcloud" else {**told, "YC_IAM_TOKEN": ""}


def trusting(emulator: Emulator) -> dict[str, str]:
    """The emulator's CA as the root of all trust."""
    return {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(emulator.ca)}


def printed(done: subprocess.CompletedProcess[str]) -> str:
    """What a program printed; one that failed says what it said."""
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_in_plaintext(serve: Serve, name: str) -> None:
    emulator = serve(RULES, strict=True)
    assert printed(run(*program(name), **settings(name), **plaintext(emulator))) == PRINTED[name]


@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_with_tls(serve: Serve, name: str) -> None:
    emulator = serve(RULES, strict=True, tls=True)
    done = run(*program(name), **settings(name), **secured(emulator), **trusting(emulator))
    assert printed(done) == PRINTED[name]


@pytest.mark.parametrize("name", PRINTED)
def test_it_runs_at_its_default_hosts(name: str) -> None:
    done = run(*behind(*program(name)), **settings(name))
    assert printed(done) == PRINTED[name]
    assert "taken: api.cloud.yandex.net:443" in done.stderr
    assert "refused" not in done.stderr


def test_the_older_sdk_waits_for_a_batch_through_its_operation(serve: Serve) -> None:
    name, emulator = "python-cloud-ml", serve(RULES, strict=True)
    printed(run(*program(name), **settings(name), **plaintext(emulator)))
    calls = called(emulator)
    begun = calls.index("TextGenerationBatchService/Completion")
    assert calls[begun + 1 :] == ["OperationService/Get"] * 3 + ["DatasetService/Describe"]


def test_langchain_community_runs_with_tls(serve: Serve) -> None:
    name, emulator = "python-langchain", serve(RULES, strict=True, tls=True)
    where = f"localhost:{emulator.tls_port}"
    done = run(*program(name), YC_LLM_ENDPOINT=where, **settings(name), **trusting(emulator))
    assert printed(done) == COMMUNITY


def test_langchain_community_runs_at_its_default_hosts_where_it_waits_for_operations_too() -> None:
    name = "python-langchain"
    done = run(*behind(*program(name)), **settings(name))
    assert printed(done) == COMMUNITY + DEFERRED
    assert "operation.api.cloud.yandex.net:443" in done.stderr


@pytest.mark.parametrize("name", PRINTED)
def test_a_refusal_is_told(serve: Serve, name: str) -> None:
    told = {**settings(name), **plaintext(serve(RULES, strict=True))}
    done = run(*program(name, "Это какой-то другой вопрос"), **told)
    assert done.returncode == 1
    assert "no rule matches" in done.stderr
