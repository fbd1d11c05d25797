"""The fixture `fm_emulator`: one server a session, as new for every test, whatever kind of test it is."""

from __future__ import annotations

import pytest

from .conftest import Run

pytest_plugins = ["pytester"]

ASK = """
import pytest

def ask(e, question="Привет!", **more):
    return e.sdk(**more).models.completions("yandexgpt").run(question).text
"""


def test_everything_is_as_new_in_the_next_test(run: Run) -> None:
    test = """
fixtures = {"rules": [
    {"reply": {"text": "раз"}, "times": 1, "then": {"state": {"step": "second"}}},
    {"reply": {"text": "потом"}},
]}
pytestmark = pytest.mark.fm_emulator(fixtures=fixtures, now="2026-01-31T12:00:00Z", frozen=True)

@pytest.mark.parametrize("n", [1, 2])
def test_it(fm_emulator, n):
    assert len(fm_emulator.sessions) == 1
    assert fm_emulator.calls() == fm_emulator.operations.list() == []
    assert str(fm_emulator.clock.now) == "2026-01-31 12:00:00+00:00"
    assert fm_emulator.sessions.default.state.scenario == {}
    assert ask(fm_emulator) == "раз"
    assert fm_emulator.calls(kind="completion")[0].id == "c2"
    fm_emulator.rule(reply="своё")
    assert ask(fm_emulator) == "своё"
    fm_emulator.clock.advance("72h")
    fm_emulator.session("job-17").rule(reply="чужое")
    model = fm_emulator.sdk().models.completions("yandexgpt")
    assert model.run_deferred("?").wait().text == "своё"
    assert len(fm_emulator.operations.list()) == 1
"""
    run(ASK + test).assert_outcomes(passed=2)


def test_a_session_has_one_server_which_ends_with_it(run: Run) -> None:
    test = """
import socket, threading
targets = set()

def test_one(fm_emulator):
    targets.add(fm_emulator.target)

def test_two(fm_emulator):
    targets.add(fm_emulator.target)
    assert len(targets) == 1
    assert sum(thread.name == "fm-emulator" for thread in threading.enumerate()) == 1
"""
    conftest = """
import threading

def pytest_unconfigure(config):
    print("left behind:", [thread.name for thread in threading.enumerate() if "emulator" in thread.name])
"""
    result = run(test, beside={"conftest.py": conftest}, inside=False)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["left behind: []"])


def test_nothing_is_imported_or_started_before_a_test_asks(run: Run) -> None:
    test = """
import sys, threading

def test_before():
    assert {name for name in sys.modules if name.startswith("emulator")} <= {
        "emulator", "emulator.errors", "emulator.pytest_plugin"
    }
    assert "grpc" not in sys.modules
    assert "fm-emulator" not in [thread.name for thread in threading.enumerate()]

def test_then(fm_emulator):
    assert "emulator.server" in sys.modules
"""
    run(test, inside=False).assert_outcomes(passed=2)


def test_it_can_be_turned_off(run: Run) -> None:
    result = run("def test_it(fm_emulator): pass", args=("-p", "no:fm_emulator"))
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*fixture 'fm_emulator' not found"])


@pytest.mark.parametrize("scope", ["function", "module", "session"])
def test_async_tests_use_it_in_a_loop_of_any_scope(run: Run, scope: str) -> None:
    test = f"""
import pytest
pytestmark = pytest.mark.asyncio(loop_scope={scope!r})

@pytest.mark.parametrize("n", [1, 2])
async def test_it(fm_emulator, n):
    fm_emulator.rule(reply="раз", operation={{"done_after": "1h"}})
    model = fm_emulator.async_sdk().models.completions("yandexgpt")
    assert (await model.run("?")).text == "раз"
    operation = await model.run_deferred("?")
    await fm_emulator.clock.advance_async("1h")
    assert (await operation.wait()).text == "раз"
    assert len(fm_emulator.calls(kind="completion")) == 1
"""
    run(test).assert_outcomes(passed=2)


def test_async_tests_of_anyio_use_it(run: Run) -> None:
    test = """
import pytest

@pytest.fixture
def anyio_backend():
    return "asyncio"

@pytest.mark.anyio
async def test_it(fm_emulator):
    fm_emulator.rule(reply="раз")
    assert (await fm_emulator.async_sdk().models.completions("yandexgpt").run("?")).text == "раз"
"""
    pytest.importorskip("anyio")
    run(test, ini="asyncio_mode = strict\n").assert_outcomes(passed=1)


