"""The official SDK at the service's limits, and on a network that loses replies: its own retries carry it through, and
nothing is done twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from wire.client import eventually
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio
from yandex_ai_studio_sdk.retry import RetryPolicy

from emulator import Emulator

from .conftest import FOLDER, QUICK

if TYPE_CHECKING:
    from conftest import Serve

PATIENT = RetryPolicy(max_attempts=500, initial_backoff=0.01, max_backoff=0.02, jitter=0)
SOON: dict[str, Any] = {"rules": [{"reply": {"text": "Готово."}}]}
SLOW = {"rules": [{"call": "completion", "reply": {"text": "Готово.", "delay": "1m"}}]}


def studio(emulator: Emulator, policy: RetryPolicy = PATIENT) -> AIStudio:
    return AIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=policy)


def refused(emulator: Emulator) -> list[Any]:
    return emulator.calls(code="RESOURCE_EXHAUSTED")


def one_more(emulator: Emulator, work: Callable[[], Any]) -> Future[Any]:
    """`work` in a thread, once it has been refused at least once."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    eventually(lambda: refused(emulator))
    assert not future.done()
    return future


def test_an_eleventh_generation_at_once_gets_through_when_another_ends(serve: Serve) -> None:
    emulator = serve(SLOW, quotas="real", frozen=True)
    model = studio(emulator).models.completions("yandexgpt")
    with ThreadPoolExecutor(10) as pool:
        ten = [pool.submit(model.run, "Быстрее!") for _ in range(10)]
        emulator.clock.wait_for_sleepers(10)
        eleventh = one_more(emulator, lambda: model.run("И мне!").text)
        emulator.clock.advance("1m")
        assert {result.result().text for result in ten} == {"Готово."}
    emulator.clock.wait_for_sleepers(1)
    emulator.clock.advance("1m")
    assert eleventh.result() == "Готово."
    assert {call.message for call in refused(emulator)} == {
        "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 10 requests"
    }


@pytest.mark.parametrize(
    ("kind", "most", "window"),
    [("completion_async", 10, "1s"), pytest.param("generate_image", 500, "1m", marks=pytest.mark.slow)],
)
def test_who_runs_into_a_rate_gets_through_when_its_time_has_passed(
    serve: Serve, kind: str, most: int, window: str
) -> None:
    emulator = serve(quotas="real", frozen=True)
    models = studio(emulator).models
    begin: Callable[[str], Any] = (
        models.completions("yandexgpt").run_deferred
        if kind == "completion_async"
        else models.image_generation("yandex-art").run_deferred
    )
    for _ in range(most):
        begin("Один из многих")
    waits = one_more(emulator, lambda: begin("Последний"))
    emulator.clock.advance(window)
    assert waits.result().id
    calls = emulator.calls(kind=kind)
    assert len(emulator.operations.list()) == most + 1
    assert len({call.metadata["idempotency-key"] for call in calls}) == most + 1


def test_polls_that_are_too_many_are_refused_and_the_operation_is_waited_for_all_the_same(serve: Serve) -> None:
    rules = [{"call": "completion_async", "reply": {"text": "Готово."}, "operation": {"done_after_polls": 60}}]
    emulator = serve({"rules": rules}, quotas="real", frozen=True)
    operation = studio(emulator).models.completions("yandexgpt").run_deferred("Подумай")
    waits = one_more(emulator, lambda: operation.wait(poll_interval=0.001).text)
    emulator.clock.advance("1s")
    assert waits.result() == "Готово."


class Losing(RetryPolicy):
    """A network below the SDK's retries that loses the first `lost` replies on their way back."""

    def get_interceptors(self) -> tuple[grpc.aio.ClientInterceptor, ...]:
        return (*super().get_interceptors(), *_losing(2))


