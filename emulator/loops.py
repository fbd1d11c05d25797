"""Event loops of our own: uvloop's where it is installed, with which gRPC is a tenth faster, else asyncio's."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

T = TypeVar("T")


def has_uvloop() -> bool:
    """Whether uvloop is installed."""
    return find_spec("uvloop") is not None


def new_loop() -> asyncio.AbstractEventLoop:
    """A loop that nobody runs yet."""
    if not has_uvloop():
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = import_module("uvloop").new_event_loop()
    return loop


def run(main: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run`, in such a loop."""
    if not has_uvloop():
        return asyncio.run(main)
    result: T = import_module("uvloop").run(main)
    return result