def test_a_call_left_open_ends_with_its_test_and_counts_nowhere_else(run: Run) -> None:
    test = """
import grpc, pytest
from emulator.api import METHODS, CompletionRequest

PATH = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
left = []

def asked():
    request = CompletionRequest(model_uri="gpt://b1g/yandexgpt")
    request.completion_options.stream = True
    request.messages.add(role="user", text="?")
    return request

def test_one(fm_emulator):
    fm_emulator.rule(reply={"text": "раз два", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}})
    channel = grpc.insecure_channel(fm_emulator.target)
    method = METHODS[PATH]
    call = channel.unary_stream(
        PATH, request_serializer=method.input.SerializeToString, response_deserializer=method.output.FromString
    )(asked())
    next(call)
    left.append((channel, call))

@pytest.mark.fm_emulator(strict=True)
def test_two(fm_emulator):
    (channel, call), = left
    with channel, pytest.raises(grpc.RpcError):
        next(call)
    assert call.code() is grpc.StatusCode.CANCELLED
    assert fm_emulator.calls() == []
    assert fm_emulator.report().problems == ()
"""
    run(test).assert_outcomes(passed=2)


def test_workers_of_xdist_have_a_server_each(run: Run) -> None:
    test = """
@pytest.mark.parametrize("n", range(8))
def test_it(fm_emulator, n, worker_id):
    fm_emulator.rule(reply=f"{worker_id} {n}")
    assert ask(fm_emulator) == f"{worker_id} {n}"
    assert len(fm_emulator.calls(kind="completion")) == 1
"""
    run(ASK + test, args=("-n", "2"), inside=False).assert_outcomes(passed=8)


def test_a_client_of_a_named_session_goes_there(run: Run) -> None:
    test = """
def test_it(fm_emulator):
    job = fm_emulator.session("job-17")
    job.rule(reply="моё")
    fm_emulator.rule(reply="общее")
    assert [ask(job), ask(fm_emulator)] == ["моё", "общее"]
    model = job.sdk().models.completions("yandexgpt")
    assert [chunk.text for chunk in model.run_stream("?")][-1] == "моё"
    assert len(job.calls(kind="completion")) == 2
    assert len(fm_emulator.calls(kind="completion")) == 1

async def test_async(fm_emulator):
    job = fm_emulator.session("job-17")
    job.rule(reply="моё")
    assert (await job.async_sdk().models.completions("yandexgpt").run("?")).text == "моё"
    job.assert_called(1, kind="completion")
"""
    run(ASK + test).assert_outcomes(passed=2)


def test_the_official_stubs_may_be_imported_before_or_after(run: Run) -> None:
    test = """
import sys
from yandex.cloud.ai.foundation_models.v1.text_common_pb2 import Message

def test_before(fm_emulator):
    assert ask(fm_emulator)
"""
    run(ASK + test, inside=False).assert_outcomes(passed=1)


def test_the_fixture_can_be_asked_for_while_a_test_runs_and_by_other_fixtures(run: Run) -> None:
    test = """
@pytest.fixture
def answer(fm_emulator):
    fm_emulator.rule(reply="раз")
    return ask(fm_emulator)

def test_fixture(answer):
    assert answer == "раз"

@pytest.mark.fm_emulator(strict=True, verify=False)
def test_late(request):
    e = request.getfixturevalue("fm_emulator")
    with pytest.raises(Exception, match="no rule matches"):
        ask(e)
"""
    run(ASK + test).assert_outcomes(passed=2)


def test_what_tests_annotate_with_comes_from_the_package(run: Run) -> None:
    test = """
from emulator import Emulator, Recorded, Scripted, Steering

def test_it(fm_emulator: Emulator) -> None:
    job: Steering = fm_emulator.session("job-17")
    rule: Scripted = job.rule(reply="раз")
    ask(job)
    (call,) = rule.calls
    assert isinstance(fm_emulator, Emulator)
    assert isinstance(job, Steering)
    assert isinstance(rule, Scripted)
    assert isinstance(call, Recorded)
"""
    run(ASK + test).assert_outcomes(passed=1)
