"""Work in a process of its own: where it imports from, how it ends, and what is told of it."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest
from wire.client import eventually

from emulator.apart import Once, in_process
from emulator.errors import Code, Status


async def test_what_lies_in_the_working_directory_does_not_get_in_between(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("emulator", "importlib", "pickle", "math"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit(9)\n")
    monkeypatch.chdir(tmp_path)
    assert await in_process(os.getcwd) == str(tmp_path)


async def test_a_signal_to_the_terminals_programs_is_none_for_it() -> None:
    assert await in_process(os.getpgid, 0) != os.getpgid(0)


async def test_a_process_that_dies_is_told_and_the_work_is_begun_again_when_next_asked_for() -> None:
    tries: list[int] = []

    async def work() -> None:
        tries.append(1)
        if len(tries) == 1:
            await in_process(signal.raise_signal, signal.SIGKILL)

    once = Once(work, "the work")
    with pytest.raises(Status, match="the work failed: the process for raise_signal ended with status -9") as failed:
        await once.done()
    assert failed.value.code is Code.INTERNAL
    await once.done()
    assert len(tries) == 2


async def test_who_comes_just_as_it_is_done_does_not_wait() -> None:
    """Between the end of the work and the loop's next round, in which the end becomes known."""
    came: list[str] = []

    def come() -> None:
        try:
            once.done().send(None)
        except StopIteration:
            came.append("at once")

    async def work() -> None:
        asyncio.get_running_loop().call_soon(come)

    once = Once(work, "the work")
    await asyncio.wait_for(once.done(), 5)
    assert came == ["at once"]


async def test_a_caller_that_is_cancelled_ends_the_process() -> None:
    before = _children()
    task = asyncio.ensure_future(in_process(time.sleep, 600))
    await asyncio.to_thread(eventually, lambda: bool(_children() - before))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert _children() <= before


def _children() -> set[str]:
    path = Path(f"/proc/self/task/{os.getpid()}/children")
    if not path.exists():
        pytest.skip("this system does not tell")
    return set(path.read_text().split())
