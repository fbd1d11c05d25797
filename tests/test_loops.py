"""Event loops: uvloop's where it is installed, in threads of our own and in `serve`; the caller's is left as it is."""

from __future__ import annotations

import asyncio
from importlib.util import find_spec
from typing import TYPE_CHECKING

from emulator import Emulator
from emulator.loops import new_loop, run

if TYPE_CHECKING:
    from conftest import Serve

OURS = "uvloop" if find_spec("uvloop") is not None else "asyncio"


def package(loop: asyncio.AbstractEventLoop) -> str:
    return type(loop).__module__.partition(".")[0]


async def running() -> str:
    return package(asyncio.get_running_loop())


def test_a_new_loop_is_of_the_package_that_is_installed() -> None:
    loop = new_loop()
    loop.close()
    assert package(loop) == OURS
    assert run(running()) == OURS


def test_a_thread_of_ours_runs_such_a_loop(serve: Serve) -> None:
    assert serve().place.do(lambda: package(asyncio.get_running_loop())) == OURS


async def test_in_the_callers_loop_it_changes_nothing() -> None:
    async with Emulator():
        assert await running() == "asyncio"