def _losing(lost: int) -> tuple[grpc.aio.ClientInterceptor, ...]:
    left = [lost]

    def lose() -> None:
        if left[0]:
            left[0] -= 1
            empty = grpc.aio.Metadata()
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, empty, empty, "connection reset")

    class Unary(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            call = await continuation(client_call_details, request)
            reply = await call
            if client_call_details.method.endswith(b"Completion"):
                lose()
            return reply

    class Stream(grpc.aio.UnaryStreamClientInterceptor):
        async def intercept_unary_stream(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            call = await continuation(client_call_details, request)
            messages = [message async for message in call]
            lose()

            async def again() -> Any:
                for message in messages:
                    yield message

            return again()

    return Unary(), Stream()


@dataclass(frozen=True)
class Told:
    """What the journal tells of calls that came again."""

    calls: list[Any]

    @property
    def again(self) -> list[bool]:
        return [any("again, by its idempotency-key" in note for note in call.behaviour) for call in self.calls]

    @property
    def keys(self) -> set[str]:
        return {call.metadata["idempotency-key"] for call in self.calls}


def losing(emulator: Emulator) -> AIStudio:
    return studio(emulator, Losing(max_attempts=5, initial_backoff=0.01, max_backoff=0.02, jitter=0))


def test_a_create_whose_reply_is_lost_twice_makes_one_operation(serve: Serve) -> None:
    emulator = serve(
        {"rules": [{"name": "отчёт", "call": "completion_async", "reply": {"text": "Отчёт."}, "expect": 1}]}
    )
    operation = losing(emulator).models.completions("yandexgpt").run_deferred("Отчёт за май")
    told = Told(emulator.calls(kind="completion_async"))
    assert (told.again, len(told.keys)) == ([False, True, True], 1)
    assert {call.operation_id for call in told.calls} == {operation.id}
    assert len(emulator.operations.list()) == 1
    emulator.verify("expect")


def test_a_completion_whose_reply_is_lost_twice_is_made_once(serve: Serve) -> None:
    emulator = serve({"rules": [{"replies": [{"text": "раз"}, {"text": "два"}]}]})
    model = losing(emulator).models.completions("yandexgpt")
    assert model.run("?").text == "раз"
    assert Told(emulator.calls(kind="completion")).again == [False, True, True]
    assert model.run("?").text == "два"


def test_a_stream_whose_messages_are_lost_is_played_again(serve: Serve) -> None:
    emulator = serve({"rules": [{"replies": [{"text": "раз два три", "stream": {"words": 1}}, {"text": "иное"}]}]})
    results = list(losing(emulator).models.completions("yandexgpt").run_stream("?"))
    assert [result.text for result in results] == ["раз", "раз два", "раз два три"]
    assert Told(emulator.calls(kind="completion")).again == [False, True, True]


def test_a_scripted_failure_is_retried_under_the_same_key_and_is_not_remembered(serve: Serve) -> None:
    rules = [
        {"call": "completion_async", "per": "idempotency-key", "replies": [{"error": "UNAVAILABLE"}, {"text": "да"}]}
    ]
    emulator = serve({"rules": rules})
    studio(emulator, QUICK).models.completions("yandexgpt").run_deferred("Отчёт")
    told = Told(emulator.calls(kind="completion_async"))
    assert [call.code for call in told.calls] == ["UNAVAILABLE", "OK"]
    assert (told.again, len(told.keys)) == ([False, False], 1)


def test_the_sdks_retries_survive_a_service_that_fails_at_first(serve: Serve) -> None:
    emulator = serve(SOON | {"chaos": {"first": 2, "error": "UNAVAILABLE"}})
    assert studio(emulator, QUICK).models.completions("yandexgpt").run("Быстрее!").text == "Готово."
    assert [(call.code, bool(call.faults)) for call in emulator.calls(kind="completion")] == [
        ("UNAVAILABLE", True),
        ("UNAVAILABLE", True),
        ("OK", False),
    ]


@pytest.mark.parametrize("fault", [{"error": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}, {"drop": True}])
def test_the_sdks_retries_survive_a_share_of_failures_everywhere(serve: Serve, fault: dict[str, Any]) -> None:
    emulator = serve(SOON | {"chaos": {"share": 0.4, **fault}}, immediate=True)
    sdk = studio(emulator)
    model = sdk.models.completions("yandexgpt")
    with ThreadPoolExecutor(4) as pool:
        texts = [result.text for result in pool.map(model.run, ["Быстрее!"] * 20)]
    assert texts == ["Готово."] * 20
    assert sdk.models.completions("yandexgpt").tokenize("Быстрее!")
    operation = model.run_deferred("Подумай")
    assert operation.wait(poll_interval=0.01).text == "Готово."
    assert sum(bool(call.faults) for call in emulator.calls()) > 5
    assert emulator.calls(kind="completion", unmatched=True) == []


def test_a_truncated_stream_is_one_that_the_sdk_takes_for_whole(serve: Serve) -> None:
    """What a program must notice by itself: nothing fails, and no message is final."""
    emulator = serve(
        {"rules": [{"reply": {"text": "раз два три", "stream": {"words": 1}}}], "chaos": {"truncate": True}}
    )
    for result in studio(emulator).models.completions("yandexgpt").run_stream("Считай"):
        assert result.status.name == "PARTIAL"


async def test_the_asynchronous_sdk_survives_an_outage(serve: Serve) -> None:
    outage = {"until": "10s", "error": "UNAVAILABLE"}
    emulator = serve(SOON | {"chaos": outage}, frozen=True)
    sdk = AsyncAIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=PATIENT)
    answer = asyncio.ensure_future(sdk.models.completions("yandexgpt").run("Ты здесь?"))
    await asyncio.to_thread(eventually, lambda: len(emulator.calls(code="UNAVAILABLE")) > 2)
    assert not answer.done()
    await emulator.clock.advance_async("10s")
    assert (await answer).text == "Готово."
