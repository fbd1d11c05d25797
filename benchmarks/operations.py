"""Many operations: begun, polled while they wait, told when they are done; how fast, and how much memory they take.

Twice: in one process through the router, which is what the emulator itself costs, and over a socket, with a client in a
process of its own. The memory is the resident set's growth; that of each operation is the growth by their number. Rates
of equal quarters tell whether anything grows with the number of operations.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc.aio

from emulator import Emulator
from emulator.api import METHODS, CompletionRequest, GetOperationRequest
from emulator.call import Call

_CREATE = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
_GET = "/yandex.cloud.operation.OperationService/Get"
_AT_ONCE = 50
RULE = {
    "rules": [{"when": {"question": {"contains": "вопрос"}}, "reply": {"text": "Ответ. " * 40}, "operation": {}}],
}
Ask = Callable[[str, bytes], Awaitable[bytes]]


def through_the_router(n: int) -> dict[str, Any]:
    """The figures of `n` operations in this process."""
    return asyncio.run(_through_the_router(n))


def over_a_socket(n: int, folder: Path) -> dict[str, Any]:
    """The figures of `n` operations of a server in a process of its own."""
    rules, ready = folder / "rules.yaml", folder / "ready"
    rules.write_text(json.dumps(RULE))
    command = [sys.executable, "-m", "emulator", "serve", "--fixtures", str(rules), "--port", "0", "--frozen"]
    server = subprocess.Popen([*command, "--ready-file", str(ready), "--log-level", "warning"])
    try:
        while not ready.exists():
            time.sleep(0.05)
        return asyncio.run(_over_a_socket(n, json.loads(ready.read_text())["grpc"], server.pid))
    finally:
        server.terminate()
        server.wait()


async def _through_the_router(n: int) -> dict[str, Any]:
    emulator = Emulator(fixtures=RULE, frozen=True)
    emulator.sessions.open()
    emulator._health = _Nothing()  # type: ignore[assignment]
    router = emulator._routed()

    async def ask(method: str, request: bytes) -> bytes:
        (message,) = [message async for message in router.answer(Call(method, request, (), "ipv4:127.0.0.1:1"))]
        return message

    async def wait() -> None:
        await emulator.sessions.default.clock.advance(10**10)

    return await _run(n, ask, wait, os.getpid(), 1)


async def _over_a_socket(n: int, target: str, pid: int) -> dict[str, Any]:
    async with grpc.aio.insecure_channel(target) as channel:
        methods = {path: channel.unary_unary(path) for path in (_CREATE, _GET, _ADVANCE)}

        async def ask(method: str, request: bytes) -> bytes:
            answer: bytes = await methods[method](request)
            return answer

        async def wait() -> None:
            request = METHODS[_ADVANCE].input()
            request.by.seconds = 10
            await ask(_ADVANCE, request.SerializeToString())

        return await _run(n, ask, wait, pid, _AT_ONCE)


async def _run(n: int, ask: Ask, wait: Callable[[], Awaitable[None]], pid: int, at_once: int) -> dict[str, Any]:
    ids: list[str] = [""] * n
    operation = METHODS[_GET].output

    async def begin(i: int) -> None:
        ids[i] = operation.FromString(await ask(_CREATE, _request(i))).id

    async def get(i: int) -> bool:
        raw = await ask(_GET, GetOperationRequest(operation_id=ids[i]).SerializeToString())
        return bool(operation.FromString(raw).done)

    await ask(_CREATE, _request(-1))
    before = _resident(pid)
    begun = await _quarters(n, begin, at_once)
    memory = _resident(pid) - before
    polled = await _quarters(n, get, at_once)
    await wait()
    told = await _quarters(n, get, at_once)
    assert await get(0)
    assert await get(n - 1)
    return {
        "operations": n,
        "bytes_each": memory / n,  # the ids that the client keeps are in it where both are one process
        "rss_mb": _resident(pid) / 1e6,
        "per_second": {"begun": begun, "polled": polled, "told": told},
    }


async def _quarters(n: int, work: Callable[[int], Awaitable[Any]], at_once: int) -> list[float]:
    """How many a second, for each quarter of `n`."""
    rates = []
    for quarter in range(4):
        numbers = iter(range(n * quarter // 4, n * (quarter + 1) // 4))

        async def worker(numbers: Any = numbers) -> None:
            for i in numbers:
                await work(i)

        began = time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        rates.append(n / 4 / (time.perf_counter() - began))
    return rates


def _request(i: int) -> bytes:
    request = CompletionRequest(model_uri="gpt://b1gbench/yandexgpt/latest")
    request.messages.add(role="user", text=f"Это вопрос номер {i}. " + "Подробности. " * 30)
    raw: bytes = request.SerializeToString()
    return raw


def _resident(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def shown(name: str, figures: dict[str, Any]) -> str:
    """The figures for people."""
    lines = [f"{name}: {figures['operations']:,} operations, {figures['bytes_each']:.0f} B each, in all"]
    lines[0] += f" {figures['rss_mb']:.0f} MB"
    for step, rates in figures["per_second"].items():
        lines.append(f"  {step:<8}" + "".join(f"{rate:>10,.0f}/s" for rate in rates))
    return "\n".join(lines)


_ADVANCE = next(path for path in METHODS if path.startswith("/emulator.") and path.endswith("/AdvanceClock"))


class _Nothing:
    """No health: nothing listens."""

    def handlers(self) -> dict[str, Any]:
        return {}
