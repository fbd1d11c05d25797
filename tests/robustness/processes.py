"""`python -m emulator serve` as its users run it, to be killed, starved and flooded, and looked at from outside."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from wire.client import Client, asking, eventually

from emulator.config import ENGINES as CHOICES

ENGINE = os.environ.get("FM_EMULATOR_TEST_ENGINE")
ENGINES: list[str] = [ENGINE] if ENGINE else list(CHOICES)
"""Those that there are, or the one that is tested."""

RULES: dict[str, Any] = {
    "rules": [
        {
            "when": {"question": "вечно"},
            "reply": {"text": "раз два три", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}},
        },
        {"when": {"question": "долго"}, "reply": {"text": "раз " * 400, "stream": {"words": 1, "every": "50ms"}}},
        {"when": {"question": "скоро"}, "reply": {"text": "раз " * 20, "stream": {"words": 1, "every": "50ms"}}},
        {
            "when": {"question": "много"},
            "reply": {"text": {"generate": {"tokens": 20000}}, "stream": {"tokens": 10}},
        },
    ]
}


class Serving:
    """A server that is ready, its process and its log."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, places: dict[str, Any], engine: str) -> None:
        self.process = process
        self.engine = engine
        self.target: str = places["grpc"]
        self.http: str = places["http"]
        self.pid: int = places["pid"]
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace")

    @property
    def address(self) -> tuple[str, int]:
        host, _, port = self.target.rpartition(":")
        return host, int(port)

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def children(self) -> list[int]:
        """Processes that it has begun and that run."""
        return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]

    def answers(self) -> None:
        """Assert that a client that behaves is served, and that nothing went wrong inside."""
        with Client(self.target) as client:
            assert client.complete(asking("Привет!"), timeout=120).code == "OK"
        assert self.process.poll() is None, self.log
        assert "Traceback" not in self.log, self.log
        assert "defect" not in self.log, self.log


@contextmanager
def serving(
    folder: Path,
    engine: str = ENGINES[0],
    *arguments: str,
    rules: Any = RULES,
    before: Sequence[str] = (),
    **environment: str,
) -> Iterator[Serving]:
    """A server from when it is ready; it is killed at the end. `before` are words of the command before Python's."""
    started = start(folder, engine, *arguments, rules=rules, before=before, **environment)
    try:
        ready = folder / "ready.json"
        eventually(lambda: ready.exists() or started.poll() is not None, within=60)
        assert started.poll() is None, (folder / "log.txt").read_text("utf-8", "replace")
        yield Serving(started, folder / "log.txt", json.loads(ready.read_text()), engine)
    finally:
        started.kill()
        started.wait()


def start(
    folder: Path, engine: str, *arguments: str, rules: Any = RULES, before: Sequence[str] = (), **environment: str
) -> subprocess.Popen[bytes]:
    """The process alone, its log in log.txt of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ready.json").unlink(missing_ok=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules, allow_unicode=True), "utf-8")
    clean = {key: value for key, value in os.environ.items() if not key.startswith("FM_EMULATOR_")}
    given = {"FM_EMULATOR_READY_FILE": str(folder / "ready.json"), "FM_EMULATOR_PORT": "0", **environment}
    command = [*before, sys.executable, "-m", "emulator", "serve", "--engine", engine]
    command += ["--fixtures", str(folder / "rules.yaml"), *arguments]
    with (folder / "log.txt").open("wb") as log:
        return subprocess.Popen(command, stdout=log, stderr=log, env={**clean, **given})


def within(seconds: float, began: float) -> None:
    """Assert that it is not much longer ago: a hang would be."""
    assert time.monotonic() - began < seconds
