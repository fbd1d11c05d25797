"""The official SDK, as its users make it: only the endpoint, `verify` and a quick retry policy are given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from yandex_ai_studio_sdk import AIStudio
from yandex_ai_studio_sdk.retry import RetryPolicy

from emulator import Emulator

FOLDER = "b1gtest"
QUICK = RetryPolicy(initial_backoff=0.01, max_backoff=0.02, jitter=0)
"""The SDK's own policy waits a second and more before it tries again."""

Studio = Callable[[Emulator], AIStudio]


@pytest.fixture
def studio() -> Studio:
    """`studio(emulator)` gives the synchronous SDK."""
    return lambda emulator: AIStudio(
        endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=QUICK
    )
