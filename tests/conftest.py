"""What tests over a socket share: emulators that serve until the test ends, and raw clients of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from wire.client import Client

from emulator import Emulator

Serve = Callable[..., Emulator]
Connect = Callable[[Emulator], Client]


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
