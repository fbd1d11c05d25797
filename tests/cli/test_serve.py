"""`fm-emulator serve` as a process: how it tells that it is ready, what it logs, how it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from wire.client import Client, asking, drawing, eventually

from emulator.api import GetOperationRequest, ListApiEndpointsRequest
from emulator.config import OPTIONS

if TYPE_CHECKING:
    from .conftest import Run, Write

SECRET = "AQVN-very-secret-key-of-mine"
FIXTURES = {
    "rules": [
        {"name": "hello", "when": {"question": "привет"}, "reply": {"text": "Здравствуйте!"}},
        {
            "name": "busy",
            "when": {"question": "занято"},
            "reply": {"error": {"code": "ABORTED", "message": "нет\nмест"}},
        },
        {
            "name": "story",
            "when": {"question": "сказку"},
            "reply": {"text": "раз два три четыре", "stream": {"words": 1, "every": "100ms"}},
        },
        {
            "name": "long",
            "when": {"question": "долго"},
            "reply": {"text": "раз " * 20, "stream": {"words": 1, "every": "1s"}},
        },
        {
            "name": "hours",
            "when": {"question": "часами"},
            "reply": {"text": "раз два", "stream": {"words": 1, "every": "1h"}},
        },
    ]
}


class Served:
    """A process that serves, and its log."""

    def __init__(self, arguments: tuple[Any, ...], folder: Path, environment: dict[str, str]) -> None:
        self.ready_file = folder / "ready.json"
        self._log = folder / "log.txt"
        given = [str(argument) for argument in arguments]
        clean = {key: value for key, value in os.environ.items() if not key.startswith("FM_EMULATOR_")}
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "emulator", "serve", *given],
                stdout=log,
                stderr=log,
                env={**clean, "FM_EMULATOR_READY_FILE": str(self.ready_file), "FM_EMULATOR_PORT": "0", **environment},
            )

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8")

    def ready(self) -> dict[str, Any]:
        """What the ready file says, as soon as there is one."""
        eventually(lambda: self.ready_file.exists() or self.process.poll() is not None, within=30)
        assert self.process.poll() is None, self.log
        said: dict[str, Any] = json.loads(self.ready_file.read_text())
        return said

    @property
    def target(self) -> str:
        return str(self.ready()["grpc"])

    def tell(self, number: int) -> None:
        self.process.send_signal(number)

    def ended(self, within: float = 30) -> int:
        """Its exit status."""
        return self.process.wait(within)


Start = Callable[..., Served]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """`start(*arguments, **environment)` begins to serve; what is left at the end of the test is killed."""
    with ExitStack() as stack:

        def begin(*arguments: Any, **environment: str) -> Served:
            folder = tmp_path / f"served-{len(list(tmp_path.glob('served-*')))}"
            folder.mkdir()
            served = Served(arguments, folder, environment)
            stack.callback(served.process.wait)
            stack.callback(served.process.kill)
            return served

        yield begin


@pytest.fixture
def fixtures(write: Write) -> Path:
    return write(FIXTURES)


# -- ready


def test_once_ready_it_says_where_it_serves_and_how_to_point_the_sdk_at_it(start: Start, fixtures: Path) -> None:
    served = start("--fixtures", fixtures)
    ready = served.ready()
    port = int(ready["grpc"].rpartition(":")[2])
    assert ready == {
        "grpc": f"127.0.0.1:{port}",
        "http": ready["http"],
        "tls": None,
        "ca": None,
        "pid": served.process.pid,
    }
    assert re.fullmatch(r"127\.0\.0\.1:\d+", ready["http"])
    with Client(ready["grpc"]) as client:
        assert client.complete(asking("привет")).only.alternatives[0].message.text == "Здравствуйте!"
    assert [line[13:] for line in served.log.splitlines() if " serving on " in line] == [
        f"INFO serving on 127.0.0.1:{port}, HTTP on {ready['http']} (5 rules); "
        f'AIStudio(folder_id="b1gtest", auth="key", endpoint="localhost:{port}", verify=False)'
    ]


def test_a_port_that_is_taken_is_told_in_a_sentence(start: Start) -> None:
    first = start()
    port = first.target.rpartition(":")[2]
    second = start("--port", port)
    assert second.ended() == 1
    assert second.log == (
        f"fm-emulator: port {port} on 127.0.0.1 is taken; stop what listens there, or give --port 0 for a free one\n"
    )
    assert not second.ready_file.exists()


def test_mistakes_in_fixtures_are_told_and_nothing_listens(start: Start, write: Write) -> None:
    file = write("rules:\n- reply: {txt: a}\n- reply: {error: NO}\n")
    served = start("--fixtures", file)
    assert served.ended() == 1
    lines = served.log.splitlines()
    assert [line.partition(": ")[0] for line in lines[:-1]] == [f"{file}:2", f"{file}:3"]
    assert lines[-1] == "2 mistakes; nothing was loaded"
    assert not served.ready_file.exists()


def test_a_ready_file_that_can_not_be_written_ends_it_with_a_sentence(start: Start, tmp_path: Path) -> None:
    served = start("--ready-file", tmp_path / "no" / "ready.json")
    assert served.ended() == 1
    last = served.log.splitlines()[-1]
    assert last == f"fm-emulator: ready-file: {tmp_path}/no/ready.json can't be written: No such file or directory"


# -- the end


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_signal_ends_it_once_calls_under_way_have_finished(start: Start, fixtures: Path, number: int) -> None:
    served = start("--fixtures", fixtures)
    with Client(served.target) as client:
        call = client.begin("TextGenerationService/Completion", asking("сказку", stream=True))
        next(call)
        served.tell(number)
        assert len(list(call)) == 3
        assert call.code() is grpc.StatusCode.OK
    assert served.ended() == 0
    assert "stopping: calls under way are given a few seconds" in served.log
    assert re.search(r"Completion rule=story OK", served.log)
    assert not served.ready_file.exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_a_second_signal_ends_it_at_once(start: Start, fixtures: Path, number: int) -> None:
    served = start("--fixtures", fixtures)
    with Client(served.target) as client:
        call = client.begin("TextGenerationService/Completion", asking("долго", stream=True))
        next(call)
        served.tell(number)
        eventually(lambda: "stopping" in served.log)
        began = time.monotonic()
        served.tell(number)
        assert served.ended() == 128 + number
        assert time.monotonic() - began < 2


def test_a_call_that_would_take_hours_is_let_go_at_once(start: Start, fixtures: Path) -> None:
    served = start("--fixtures", fixtures)
    with Client(served.target) as client:
        call = client.begin("TextGenerationService/Completion", asking("часами", stream=True))
        next(call)
        began = time.monotonic()
        served.tell(signal.SIGTERM)
        with pytest.raises(grpc.RpcError) as ended:
            next(call)
        error: Any = ended.value
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert time.monotonic() - began < 4
    assert served.ended() == 0


@pytest.mark.slow
def test_a_call_that_takes_longer_than_it_is_given_is_ended(start: Start, fixtures: Path) -> None:
    served = start("--fixtures", fixtures)
    with Client(served.target) as client:
        call = client.begin("TextGenerationService/Completion", asking("долго", stream=True), timeout=60)
        next(call)
        began = time.monotonic()
        served.tell(signal.SIGTERM)
        with pytest.raises(grpc.RpcError):
            list(call)
        assert call.code() is not grpc.StatusCode.OK
    assert served.ended() == 0
    assert 3 < time.monotonic() - began < 20


def test_what_rules_expected_and_did_not_get_is_told_at_the_end(start: Start, write: Write) -> None:
    rules = [
        {"name": name, "expect": expect, "when": {"question": name}, "reply": {"text": "a"}}
        for name, expect in [("met", 1), ("never", {"at_least": 1}), ("often", {"at_most": 0})]
    ]
    served = start("--fixtures", write({"rules": rules}))
    with Client(served.target) as client:
        client.complete(asking("met"))
        client.complete(asking("often"))
    served.tell(signal.SIGTERM)
    assert served.ended() == 0
    told = re.findall(r"WARNING (\w+) \(\S+\): (chosen .*)", served.log)
    assert told == [
        ("never", "chosen 0 times, expected at least 1"),
        ("often", "chosen 1 time, expected exactly 0"),
    ]


# -- the log


def call_each(target: str) -> None:
    """Calls that go well, fail, and are no calls of the API, with credentials in each."""
    metadata = [("authorization", f"Api-Key {SECRET}"), ("cookie", f"session={SECRET}; theme=dark")]
    with Client(target) as client:
        client.complete(asking("привет"), metadata=metadata)
        client.complete(asking("занято"), metadata=metadata)
        client.complete(asking("что-то ещё"), metadata=metadata)
        client.call("/some.where.Else/Do", b"", metadata=metadata)


def test_each_call_is_a_line_of_text_without_credentials(start: Start, fixtures: Path) -> None:
    served = start("--fixtures", fixtures)
    call_each(served.target)
    served.tell(signal.SIGTERM)
    assert served.ended() == 0
    assert "secret" not in served.log
    lines = [line for line in served.log.splitlines() if re.search(r" c\d ", line)]
    took = r"\d+\.\dms"
    expected = [
        rf"c1 \S*Completion rule=hello OK {took}",
        rf"c2 \S*Completion rule=busy ABORTED {took} нет\\nмест",
        rf"c3 \S*Completion rule=default OK {took}",
        rf"c4 \S*Do UNIMPLEMENTED {took} no such service: some.where.Else; .*",
    ]
    for line, pattern in zip(lines, expected, strict=True):
        assert re.fullmatch(rf"\d\d:\d\d:\d\d\.\d\d\d INFO {pattern}", line), line


def test_each_call_is_a_line_of_json_where_that_is_asked_for(start: Start, fixtures: Path) -> None:
    served = start("--fixtures", fixtures, "--log-format", "json")
    target = served.target
    call_each(target)
    served.tell(signal.SIGTERM)
    assert served.ended() == 0
    assert "secret" not in served.log
    lines = [json.loads(line) for line in served.log.splitlines()]
    assert lines[0]["message"].startswith("serving on ")
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", line["time"]) for line in lines)
    calls = [line for line in lines if line["event"] == "call"]
    assert [line["event"] for line in lines] == ["serving", *["call"] * 4, "stopping", "stopped"]
    assert (lines[0]["grpc"], lines[0]["rules"]) == (target, 5)
    assert [(c["call"], c["rule"], c["status"], c["messages"]) for c in calls] == [
        ("c1", "hello", "OK", 1),
        ("c2", "busy", "ABORTED", 0),
        ("c3", "default", "OK", 1),
        ("c4", "", "UNIMPLEMENTED", 0),
    ]
    assert calls[0]["method"] == "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
    assert calls[1]["message"] == "нет\nмест"
    assert "message" not in calls[0]
    assert all(c["level"] == "info" and c["ms"] >= 0 and len(c["request_id"]) == 36 for c in calls)


def test_what_ends_it_before_it_serves_is_json_as_well(start: Start, write: Write, fixtures: Path) -> None:
    file = write("rules:\n- {repyl: {text: a}}\n- {reply: {txet: b}}\n", "mistaken.yaml")
    served = start("--fixtures", file, "--log-format", "json")
    assert served.ended() == 1
    told = [json.loads(line) for line in served.log.splitlines()]
    assert [line["event"] for line in told] == ["mistake", "mistake"]
    assert told[0]["message"].startswith(f"{file}:2: ")
    first = start("--fixtures", fixtures)
    second = start("--port", first.target.rpartition(":")[2], "--log-format", "json")
    assert second.ended() == 1
    assert "is taken" in json.loads(second.log)["message"]


def test_at_a_higher_level_calls_are_not_logged_and_warnings_are(start: Start, write: Write) -> None:
    file = write("rules:\n- {name: all, reply: {text: a}}\n- reply: {text: b}\n")
    served = start("--fixtures", file, "--log-level", "warning")
    call_each(served.target)
    served.tell(signal.SIGTERM)
    assert served.ended() == 0
    (line,) = served.log.splitlines()
    assert f"WARNING {file}:3: never reached: all" in line


# -- options


def test_options_come_from_the_environment_and_the_command_line_beats_it(start: Start, write: Write) -> None:
    one = write({"rules": [{"when": {"question": "раз"}, "reply": {"text": "one"}}]}, "one.yaml")
    two = write({"rules": [{"when": {"question": "два"}, "reply": {"text": "two"}}]}, "folder/two.yml").parent
    served = start(
        "--advertise",
        "emulator.test:4443",
        FM_EMULATOR_FIXTURES=f"{one}{os.pathsep}{two}",
        FM_EMULATOR_STRICT="true",
        FM_EMULATOR_LENIENT="1",
        FM_EMULATOR_ADVERTISE="elsewhere:1",
        FM_EMULATOR_HOST="127.0.0.1",
        FM_EMULATOR_LOG_FORMAT="json",
        FM_EMULATOR_NOW="2030-01-01T00:00:00Z",
    )
    with Client(served.target) as client:
        texts = [client.complete(asking(q)).only.alternatives[0].message.text for q in ("раз", "два")]
        assert texts == ["one", "two"]
        assert client.complete(asking("три")).code == "FAILED_PRECONDITION"
        assert client.complete(asking("раз", model="nonsense")).code == "OK"
        listed = client.call("ApiEndpointService/List", ListApiEndpointsRequest()).only
        assert {endpoint.address for endpoint in listed.endpoints} == {"emulator.test:4443"}
    first = json.loads(served.log.splitlines()[0])
    assert "(2 rules)" in first["message"]
    assert 'endpoint="emulator.test:4443"' in first["message"]


def test_now_and_speed_are_what_operations_live_by(start: Start, write: Write) -> None:
    file = write({"rules": [{"reply": {"text": "a"}, "operation": {"done_after": "10h"}}]})
    served = start("--fixtures", file, "--now", "2030-01-01T00:00:00Z", "--speed", "100000")
    with Client(served.target) as client:
        begun = client.call("TextGenerationAsyncService/Completion", asking("?")).only
        ended = client.finished(begun.id)
    assert begun.created_at.ToJsonString().startswith("2030-01-")
    assert ended.modified_at.seconds - ended.created_at.seconds == 36_000


def test_the_same_seed_and_calls_give_the_same_bytes_in_another_process(start: Start) -> None:
    got = []
    for seed in (7, 7, 8):
        # So slow that the whole test falls into one second of the emulator's time.
        served = start("--seed", seed, "--now", "2026-01-31T12:00:00Z", "--speed", "0.001")
        with Client(served.target) as client:
            replies = [
                client.complete(asking("расскажи сказку", stream=True)),
                client.call("ImageGenerationAsyncService/Generate", drawing("кот")),
                client.call("TextGenerationAsyncService/Completion", asking("в фоне")),
                client.call("OperationService/Get", GetOperationRequest(operation_id="no")),
            ]
        got.append([([m.SerializeToString() for m in r.messages], r.headers, r.text, r.trailers) for r in replies])
    assert got[0] == got[1]
    for one, other in zip(got[0], got[2], strict=True):
        assert one[1]["x-request-id"] != other[1]["x-request-id"]
    assert got[0][1][0] != got[2][1][0]  # the operation's id


def test_a_taken_port_for_http_is_told_in_a_sentence(run: Run) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = run("serve", "--port", "0", "--http-port", str(port))
    assert result.exit_code == 1
    assert result.output.startswith(f"fm-emulator: port {port} on 127.0.0.1 is taken; ")
    assert "--http-port 0" in result.output


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--speed", "0"], "speed: 0.0 must be more than 0"),
        (["--port", "70000"], "port: 70000 is not a port"),
        (["--now", "noon"], "now: 'noon' is not a time"),
        (["--advertise", "here"], "advertise: 'here' is not HOST:PORT"),
        (["--advertise-http", "here"], "advertise_http: 'here' is not HOST:PORT"),
    ],
)
def test_an_option_that_can_not_be_is_told_in_a_sentence(run: Run, arguments: list[str], told: str) -> None:
    result = run("serve", *arguments)
    assert result.exit_code == 1
    assert result.output.startswith(f"fm-emulator: {told}")


@pytest.mark.parametrize("arguments", [["--port", "many"], ["--log-level", "loud"], ["--prot", "1"], ["extra"]])
def test_an_option_that_is_none_is_a_usage_error(run: Run, arguments: list[str]) -> None:
    assert run("serve", *arguments).exit_code == 2


def test_every_option_has_its_environment_variable_in_the_help(run: Run) -> None:
    help_ = run("serve", "--help").output
    options = set(re.findall(r"--([a-z-]+)", help_)) - {"help", "port-"}
    variables = set(re.findall(r"FM_EMULATOR_([A-Z_]+)", help_))
    assert {option.upper().replace("-", "_") for option in options} >= variables >= {"FIXTURES", "PORT", "READY_FILE"}
    assert variables == {name.upper() for name in OPTIONS}


# -- who may call


def key(text: str) -> list[tuple[str, str]]:
    return [("authorization", f"Api-Key {text}")]


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        (["--api-key", "AQVN-one", "--api-key", "AQVN-two"], {}, "2 API keys listed"),
        ([], {"FM_EMULATOR_API_KEY": "AQVN-one AQVN-two"}, "2 API keys listed"),
        (["--require-auth"], {}, "any that is well-formed"),
    ],
)
def test_options_shut_the_api_and_the_log_says_so(
    start: Start, arguments: list[str], environment: dict[str, str], told: str
) -> None:
    served = start(*arguments, **environment)
    with Client(served.target) as client:
        assert client.complete(asking("?")).code == "UNAUTHENTICATED"
        assert client.complete(asking("?"), metadata=key("AQVN-two")).code == "OK"
    assert f"calls have to show a credential: {told}" in served.log
    assert "AQVN-two" not in served.log
