"""How a server ends under load: killed, told to stop, told twice; what its clients see, and what is left of it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from wire.client import Client, asking, eventually, path

from emulator.api import HealthCheckRequest, HealthCheckResponse

from .frames import RawClient
from .processes import ENGINES, serving, start, within

COMPLETION = path("TextGenerationService/Completion")
FOREVER = 60
"""Seconds that nothing here may take: it would have hung."""

pytestmark = pytest.mark.slow


def outcome(call: Any) -> str:
    try:
        for _ in call:
            pass
    except grpc.RpcError:
        pass
    return str(call.code().name)


@pytest.mark.parametrize("engine", ENGINES)
def test_when_it_is_killed_clients_are_told_at_once_and_its_port_is_free(engine: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(40) as pool:
        with serving(tmp_path, engine) as served:
            clients = [Client(served.target) for _ in range(4)]
            calls = [
                client.begin(COMPLETION, asking("долго", stream=True), timeout=FOREVER)
                for client in clients
                for _ in range(10)
            ]
            for call in calls:
                next(call)
            waiting = [pool.submit(outcome, call) for call in calls]
            began = time.monotonic()
            os.kill(served.pid, signal.SIGKILL)
            assert {one.result(FOREVER) for one in waiting} == {"UNAVAILABLE"}
            within(FOREVER / 2, began)
            for client in clients:
                client.channel.close()
            assert (tmp_path / "ready.json").exists(), "nobody is left to take it away"
        # Connections to the port linger in TIME_WAIT, and the port is served again all the same.
        with serving(tmp_path, engine, "--port", str(served.address[1])) as again:
            assert again.address == served.address
            assert again.pid != served.pid
            again.answers()


def test_a_process_that_works_for_it_ends_with_it(tmp_path: Path) -> None:
    code = "import asyncio, time; from emulator.apart import in_process;asyncio.run(in_process(time.sleep, 600))"
    with subprocess.Popen([sys.executable, "-c", code]) as process:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

        def working() -> list[int]:
            pids = [int(pid) for pid in children.read_text().split()]
            # It reads what it is to do and then sleeps: two threads, of which one waits for the parent's end.
            return [pid for pid in pids if len(os.listdir(f"/proc/{pid}/task")) > 1]

        (child,) = eventually(working, within=30)
        process.kill()
        process.wait()
        eventually(lambda: gone(child), within=30)


def gone(pid: int) -> bool:
    try:
        return " Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


@pytest.mark.parametrize("engine", ENGINES)
def test_told_to_stop_under_load_it_lets_calls_finish_and_takes_no_new_ones(engine: str, tmp_path: Path) -> None:
    with serving(tmp_path, engine) as served, Client(served.target) as client, ThreadPoolExecutor(40) as pool:
        watching = client.begin("grpc.health.v1.Health/Watch", HealthCheckRequest(), timeout=FOREVER)
        assert HealthCheckResponse.FromString(next(watching)).status == 1
        soon = [client.begin(COMPLETION, asking("скоро", stream=True), timeout=FOREVER) for _ in range(20)]
        endless = [client.begin(COMPLETION, asking("вечно", stream=True), timeout=FOREVER) for _ in range(5)]
        for call in (*soon, *endless):
            next(call)
        silent = RawClient(served.target, window=10)
        silent.begin(COMPLETION, [asking("много", stream=True).SerializeToString()])
        endings = [pool.submit(outcome, call) for call in soon]
        ended = [pool.submit(outcome, call) for call in endless]
        served.process.send_signal(signal.SIGTERM)
        assert HealthCheckResponse.FromString(next(watching)).status == 2, "NOT_SERVING"
        eventually(lambda: refused(served.target), within=FOREVER)
        assert {one.result(FOREVER) for one in endings} == {"OK"}
        assert {one.result(FOREVER) for one in ended} == {"UNAVAILABLE"}
        assert served.process.wait(FOREVER) == 0
        assert not (tmp_path / "ready.json").exists()
        assert "Traceback" not in served.log, served.log
        silent.close()


def refused(target: str) -> bool:
    """Whether a new client gets nothing done there."""
    with Client(target) as client:
        return client.complete(asking("Привет!"), timeout=5).code == "UNAVAILABLE"


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_told_twice_under_load_it_ends_at_once(engine: str, second: int, tmp_path: Path) -> None:
    with serving(tmp_path, engine) as served, Client(served.target) as client:
        calls = [client.begin(COMPLETION, asking("долго", stream=True), timeout=FOREVER) for _ in range(20)]
        for call in calls:
            next(call)
        served.process.send_signal(signal.SIGTERM)
        eventually(lambda: "stopping" in served.log, within=FOREVER)
        served.process.send_signal(second)
        assert served.process.wait(FOREVER) == 128 + second
        assert {outcome(call) for call in calls} == {"UNAVAILABLE"}


@pytest.mark.parametrize("engine", ENGINES)
def test_told_to_stop_before_it_serves_it_ends(engine: str, tmp_path: Path) -> None:
    process = start(tmp_path, engine)
    process.send_signal(signal.SIGTERM)
    assert process.wait(FOREVER) in (0, -signal.SIGTERM)
