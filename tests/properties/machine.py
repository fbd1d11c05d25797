"""A machine whose steady time passes only when everybody waits, and whose time of day jumps as a test likes."""

from __future__ import annotations

import asyncio
import math
import selectors
from typing import Any

from emulator.clock import SECOND


class _Selector(selectors.DefaultSelector):
    """Has whoever waits for a timer wait no real time at all."""

    machine: Machine

    def select(self, timeout: float | None = None) -> Any:
        assert timeout is not None, "everybody waits, and nothing is to come"
        self.machine.steady += max(0, math.ceil(timeout * SECOND))
        return super().select(0)


class Machine(asyncio.SelectorEventLoop):
    """An event loop, and in place of the module `time` for the emulator's clock. `steady` and `day` are in ns."""

    def __init__(self) -> None:
        self.steady, self.day = 1000 * SECOND, 1_700_000_000 * SECOND
        selector = _Selector()
        selector.machine = self
        super().__init__(selector)

    def call_later(self, delay: float, *callback: Any, **more: Any) -> asyncio.TimerHandle:
        """Never in less than what the loop tells apart, else it comes at once, and no time passes."""
        return super().call_later(max(delay, 2e-9), *callback, **more)

    def time(self) -> float:
        return self.steady / SECOND

    def monotonic(self) -> float:
        return self.steady / SECOND

    def monotonic_ns(self) -> int:
        return self.steady

    def time_ns(self) -> int:
        return self.day

    def settle(self) -> None:
        """Let everybody run who can."""
        for _ in range(6):
            self.run_until_complete(asyncio.sleep(0))
