"""Forty sessions hammer one server at once, and each sees exactly what it would see alone."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wire.client import asking, path
from wire.control import SERVICE

from emulator import Emulator
from emulator.api import METHODS, GetOperationRequest

NOON = "2026-01-31T12:00:00Z"
SESSIONS = 40
RULES: dict[str, Any] = {
    "rules": [
        {"name": "дважды", "when": {"question": "а"}, "times": 2, "reply": {"text": "{{ attempt }}"}},
        {"when": {"question": "б"}, "replies": [{"text": "один"}, {"error": "UNAVAILABLE"}], "after_last": "cycle"},
        {"when": {"question": "в"}, "reply": {"text": "раз два три", "stream": {"words": 1}}},
        {"call": "completion_async", "reply": {"text": "готово"}, "operation": {"done_after": "1m"}},
    ]
}
steps = st.one_of(
    st.tuples(st.just("complete"), st.sampled_from("абвг"), st.booleans()),
    st.tuples(st.just("async"), st.sampled_from("абвг")),
    st.tuples(st.sampled_from(["Get", "FinishOperation", "StepOperation"]), st.integers(0, 3)),
    st.tuples(st.just("AdvanceClock"), st.integers(1, 90)),
    st.tuples(st.just("AddRules"), st.sampled_from("абвг")),
    st.tuples(st.sampled_from(["RemoveRules", "ListCalls", "GetClock", "Verify", "ListRules", "Reset"])),
)
programs = st.lists(st.lists(steps, min_size=1, max_size=8), min_size=3, max_size=6)


class Client:
    """One session's program, step by step."""

    def __init__(self, channel: grpc.aio.Channel, session: str) -> None:
        self._channel, self._session = channel, session
        self._ids: list[str] = []

    async def run(self, program: list[tuple[Any, ...]]) -> list[Any]:
        """Everything that the session sees."""
        return [await self._step(kind, *more) for kind, *more in program]

    async def _step(self, kind: str, *more: Any) -> Any:
        if kind == "complete":
            return await self._call(path("TextGenerationService/Completion"), asking(more[0], stream=more[1]))
        if kind == "async":
            seen = await self._call(path("TextGenerationAsyncService/Completion"), asking(more[0]))
            output = METHODS[path("TextGenerationAsyncService/Completion")].output
            self._ids.extend(output.FromString(raw).id for raw in seen[0])
            return seen
        if kind in ("Get", "FinishOperation", "StepOperation"):
            id_ = self._ids[more[0] % len(self._ids)] if self._ids else "none"
            if kind == "Get":
                return await self._call(path("OperationService/Get"), GetOperationRequest(operation_id=id_))
            return await self._ask(kind, operation_id=id_)
        if kind == "AdvanceClock":
            return await self._ask(kind, by={"seconds": more[0]})
        if kind == "AddRules":
            text = f"rules: [{{name: своё, when: {{question: {more[0]}}}, reply: {{text: '{self._session}'}}}}]"
            return await self._ask(kind, fixtures={"files": {"rules.yaml": text.encode()}})
        return await self._ask(kind)

    async def _ask(self, name: str, **fields: Any) -> Any:
        messages, *rest = await self._call(SERVICE + name, METHODS[SERVICE + name].input(**fields))
        if name == "ListCalls" and messages:
            response = METHODS[SERVICE + name].output.FromString(messages[0])
            for call in response.calls:  # real time and the socket are not the session's
                for field in ("took", "deadline", "peer", "metadata", "behaviour"):
                    call.ClearField(field)
            messages = [response.SerializeToString(deterministic=True)]
        return messages, *rest

    async def _call(self, method: str, request: Any) -> tuple[Any, ...]:
        metadata = (("x-emulator-session", self._session),)
        call = self._channel.unary_stream(method)(request.SerializeToString(), metadata=metadata, timeout=60)
        messages = []
        try:
            async for message in call:
                messages.append(message)  # noqa: PERF401 - what came before an error is kept
        except grpc.aio.AioRpcError:
            pass
        return messages, await call.code(), await call.details(), tuple(await call.trailing_metadata() or ())


async def seen(work: dict[str, list[tuple[Any, ...]]]) -> dict[str, list[Any]]:
    """What each session sees of its program, all of them at once on one fresh server."""
    async with Emulator(RULES, frozen=True, now=NOON) as e, grpc.aio.insecure_channel(e.target) as channel:
        told = await asyncio.gather(*(Client(channel, name).run(program) for name, program in work.items()))
    return dict(zip(work, told, strict=True))


@pytest.mark.slow
@settings(max_examples=20)
@given(programs)
def test_each_of_forty_sessions_sees_what_it_would_see_alone(programs: list[list[tuple[Any, ...]]]) -> None:
    work = {f"job-{n}": programs[n % len(programs)] for n in range(SESSIONS)}

    async def story() -> None:
        together = await seen(work)
        for name, program in work.items():
            assert together[name] == (await seen({name: program}))[name]

    asyncio.run(story())
