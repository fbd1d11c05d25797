"""Completions: what is held of a stream while it is sent."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import Iterator

import pytest
from properties.served import Served
from wire.client import asking, path

from emulator.call import Call


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_of_a_long_stream_that_lasts_what_was_sent_is_not_held(loop: asyncio.AbstractEventLoop) -> None:
    served = Served(loop, {"rules": [{"reply": {"text": "слово " * 3000, "stream": {"words": 1}}}]})
    request = asking("раз", stream=True).SerializeToString()
    answer = served.router.answer(Call(path("TextGenerationService/Completion"), request, (), "ipv4:127.0.0.1:4"))
    assert isinstance(answer, Iterator)
    next(answer)
    tracemalloc.start()
    try:
        total = sum(map(len, answer))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        served.close()
    assert total > 40_000_000
    assert peak < total / 10
