"""An assistant whose service is the emulator: only its settings know."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from assistant import Assistant, Settings
from assistant.tools import HelpDesk

if TYPE_CHECKING:
    from emulator import Emulator

Make = Callable[..., Assistant]
Behind = Callable[..., Any]


@pytest.fixture
def settings(fm_emulator: Emulator) -> Settings:
    """Settings as in production, but for the address and for waits that nobody needs in a test."""
    return Settings(
        folder_id="b1ghelpdesk",
        api_key="any-key",
        endpoint=fm_emulator.target,
        verify_tls=False,
        backoff=0.01,
        poll_every=0.01,
    )


@pytest.fixture
def desk() -> HelpDesk:
    """The systems behind the tools."""
    return HelpDesk()


@pytest.fixture
def make(settings: Settings, desk: HelpDesk) -> Make:
    """`make(attempts=3)` gives an assistant with other settings."""
    return lambda **changed: Assistant(replace(settings, **changed), desk.toolbox())


@pytest.fixture
def assistant(make: Make) -> Assistant:
    """The assistant."""
    return make()


@pytest.fixture
def behind() -> Any:
    """`behind(function, ...)` runs it beside the test, which moves the clock meanwhile; `.result()` is what it gave."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit
