"""The asynchronous SDK: in the emulator's own loop, and against an emulator in a thread of its own.

In the second case two event loops share gRPC's one poller in the process; the slower one finds its pipe read already,
which must cost neither a call nor its time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from wire.client import eventually
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio
from yandex_ai_studio_sdk.exceptions import AioRpcError, RunError

from emulator import Emulator

from .conftest import FOLDER, QUICK

Begin = Callable[..., Awaitable[tuple[Emulator, AsyncAIStudio]]]
POLL = 0.02
TALE = "Жил-был кот. Он спал на печке и смотрел, как за окном идёт снег. Потом пришла весна, и кот ушёл гулять."


def studio(emulator: Emulator) -> AsyncAIStudio:
    return AsyncAIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=QUICK)


@pytest.fixture(params=["in the same loop", "in a thread"])
async def begin(request: pytest.FixtureRequest) -> AsyncIterator[Begin]:
    """`await begin(fixtures)` gives an emulator that serves, and the SDK pointed at it."""
    async with AsyncExitStack() as stack:

        async def start(*rules: dict[str, Any]) -> tuple[Emulator, AsyncAIStudio]:
            emulator = Emulator({"rules": list(rules)})
            if request.param == "in a thread":
                stack.enter_context(emulator)
            else:
                await stack.enter_async_context(emulator)
            return emulator, studio(emulator)

        yield start


async def test_run(begin: Begin) -> None:
    _, sdk = await begin({"reply": {"text": "Здравствуйте!"}})
    assert (await sdk.models.completions("yandexgpt").run("Привет")).text == "Здравствуйте!"


async def test_run_stream(begin: Begin) -> None:
    _, sdk = await begin({"reply": {"text": TALE, "stream": {"words": 3, "every": "1ms"}}})
    texts = [result.text async for result in sdk.models.completions("yandexgpt").run_stream("сказку")]
    assert len(texts) == 7
    assert texts[-1] == TALE


async def test_a_reader_that_stops_early_ends_the_call(begin: Begin) -> None:
    emulator, sdk = await begin(
        {"reply": {"text": TALE, "stream": {"words": 3, "stall": {"after": 2, "for": "forever"}}}}
    )
    stream = sdk.models.completions("yandexgpt").run_stream("сказку")
    await stream.__anext__()
    await stream.aclose()  # type: ignore[attr-defined]
    (entry,) = (entry for entry in emulator.sessions.default.journal if entry.kind == "completion")
    assert await asyncio.to_thread(eventually, lambda: entry.code) == "CANCELLED"


async def test_run_deferred_and_attach(begin: Begin) -> None:
    _, sdk = await begin({"reply": {"text": "готово"}, "operation": {"done_after_polls": 3}})
    model = sdk.models.completions("yandexgpt")
    operation = await model.run_deferred("долго")
    assert (await operation.get_status()).is_running
    attached = await model.attach_deferred(operation.id)
    assert (await attached.wait(poll_interval=POLL)).text == "готово"


async def test_an_operation_that_fails(begin: Begin) -> None:
    _, sdk = await begin({"operation": {"at_poll": 2, "error": "INTERNAL"}})
    operation = await sdk.models.completions("yandexgpt").run_deferred("долго")
    with pytest.raises(RunError) as failed:
        await operation.wait(poll_interval=POLL)
    assert failed.value.code == 13


async def test_a_tool_loop(begin: Begin) -> None:
    _, sdk = await begin(
        {"when": {"tool_results": {"clock": {"present": True}}}, "reply": {"text": "Сейчас {{ tool_results.clock }}."}},
        {"reply": {"tool_calls": [{"clock": {"zone": "MSK"}}, {"clock": {"zone": "UTC"}}]}},
    )
    tool = sdk.tools.function({"type": "object", "properties": {"zone": {"type": "string"}}}, name="clock")
    model = sdk.models.completions("yandexgpt").configure(tools=tool)
    asked = await model.run("который час?")
    assert asked.tool_calls
    assert [call.function.arguments for call in asked.tool_calls if call.function] == [{"zone": "MSK"}, {"zone": "UTC"}]
    answered = await model.run(["который час?", asked, {"tool_results": [{"name": "clock", "content": "12:30"}]}])
    assert answered.text == "Сейчас 12:30."


async def test_a_picture(begin: Begin) -> None:
    _, sdk = await begin({"call": "generate_image", "operation": {"done_after_polls": 1}})
    operation = await sdk.models.image_generation("yandex-art").run_deferred("кот")
    assert (await operation.wait(poll_interval=POLL)).image_bytes[:2] == b"\xff\xd8"


async def test_two_quota_errors_and_then_a_reply(begin: Begin) -> None:
    emulator, sdk = await begin({"replies": [{"error": "RESOURCE_EXHAUSTED", "repeat": 2}, {"text": "теперь можно"}]})
    assert (await sdk.models.completions("yandexgpt").run("можно?")).text == "теперь можно"
    assert [entry.code for entry in emulator.sessions.default.journal if entry.kind][-1] == "OK"


async def test_a_stream_that_breaks_off(begin: Begin) -> None:
    broken = {"words": 3, "stop": {"after": 2, "error": {"code": "INTERNAL", "message": "обрыв"}}}
    _, sdk = await begin({"reply": {"text": TALE, "stream": broken}})
    stream = sdk.models.completions("yandexgpt").run_stream("сказку")
    first, second = [await stream.__anext__() for _ in range(2)]
    assert second.text.startswith(first.text)
    with pytest.raises(AioRpcError, match="обрыв"):
        await stream.__anext__()


async def test_many_calls_at_once_all_come_back(begin: Begin) -> None:
    emulator, sdk = await begin({"reply": {"text": "{{ question }}!", "stream": {"characters": 2}, "delay": "5ms"}})
    model = sdk.models.completions("yandexgpt")
    await model.run("первый")
    results = await asyncio.gather(*(model.run(f"вопрос {i}") for i in range(100)))
    assert [result.text for result in results] == [f"вопрос {i}!" for i in range(100)]
    assert {entry.code for entry in emulator.sessions.default.journal} == {"OK"}


async def test_both_faces_of_the_sdk_and_two_emulators_live_in_one_process() -> None:
    """Four event loops at once: the test's, two emulators', and that of the synchronous SDK."""

    def ask(emulator: Emulator) -> list[str]:
        sdk = AIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=QUICK)
        return [sdk.models.completions("yandexgpt").run(str(i)).text for i in range(20)]

    with (
        Emulator({"rules": [{"reply": {"text": "один"}}]}) as one,
        Emulator({"rules": [{"reply": {"text": "два"}}]}) as two,
    ):
        async with Emulator({"rules": [{"reply": {"text": "три"}}]}) as three:
            models = [studio(emulator).models.completions("yandexgpt") for emulator in (one, two, three)]
            synchronous = asyncio.gather(asyncio.to_thread(ask, one), asyncio.to_thread(ask, three))
            for _ in range(20):
                said = await asyncio.gather(*(model.run("кто ты?") for model in models))
                assert [result.text for result in said] == ["один", "два", "три"]
            assert list(await synchronous) == [["один"] * 20, ["три"] * 20]
