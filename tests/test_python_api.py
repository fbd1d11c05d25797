"""`Emulator` as a test uses it: what it takes, where it serves, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from wire.client import Client, asking, drawing

from emulator import Emulator, FixtureError, UsageError
from emulator.api import METHODS, GetOperationRequest, HealthCheckRequest, ListApiEndpointsRequest

HELLO = {"rules": [{"when": {"question": {"contains": "привет"}}, "reply": {"text": "Здравствуйте!"}}]}
BYE = {"rules": [{"when": {"question": {"contains": "пока"}}, "reply": {"text": "До встречи!"}}]}
COMPLETION = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"


def text(client: Client, question: str) -> str:
    answer: str = client.complete(asking(question)).only.alternatives[0].message.text
    return answer


def refuses(target: str) -> bool:
    host, _, port = target.rpartition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


Threads = Callable[[], set[threading.Thread]]


@pytest.fixture
def threads() -> Threads:
    """The threads that are there now and were not when the test began."""
    before = set(threading.enumerate())
    return lambda: {thread for thread in threading.enumerate() if thread.name == "fm-emulator"} - before


# -- entering and leaving


def test_with_serves_until_the_block_ends(threads: Threads) -> None:
    with Emulator(fixtures=HELLO) as e:
        target = e.target
        with Client(target) as client:
            assert text(client, "Привет!") == "Здравствуйте!"
    assert refuses(target)
    assert threads() == set()


async def test_async_with_serves_in_the_callers_loop(threads: Threads) -> None:
    async with Emulator(fixtures=HELLO) as e:
        target = e.target
        async with grpc.aio.insecure_channel(target) as channel:
            method = METHODS[COMPLETION]
            call = channel.unary_stream(COMPLETION, method.input.SerializeToString, method.output.FromString)
            (message,) = [m async for m in call(asking("Привет!"), timeout=10)]
        assert message.alternatives[0].message.text == "Здравствуйте!"
        assert threads() == set()
    assert refuses(target)


def test_an_exception_in_the_body_closes_it_at_once_and_comes_through(threads: Threads) -> None:
    rules = [{"reply": {"text": "раз два", "stream": {"words": 1, "every": "1h"}}}]
    with pytest.raises(ZeroDivisionError), Emulator(fixtures={"rules": rules}) as e:  # noqa: PT012
        target = e.target
        with Client(target) as client:
            call = client.begin("TextGenerationService/Completion", asking("?", stream=True))
            next(call)
            raise ZeroDivisionError
    assert refuses(target)
    assert threads() == set()


async def test_an_exception_in_an_async_body_closes_it_too() -> None:
    with pytest.raises(ZeroDivisionError):  # noqa: PT012
        async with Emulator() as e:
            target = e.target
            raise ZeroDivisionError
    assert refuses(target)


def test_leaving_lets_a_stream_under_way_finish() -> None:
    rules = [{"reply": {"text": "раз два три", "stream": {"words": 1, "every": "50ms"}}}]
    with Emulator(fixtures={"rules": rules}) as e:
        client = Client(e.target)
        call = client.begin("TextGenerationService/Completion", asking("?", stream=True))
        next(call)
    with client:
        assert len(list(call)) == 2
        assert call.code() is grpc.StatusCode.OK


def test_leaving_does_not_wait_for_what_never_ends() -> None:
    rules = [{"reply": {"text": "раз два", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}}}]
    with Emulator(fixtures={"rules": rules}) as e:
        client = Client(e.target)
        call = client.begin("TextGenerationService/Completion", asking("?", stream=True))
        next(call)
        began = time.monotonic()
    assert time.monotonic() - began < 4
    with client:
        with pytest.raises(grpc.RpcError) as ended:
            next(call)
        error: Any = ended.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE


def test_entered_again_it_serves_again_and_says_so() -> None:
    emulator = Emulator(fixtures=HELLO)
    for _ in range(2):
        with emulator as e, Client(e.target) as client:
            assert client.call("Health/Check", HealthCheckRequest()).only.status == 1
            assert text(client, "привет") == "Здравствуйте!"


def test_entering_it_twice_at_once_is_refused(threads: Threads) -> None:
    emulator = Emulator(fixtures=HELLO)
    with emulator as e, Client(e.target) as client:
        with pytest.raises(RuntimeError), emulator:
            pass
        assert text(client, "привет") == "Здравствуйте!"
    assert threads() == set()


def test_the_target_is_there_only_while_it_serves() -> None:
    emulator = Emulator()
    with pytest.raises(RuntimeError, match="does not serve yet"):
        _ = emulator.target
    with emulator:
        assert emulator.target == f"127.0.0.1:{emulator.port}"
    with pytest.raises(RuntimeError):
        _ = emulator.target


@pytest.mark.parametrize(
    ("host", "target"), [("localhost", "127.0.0.1"), ("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")]
)
def test_the_target_can_be_called_whatever_the_host(host: str, target: str) -> None:
    with Emulator(host=host) as e, Client(e.target) as client:
        assert e.target.rpartition(":")[0] == target
        assert client.call("Health/Check", HealthCheckRequest()).code == "OK"


def test_a_port_that_is_given_is_taken_and_free_again_afterwards() -> None:
    with Emulator() as first:
        port = first.port
    for _ in range(2):
        with Emulator(port=port) as again:
            assert again.port == port


def test_a_taken_port_is_refused_and_leaves_nothing_running(threads: Threads) -> None:
    with Emulator() as first:
        with pytest.raises(UsageError, match=f"port {first.port} on 127.0.0.1 is taken"), Emulator(port=first.port):
            pass
        assert len(threads()) == 1
        with Client(first.target) as client:
            assert client.call("Health/Check", HealthCheckRequest()).code == "OK"


def test_two_at_once_have_rules_and_counters_of_their_own() -> None:
    once = {"rules": [{"times": 1, "reply": {"text": "раз"}}, {"reply": {"text": "потом"}}]}
    with (
        Emulator(fixtures=once) as one,
        Emulator(fixtures=once) as other,
        Client(one.target) as a,
        Client(other.target) as b,
    ):
        assert one.port != other.port
        assert [text(a, "?"), text(b, "?"), text(a, "?"), text(b, "?")] == ["раз", "раз", "потом", "потом"]
        assert len(one.sessions.default.journal) == len(other.sessions.default.journal) == 2


# -- fixtures


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    import yaml

    for name, file in (("hello.yaml", HELLO), ("bye.yml", BYE)):
        (tmp_path / name).write_text(yaml.safe_dump(file, allow_unicode=True), "utf-8")
    return tmp_path


@pytest.mark.parametrize(
    "fixtures",
    [
        lambda folder: folder,
        lambda folder: str(folder),
        lambda folder: [folder / "hello.yaml", folder / "bye.yml"],
        lambda folder: (HELLO, BYE),
        lambda folder: [HELLO, str(folder / "bye.yml")],
        lambda folder: {"rules": HELLO["rules"] + BYE["rules"]},
    ],
    ids=["folder", "folder as text", "files", "mappings", "both", "one mapping"],
)
def test_fixtures_are_a_path_a_mapping_or_several(folder: Path, fixtures: Callable[[Path], Any]) -> None:
    with Emulator(fixtures=fixtures(folder), strict=True) as e, Client(e.target) as client:
        assert [text(client, "привет"), text(client, "пока")] == ["Здравствуйте!", "До встречи!"]


def test_a_single_file_is_that_file_alone(folder: Path) -> None:
    with Emulator(fixtures=folder / "bye.yml", strict=True) as e, Client(e.target) as client:
        assert text(client, "пока") == "До встречи!"
        assert client.complete(asking("привет")).code == "FAILED_PRECONDITION"


def test_a_mapping_that_changes_afterwards_changes_nothing() -> None:
    rule: dict[str, Any] = {"reply": {"text": "да"}}
    emulator = Emulator(fixtures={"rules": [rule]})
    rule["reply"]["text"] = "нет"
    with emulator as e, Client(e.target) as client:
        assert text(client, "?") == "да"


def test_mistakes_in_fixtures_come_all_at_once_and_before_anything_listens(tmp_path: Path, threads: Threads) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n- reply: {txt: a}\n- reply: {text: a}\n- reply: {error: NO}\n", "utf-8")
    with pytest.raises(FixtureError) as refused:
        Emulator(fixtures=[file, {"rules": [{"when": {"turn": "x"}, "reply": {"text": "a"}}]}])
    assert [(mistake.file, mistake.line) for mistake in refused.value.mistakes] == [
        (str(file), 2),
        (str(file), 4),
        ("fixtures[2]", 0),
    ]
    assert str(refused.value).splitlines() == [str(mistake) for mistake in refused.value.mistakes]
    assert threads() == set()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"strct": True}, "no such option: strct"),
        ({"speed": 0}, "speed: 0 must be more than 0"),
        ({"port": 70000}, "port: 70000 is not a port"),
        ({"now": "noon"}, "now: 'noon' is not a time"),
        ({"advertise": "here"}, "advertise: 'here' is not HOST:PORT"),
    ],
)
def test_an_option_that_can_not_be_is_refused_before_anything_listens(options: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        Emulator(**options)


# -- the same calls, the same bytes


def everything(client: Client) -> list[Any]:
    """What several kinds of calls get: messages, headers, trailers, in order."""
    out: list[Any] = []
    for method, request in [
        ("TextGenerationService/Completion", asking("привет", stream=True)),
        ("TextGenerationService/Completion", asking("что-нибудь")),
        ("TextGenerationService/Completion", asking("сбой")),
        ("TextGenerationAsyncService/Completion", asking("в фоне")),
        ("ImageGenerationAsyncService/Generate", drawing("кот")),
    ]:
        reply = client.call(method, request)
        out.append((reply.messages, reply.code, reply.text, reply.headers, reply.trailers))
        for message in reply.messages:
            if hasattr(message, "done"):
                got = client.call("OperationService/Get", GetOperationRequest(operation_id=message.id))
                out.append((got.messages, got.headers))
    return out


SAME = {
    "rules": [
        {"when": {"question": "привет"}, "reply": {"text": "раз два три", "stream": {"words": 1}}},
        {"when": {"question": "сбой"}, "reply": {"error": {"code": "ABORTED", "retry_after": "1s"}}},
    ],
    "defaults": {"operation": {"done_after_polls": 1}},
    "fallback": {"text": "{{ question }}"},
}
# So slow that all of a test falls into one second of its time.
FROZEN: dict[str, Any] = {"now": "2026-01-31T12:00:00Z", "speed": 0.001}


def test_the_same_fixtures_seed_now_and_calls_give_the_same_bytes() -> None:
    got = []
    for seed in (7, 7, 8):
        with Emulator(fixtures=SAME, seed=seed, **FROZEN) as e, Client(e.target) as client:
            got.append(everything(client))
    assert got[0] == got[1]
    assert got[0] != got[2]


def test_now_and_speed_are_what_operations_tell() -> None:
    rules = [{"call": "completion_async", "reply": {"text": "да"}, "operation": {"done_after": "1h"}}]
    with (
        Emulator(fixtures={"rules": rules}, now="2030-01-01T00:00:00Z", speed=100_000) as e,
        Client(e.target) as client,
    ):
        begun = client.call("TextGenerationAsyncService/Completion", asking("?")).only
        assert begun.created_at.ToDatetime().isoformat()[:10] == "2030-01-01"
        ended = client.finished(begun.id)
        assert (ended.modified_at.ToDatetime() - ended.created_at.ToDatetime()).total_seconds() == 3600


def test_discovery_tells_the_address_it_serves_at() -> None:
    with Emulator() as e, Client(e.target) as client:
        listed = client.call("ApiEndpointService/List", ListApiEndpointsRequest()).only
        assert {endpoint.address for endpoint in listed.endpoints} == {f"localhost:{e.port}"}
        with Client(listed.endpoints[0].address) as found:
            assert found.complete(asking("?")).code == "OK"


def test_it_serves_in_a_thread_beside_a_running_loop() -> None:
    async def body() -> str:
        with Emulator(fixtures=HELLO) as e, Client(e.target) as client:
            return await asyncio.to_thread(text, client, "привет")

    assert asyncio.run(body()) == "Здравствуйте!"


# -- beside the official stubs, which register the same file names in protobuf's default pool

STUBS = """
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import CompletionRequest
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationServiceStub,
)
"""
OURS = "from emulator import Emulator\nfrom emulator.api import METHODS\n"
CALLS = """
import grpc
with Emulator(fixtures={"rules": [{"reply": {"text": "ok"}}]}) as e, grpc.insecure_channel(e.target) as channel:
    request = CompletionRequest(model_uri="gpt://b1gtest/yandexgpt/latest")
    request.messages.add(role="user", text="?")
    (reply,) = TextGenerationServiceStub(channel).Completion(request, timeout=10)
    print(reply.alternatives[0].message.text)
"""


@pytest.mark.parametrize("imports", [STUBS + OURS, OURS + STUBS], ids=["stubs first", "emulator first"])
def test_it_lives_with_the_official_stubs_whichever_came_first(imports: str) -> None:
    run = subprocess.run(
        [sys.executable, "-c", imports + CALLS], capture_output=True, text=True, timeout=60, check=False
    )
    assert (run.stdout, run.returncode) == ("ok\n", 0), run.stderr


def test_a_process_that_forgets_to_leave_ends_all_the_same() -> None:
    code = "from emulator import Emulator\nEmulator().__enter__()\nprint('over')"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (run.stdout, run.returncode) == ("over\n", 0), run.stderr
