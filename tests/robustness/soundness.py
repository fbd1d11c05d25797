"""What every property here holds an emulator to, and how long the properties look for a counter-example.

A run is short and the same every time. To look further, at random, say how many examples each property may try:

    FM_EMULATOR_EXAMPLES=3000 python -m pytest tests/robustness
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from hypothesis import HealthCheck, Phase, settings
from wire.client import Client, Reply

from emulator import Emulator
from emulator.api import HealthCheckRequest
from emulator.errors import FixtureError

EXAMPLES = "FM_EMULATOR_EXAMPLES"
DEADLINE = 10
"""Seconds after which a call counts as hanging."""


def looking(examples: int) -> Any:
    """Hypothesis settings: so many examples, always the same; or as the environment says, and then random ones."""
    more = os.environ.get(EXAMPLES)
    return settings(
        max_examples=int(more) if more else examples,
        derandomize=more is None,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        # Shrinking takes minutes; a short run tells the first counter-example it meets, as it is.
        phases=(Phase.generate, Phase.shrink) if more else (Phase.generate,),
    )


class _Records(logging.Handler):
    """Keeps the log records that carry a traceback."""

    def __init__(self) -> None:
        super().__init__()
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.exc_info:
            self.tracebacks.append(logging.Formatter().formatException(record.exc_info))


class Sound:
    """An emulator that serves, a client of it, and an eye on its log."""

    def __init__(self, fixtures: Any = (), **options: Any) -> None:
        self.emulator = Emulator(fixtures=fixtures, **options)
        self._records = _Records()

    def __enter__(self) -> Sound:
        self.emulator.__enter__()
        self.client = Client(self.emulator.target)
        for name in ("emulator", "grpc", "asyncio"):
            logging.getLogger(name).addHandler(self._records)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for name in ("emulator", "grpc", "asyncio"):
            logging.getLogger(name).removeHandler(self._records)
        self.client.channel.close()
        self.emulator.__exit__(kind, error, trace)

    def call(
        self, method: str, request: Any, metadata: Iterable[tuple[str, Any]] = (), timeout: float = DEADLINE
    ) -> Reply:
        """The whole call, which must end in a status that an API could have meant."""
        reply = self.client.call(method, request, metadata, timeout)
        self.hold(reply)
        return reply

    def hold(self, reply: Reply) -> None:
        """Assert that a call ended well: neither in a defect nor by hanging."""
        self.untroubled()
        said = f"{reply.code}: {reply.text}"
        assert reply.code not in ("UNKNOWN", "DEADLINE_EXCEEDED"), said
        assert "a defect of the emulator" not in (reply.text or ""), said
        assert "Invalid metadata" not in (reply.text or ""), said
        if reply.code == "RESOURCE_EXHAUSTED":
            assert "metadata size" not in reply.text, f"no client can read so large a header: {said}"

    def untroubled(self) -> None:
        """Assert that nothing was logged with a traceback since this was last asked."""
        tracebacks, self._records.tracebacks = self._records.tracebacks, []
        assert not tracebacks, tracebacks[0]

    def serves(self) -> None:
        """Assert that it is alive and says so."""
        assert self.call("Health/Check", HealthCheckRequest()).only.status == 1


def told_well(refused: FixtureError) -> None:
    """Assert that every mistake has its place and says something."""
    assert refused.mistakes
    for mistake in refused.mistakes:
        assert mistake.text.strip(), mistake
        assert mistake.line >= 1, f"no line: {mistake}"
        assert "Traceback" not in mistake.text
        assert "object at 0x" not in mistake.text
        assert len(mistake.text) < 2000, f"a mistake of {len(mistake.text)} characters"
