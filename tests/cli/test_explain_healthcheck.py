"""`fm-emulator explain` and `healthcheck`, against an emulator that serves."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wire.client import Client, asking, drawing

from emulator import Emulator

if TYPE_CHECKING:
    from .conftest import Run, Write

RULES = {
    "rules": [
        {"name": "hello", "when": {"question": "Привет", "folder": "b1gtest"}, "reply": {"text": "Здравствуйте!"}},
    ]
}
Begin = Callable[..., Emulator]


@pytest.fixture
def strict() -> Iterator[Emulator]:
    with Emulator(fixtures=RULES, strict=True) as emulator:
        yield emulator


@pytest.fixture
def client(strict: Emulator) -> Iterator[Client]:
    with Client(strict.target) as client:
        yield client


@pytest.fixture
def nobody() -> Iterator[str]:
    """An address that nothing answers at."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"


def pasted(output: str) -> str:
    return output.partition("\na rule that matches it:\n\n")[2]


def test_the_id_in_the_status_leads_to_the_whole_account(run: Run, strict: Emulator, client: Client) -> None:
    reply = client.complete(asking("Привет, эмулятор"))
    assert reply.code == "FAILED_PRECONDITION"
    named = re.search(r"`fm-emulator explain (\w+)` tells all", reply.text)
    assert named is not None
    client.complete(asking("что-то после"))
    result = run("explain", named[1], "--target", strict.target)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].startswith(
        f"{named[1]} /yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion FAILED_PRECONDITION"
    )
    assert 'completion: question "Привет, эмулятор", model yandexgpt' in lines
    assert "✗ hello (fixtures[1] rules[0])" in lines
    assert "    ✓ folder" in lines
    assert any(line.startswith("    ✗ question: ") for line in lines)


def test_without_an_id_it_is_the_last_call_that_no_rule_matched(run: Run, strict: Emulator, client: Client) -> None:
    client.complete(asking("первый"))
    client.complete(asking("второй"))
    client.complete(asking("Привет"))
    assert "второй" in run("explain", "--target", strict.target).output


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("TextGenerationService/Completion", asking("Где: барсук? #1")),
        ("TextGenerationAsyncService/Completion", asking("да", "нет", "12:30")),
        ("ImageGenerationAsyncService/Generate", drawing("рыжий кот")),
    ],
)
def test_the_rule_it_prints_matches_once_it_is_loaded(
    run: Run, write: Write, strict: Emulator, client: Client, method: str, request_: Any
) -> None:
    assert client.call(method, request_).code == "FAILED_PRECONDITION"
    file = write(pasted(run("explain", "--target", strict.target).output))
    with Emulator(fixtures=file, strict=True) as emulator, Client(emulator.target) as other:
        assert other.call(method, request_).code == "OK"


def test_a_call_that_a_rule_answered_is_explained_too(run: Run, strict: Emulator, client: Client) -> None:
    client.complete(asking("Привет"))
    output = run("explain", "c1", "--target", strict.target).output
    assert "answered by: hello" in output
    assert "✓ hello (fixtures[1] rules[0]) answers" in output


def test_the_account_is_of_the_time_of_the_call(run: Run, write: Write) -> None:
    rules = {"rules": [{"name": "once", "times": 1, "reply": {"text": "a"}}]}
    with Emulator(fixtures=rules, strict=True) as emulator, Client(emulator.target) as client:
        client.complete(asking("?"))
        client.complete(asking("?"))
        assert "it has answered 1 times already (times)" in run("explain", "c2", "--target", emulator.target).output


def test_a_method_that_no_rule_is_asked_about_is_told_so(run: Run, strict: Emulator, client: Client) -> None:
    client.call("/some.where.Else/Do", b"")
    assert "no rule is asked about this method" in run("explain", "c1", "--target", strict.target).output


def test_json_is_the_answer_of_the_control_api(run: Run, strict: Emulator, client: Client) -> None:
    client.complete(asking("Привет, эмулятор"))
    told = json.loads(run("explain", "--json", "--target", strict.target).output)
    assert told["call_id"] == "c1"
    assert "✗ hello (fixtures[1] rules[0])" in told["text"]
    assert "question: Привет, эмулятор" in told["rule"]


def test_an_id_that_is_not_there_is_told(run: Run, strict: Emulator) -> None:
    result = run("explain", "c99", "--target", strict.target)
    assert result.exit_code == 1
    assert "no call c99 in the journal" in result.output


def test_it_is_told_when_nothing_was_unmatched(run: Run, strict: Emulator, client: Client) -> None:
    client.complete(asking("Привет"))
    result = run("explain", "--target", strict.target)
    assert result.exit_code == 1
    assert "every call so far was answered by a rule" in result.output


def test_explaining_is_off_where_others_can_reach_it(run: Run) -> None:
    with Emulator(host="0.0.0.0") as emulator:
        result = run("explain", "--target", emulator.target)
        assert result.exit_code == 1
        assert "the control API is off" in result.output
        assert run("healthcheck", "--target", emulator.target).exit_code == 0


@pytest.mark.parametrize("command", ["explain", "healthcheck"])
def test_a_target_where_nothing_answers_is_told(run: Run, nobody: str, command: str) -> None:
    result = run(command, "--target", nobody)
    assert result.exit_code == 1
    assert result.output.startswith(f"{nobody}: nothing answers there (")


def test_healthcheck_says_serving(run: Run, strict: Emulator) -> None:
    result = run("healthcheck", "--target", strict.target)
    assert (result.output, result.exit_code) == (f"{strict.target}: SERVING\n", 0)


def test_the_target_may_come_from_the_environment(run: Run, strict: Emulator) -> None:
    assert run("healthcheck", env={"FM_EMULATOR_TARGET": strict.target}).exit_code == 0


def test_healthcheck_does_not_wait_longer_than_it_is_told(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        target = f"127.0.0.1:{silent.getsockname()[1]}"
        result = run("healthcheck", "--target", target, "--timeout", "0.1")
    assert (result.exit_code, result.output) == (1, f"{target}: no answer in time\n")


def test_what_is_no_target_is_told(run: Run, tmp_path: Path) -> None:
    result = run("healthcheck", "--target", "no such host:1", "--timeout", "2")
    assert result.exit_code == 1
    assert result.output.startswith("no such host:1: ")
