"""What tests over a socket share: emulators that serve until the test ends, and raw clients of them.

With `FM_EMULATOR_TEST_ENGINE=native` in the environment every emulator that names no engine gets that one, whether it
is made in Python, by the plugin or by a command.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import settings
from wire.client import Client

import emulator.server
from emulator import Emulator
from emulator.config import Config, from_values

collect_ignore = [] if sys.version_info >= (3, 11) else ["wire/test_engines.py"]  # there is but one engine then
ENGINE = os.environ.get("FM_EMULATOR_TEST_ENGINE")
settings.register_profile(
    "long", settings.get_profile("ci"), derandomize=False, max_examples=3000, stateful_step_count=60, print_blob=True
)
"""Other histories each time, and many of them: `pytest --hypothesis-profile=long tests/properties`."""

Serve = Callable[..., Emulator]
Connect = Callable[[Emulator], Client]


def with_engine(values: Mapping[str, Any]) -> Config:
    """A `Config` of `values`, with the engine that is tested unless they name one."""
    return from_values({"engine": ENGINE, **values})


if ENGINE is not None:
    os.environ["FM_EMULATOR_ENGINE"] = ENGINE
    emulator.server.from_values = with_engine  # type: ignore[attr-defined]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(fixtures, **options)` gives an emulator that serves, in a thread, until the test ends."""
    with ExitStack() as stack:

        def start(fixtures: Any = (), **options: Any) -> Emulator:
            return stack.enter_context(Emulator(fixtures=fixtures, **options))

        yield start


@pytest.fixture
def connect() -> Iterator[Connect]:
    """`connect(emulator)` gives a client that speaks bytes, closed when the test ends."""
    with ExitStack() as stack:
        yield lambda emulator: stack.enter_context(Client(emulator.target))
