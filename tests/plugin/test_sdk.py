"""Ready clients of the official SDK: `Steering.sdk`, `Steering.async_sdk` and `emulator.sdk`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from emulator import Emulator
from emulator.sdk import wait

Serve = Callable[..., Emulator]
OFFICIAL = "yandex_ai_studio_sdk"


def completions(sdk: Any) -> Any:
    return sdk.models.completions("yandexgpt")


def test_a_client_is_ready_to_use(serve: Serve) -> None:
    e = serve()
    e.rule(when={"folder": "b1gtest"}, reply="раз")
    assert completions(e.sdk()).run("?").text == "раз"


async def test_an_asynchronous_client_is_ready_to_use(serve: Serve) -> None:
    e = serve()
    e.rule(reply="раз")
    assert (await completions(e.async_sdk()).run("?")).text == "раз"


def test_it_retries_at_once(serve: Serve) -> None:
    e = serve()
    e.rule(replies=[{"error": "UNAVAILABLE", "repeat": 4}, "раз"])
    assert completions(e.sdk()).run("?").text == "раз"
    assert [call.code for call in e.calls(kind="completion")] == ["UNAVAILABLE"] * 4 + ["OK"]


def test_every_argument_can_be_given_otherwise(serve: Serve) -> None:
    from yandex_ai_studio_sdk.retry import NoRetryPolicy

    e = serve()
    e.rule(when={"folder": "b1gmine"}, reply={"error": "UNAVAILABLE"})
    with pytest.raises(Exception, match="UNAVAILABLE"):
        completions(e.sdk(folder_id="b1gmine", auth="my-key", retry_policy=NoRetryPolicy())).run("?")
    (call,) = e.calls(kind="completion")
    assert call.metadata["authorization"].startswith("Api-Key")


def test_interceptors_of_its_own_stand_beside_the_one_that_names_the_session(serve: Serve) -> None:
    import grpc.aio

    seen = []

    class Counting(grpc.aio.UnaryUnaryClientInterceptor):
        async def intercept_unary_unary(self, continuation: Any, client_call_details: Any, request: Any) -> Any:
            seen.append(client_call_details.method)
            return await continuation(client_call_details, request)

    job = serve().session("job-17")
    operation = completions(job.sdk(interceptors=[Counting()])).run_deferred("?")
    assert operation.id in [record.id for record in job.operations.list()]
    assert seen


def test_it_shows_the_emulators_token(serve: Serve) -> None:
    job = serve(token="secret").session("job-17")
    job.rule(reply="раз")
    assert completions(job.sdk()).run("?").text == "раз"


def test_without_a_server_there_is_no_client() -> None:
    with pytest.raises(RuntimeError, match="does not serve yet"):
        Emulator().sdk()


def test_without_the_sdk_it_is_told_what_to_install(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (OFFICIAL, "yandex_cloud_ml_sdk"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="pip install yandex-ai-studio-sdk"):
        serve().sdk()


def test_the_older_package_is_taken_where_it_is_the_one_installed(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    older, retry = ModuleType("yandex_cloud_ml_sdk"), ModuleType("yandex_cloud_ml_sdk.retry")
    older.YCloudML = older.AsyncYCloudML = lambda **options: options  # type: ignore[attr-defined]
    retry.RetryPolicy = SimpleNamespace  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, OFFICIAL, None)
    monkeypatch.setitem(sys.modules, older.__name__, older)
    monkeypatch.setitem(sys.modules, retry.__name__, retry)
    e = serve()
    for options in (e.sdk(folder_id="b1g"), e.async_sdk(folder_id="b1g")):
        found: Any = options
        assert found["endpoint"] == e.target
        assert found["folder_id"] == "b1g"
        assert found["verify"] is False


def test_an_operation_is_waited_for_in_milliseconds(serve: Serve) -> None:
    e = serve()
    e.rule(reply="раз", operation={"done_after_polls": 3})
    assert wait(completions(e.sdk()).run_deferred("?")).text == "раз"


async def test_an_operation_of_an_asynchronous_client_too(serve: Serve) -> None:
    e = serve()
    e.rule(reply="раз", operation={"done_after_polls": 3})
    operation = await completions(e.async_sdk()).run_deferred("?")
    assert (await wait(operation, poll_timeout=60)).text == "раз"
