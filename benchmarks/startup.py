"""From process start to the first answered call, and the memory held then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

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
class Run:
    """One start: seconds until it served, and the resident bytes then."""

    seconds: float
    bytes: int


def bare_command(folder: Path) -> list[str]:
    """A bare grpc.aio server with a constant reply: the floor."""
    script = folder / "bare.py"
    script.write_text(BARE)
    return [sys.executable, str(script), str(folder / "ready")]


def emulator_command(rules: int, folder: Path) -> list[str]:
    """The emulator as its users start it, with so many rules of mixed operators."""
    command = [sys.executable, "-m", "emulator", "serve", "--port", "0", "--ready-file", str(folder / "ready")]
    if not rules:
        return command
    path = folder / f"rules-{rules}.yaml"
    if not path.exists():
        path.write_text("rules:\n" + "".join(map(_rule, range(rules))), encoding="utf-8")
    return [*command, "--fixtures", str(path)]


def _rule(n: int) -> str:
    operator = (f"contains: слово{n}", f"equals: Вопрос {n}?", f"word: [тем{n}*]", f"glob: 'Вопрос {n} *'")[n % 4]
    return f"  - name: rule-{n}\n    when:\n      question: {{{operator}}}\n    reply:\n      text: Ответ номер {n}.\n"


def run(command: list[str], folder: Path) -> Run:
    """Start it, wait until it says it serves, look at its memory, stop it. Raises RuntimeError if it ends before."""
    ready = folder / "ready"
    ready.unlink(missing_ok=True)
    began = time.perf_counter()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=_environment())
    try:
        while not ready.exists():
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
            time.sleep(0.001)
        seconds = time.perf_counter() - began
        return Run(seconds, _resident(process.pid))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _environment() -> dict[str, str]:
    """So that there is bytecode, as pip and the image leave it: the first round, which is not counted, writes it."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
