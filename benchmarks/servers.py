"""Servers under measurement: started, pinned, their CPU time and memory read, their answers checked, and stopped."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import grpc

from . import questions, wire

EACH, BOTH = "a core each", "all cores"
"""Layouts: the server on one core and its client on another, or both wherever they like."""

BARE = "bare grpc.aio"
EMULATOR = "emulator"
NATIVE = "emulator, native"
NO_UVLOOP = "emulator, no uvloop"
READY = 120.0
"""Seconds a server has until it serves."""


@dataclass
class Server:
    """A process that serves; `target` is HOST:PORT."""

    name: str
    process: subprocess.Popen[bytes]
    target: str

    def cpu(self) -> float:
        """Seconds of CPU, of all its threads, so far."""
        return time.clock_gettime(~self.process.pid << 3 | 2)  # the process's clock, as clock_getcpuclockid(3) has it

    def resident(self) -> int:
        """Bytes of memory that it holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def pin(self, cores: set[int]) -> None:
        """Run all its threads on these cores."""
        for thread in os.listdir(f"/proc/{self.process.pid}/task"):
            os.sched_setaffinity(int(thread), cores)


class Unavailable(Exception):
    """Something that this machine hasn't got, so what needs it is left out; says what and why."""


@contextmanager
def serving(name: str, command: Sequence[str], ready: Path, **environment: str) -> Iterator[Server]:
    """A server from its start until the block ends. Raises Unavailable, with its last words, if it doesn't serve."""
    ready.unlink(missing_ok=True)
    errors = ready.with_suffix(".err")
    with errors.open("wb") as file:
        process = subprocess.Popen(command, stderr=file, env={**os.environ, **environment})
    try:
        until = time.monotonic() + READY
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > until:
                said = errors.read_text(errors="replace").strip().splitlines()[-1:] or ["it said nothing"]
                raise Unavailable(f"{name} does not serve: {said[0][:200]}")
            time.sleep(0.005)
        yield Server(name, process, json.loads(ready.read_text())["grpc"])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def bare(folder: Path, *flags: str, name: str = BARE) -> Any:
    """A bare server, see `bare.py` for the flags."""
    ready = _ready(folder)
    return serving(name, [sys.executable, "-m", "benchmarks.bare", str(ready), *flags], ready)


def emulator(folder: Path, fixtures: Path | None = None, variant: str = EMULATOR, *more: str) -> Any:
    """The emulator as its users start it, with these and `more` options; `variant` is one of `variants`."""
    ready = _ready(folder)
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--log-level", "error"]
    command += ["--ready-file", str(ready), *options(variant), *more]
    if fixtures is not None:
        command += ["--fixtures", str(fixtures)]
    return serving(variant, command, ready, **environment(variant, folder))


def options(variant: str) -> tuple[str, ...]:
    """Options of `serve` that make it this variant."""
    return {EMULATOR: (), NO_UVLOOP: (), NATIVE: ("--engine", "native")}[variant]


def environment(variant: str, folder: Path) -> dict[str, str]:
    """What makes it this variant in the environment of the process: one without uvloop can't find it."""
    if variant != NO_UVLOOP:
        return {}
    hidden = folder / "without-uvloop"
    hidden.mkdir(exist_ok=True)
    (hidden / "sitecustomize.py").write_text('import sys\n\nsys.modules["uvloop"] = None\n')
    return {"PYTHONPATH": os.pathsep.join(filter(None, (str(hidden), os.environ.get("PYTHONPATH"))))}


_count = iter(range(1 << 30))


def _ready(folder: Path) -> Path:
    return folder / f"ready-{next(_count)}.json"


def has_uvloop() -> bool:
    """Whether servers can run on it."""
    return importlib.util.find_spec("uvloop") is not None


def has_pygrpc_native() -> bool:
    """Whether pygrpc-native is installed, which serves grpcio's servicers from Rust."""
    return importlib.util.find_spec("pygrpc_native") is not None


def variants(folder: Path, say: Callable[[str], object], wanted: Sequence[str] = ()) -> list[str]:
    """The ways in which the emulator can be run here, all or the `wanted`; of those that can't, `say` is told why."""
    found = []
    for name in wanted or (EMULATOR, NO_UVLOOP, NATIVE):
        if name == NO_UVLOOP and not has_uvloop():
            say("uvloop is not installed: no figures for it")
            continue
        try:
            with emulator(folder, None, name) as server:
                checked(server.target, questions.COMPLETION, questions.requests(questions.NONE)[0])
        except (Unavailable, grpc.RpcError) as failed:
            say(f"{failed}"[:300])
        else:
            found.append(name)
    return found


def bare_variants() -> dict[str, tuple[str, ...]]:
    """Bare servers that can be run here besides BARE, with the flags of each."""
    found: dict[str, tuple[str, ...]] = {f"{BARE}, raw bytes": ("--raw",)}
    if has_uvloop():
        found[f"{BARE} + uvloop"] = ("--uvloop",)
    if has_pygrpc_native():
        found["bare pygrpc-native"] = ("--native",)
    return found


@cache
def layouts() -> dict[str, tuple[set[int], set[int]]]:
    """Layouts by name: the cores of the server, and those of the client."""
    cores = sorted(os.sched_getaffinity(0))
    found = {EACH: ({cores[0]}, {cores[1]})} if len(cores) > 1 else {}
    return {**found, BOTH: (set(cores), set(cores))}


@contextmanager
def laid_out(server: Server, layout: str) -> Iterator[None]:
    """Server and client on their cores, while the block runs."""
    of_server, of_client = layouts()[layout]
    before = os.sched_getaffinity(0)
    server.pin(of_server)
    os.sched_setaffinity(0, of_client)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass(frozen=True)
class Load:
    """What one measurement came to. `cpu` is the server's microseconds of CPU a call, `client` the client's share of
    a core: near 1 it is the client that was measured. `following` is the request that is next in turn.
    """

    per_second: float
    messages_per_second: float
    cpu: float
    client: float
    outcome: wire.Outcome
    following: int = 0


def loaded(
    server: Server,
    path: str,
    requests: Sequence[bytes],
    *,
    seconds: float,
    layout: str = BOTH,
    in_flight: int = 64,
    warm: float = 0.2,
    first: int = 0,
) -> Load:
    """Ask a server as fast as it answers, for so long, after warming up for `warm` seconds."""
    with laid_out(server, layout), wire.Client(server.target, path, requests, first=first) as client:
        client.run(in_flight, seconds=warm)
        before = server.cpu()
        outcome = client.run(in_flight, seconds=seconds)
        cpu = server.cpu() - before
    return Load(
        outcome.per_second,
        outcome.messages / outcome.seconds,
        cpu / outcome.calls * 1e6,
        outcome.client_cpu / outcome.seconds,
        outcome,
        client.following,
    )


def checked(target: str, path: str, request: bytes) -> list[bytes]:
    """The messages that a real client gets. Raises grpc.RpcError for a status that isn't OK."""
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.insecure_channel(target, options=options) as channel:
        call: Any = channel.unary_stream(path, None, None)
        return list(call(request, timeout=60))
