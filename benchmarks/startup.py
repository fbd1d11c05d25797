"""`start`: from process start until it serves, and the memory held then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from . import servers
from .results import LESS, Figure
from .run import Run, interleaved

IMPORT = "import grpc.aio"
"""A process that does nothing but that."""

FIXTURES = {"no fixtures": 0, "10 rules": 10, "10,000 rules": 10_000}

BARE = """
import asyncio, os, sys
import grpc.aio

class Constant(grpc.GenericRpcHandler):
    def service(self, details):
        async def answer(request, context):
            return b""
        return grpc.unary_unary_rpc_method_handler(answer)

async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Constant(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with open(sys.argv[1] + ".new", "w") as ready:
        ready.write(f"127.0.0.1:{port}")
    os.replace(sys.argv[1] + ".new", sys.argv[1])
    await server.wait_for_termination()

asyncio.run(main())
"""


@dataclass(frozen=True)
class Start:
    """One start: seconds until it served, and the resident bytes then."""

    seconds: float
    bytes: int


def measured(run: Run) -> list[Figure]:
    """ms to serving beside a bare server and beside a process that only imports grpc.aio, and MB beside the former."""
    figures = []
    for row, rules in FIXTURES.items():
        if rules and rules not in run.starts:
            continue
        commands = {IMPORT: [sys.executable, "-c", IMPORT], servers.BARE: bare_command(run.folder)}
        commands |= {name: emulator_command(rules, run.folder, name) for name in run.variants}

        def once(name: str, commands: dict[str, list[str]] = commands) -> dict[str, float]:
            if name == IMPORT:
                return {"ms": _ended(commands[name]) * 1000}
            found = one(commands[name], run.folder, servers.environment(name, run.folder))
            return {"ms": found.seconds * 1000, "MB": found.bytes / 1e6}

        interleaved(1, tuple(commands), once)  # fills caches
        samples = interleaved(run.times(15) if rules < 1000 else min(3, run.times(3)), tuple(commands), once)
        floor, imported = samples[servers.BARE], tuple(samples[IMPORT]["ms"])
        for name, found in samples.items():
            ms = tuple(found["ms"])
            if name != IMPORT:
                figures.append(Figure("start", row, name, "start", "ms", LESS, ms, tuple(floor["ms"])))
                memory, beside = tuple(found["MB"]), tuple(floor["MB"])
                figures.append(Figure("start", row, name, "memory", "MB", LESS, memory, beside))
            figures.append(Figure("start", row, name, f"to {IMPORT}", "ms", LESS, ms, imported))
    return figures


def _ended(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, env=_environment())
    return time.perf_counter() - began


def bare_command(folder: Path) -> list[str]:
    """A bare grpc.aio server with a constant reply: the floor."""
    script = folder / "bare.py"
    script.write_text(BARE)
    return [sys.executable, str(script), str(folder / "ready")]


def emulator_command(rules: int, folder: Path, variant: str = servers.EMULATOR) -> list[str]:
    """The emulator as its users start it, with so many rules of mixed operators."""
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--ready-file", str(folder / "ready")]
    command += servers.options(variant)
    if not rules:
        return command
    path = folder / f"rules-{rules}.yaml"
    if not path.exists():
        path.write_text("rules:\n" + "".join(map(_rule, range(rules))), encoding="utf-8")
    return [*command, "--fixtures", str(path)]


def _rule(n: int) -> str:
    operator = (f"contains: слово{n}", f"equals: Вопрос {n}?", f"word: [тем{n}*]", f"glob: 'Вопрос {n} *'")[n % 4]
    return f"  - name: rule-{n}\n    when:\n      question: {{{operator}}}\n    reply:\n      text: Ответ номер {n}.\n"


def one(command: list[str], folder: Path, environment: dict[str, str]) -> Start:
    """Start it, wait until it says it serves, look at its memory, stop it. Raises RuntimeError if it ends before."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env={**_environment(), **environment})
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        return Start(seconds, _resident(process.pid))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    """So that there is bytecode, as pip and the image leave it: the first round, which is not counted, writes it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
