"""A container that serves everybody: jobs bring their own rules over the control API and see only themselves.

It is started as a CI service is, before there is a checkout: no fixtures, a token, the API key names the session. The
application is the one in examples/agent, which knows nothing of all this.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import pytest
from wire.client import eventually
from yandex_ai_studio_sdk import AIStudio
from yandex_ai_studio_sdk.exceptions import AioRpcError
from yandex_ai_studio_sdk.retry import NoRetryPolicy

from .conftest import ROOT, Container, Start, mounted

if TYPE_CHECKING:
    from assistant import Assistant

pytestmark = [pytest.mark.container, pytest.mark.slow]

AGENT = ROOT / "examples" / "agent"
TOKEN = "s3cret-of-ci"
TALE = "Жил-был кот. Он спал на печке и смотрел, как за окном идёт снег."
GREETING = """\
rules:
  - name: greeting
    when: {question: {contains: привет}}
    reply: {text: Здравствуйте!}
"""
SLOW = f"""\
rules:
  - name: slow
    reply: {{text: "{TALE}", stream: {{chunks: 3, first_after: 20s, every: 5s}}}}
"""
FLAKY = """\
rules:
  - name: flaky
    expect: 3
    replies:
      - {error: RESOURCE_EXHAUSTED, repeat: 2}
      - {text: Теперь можно.}
"""


@dataclass(frozen=True)
class Host:
    """The machine beside the container, where a job runs `fm-emulator` with what its environment says."""

    target: str
    session: str = ""
    token: str = TOKEN

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command, whatever comes of it."""
        settings = {"TARGET": self.target, "SESSION": self.session, "TOKEN": self.token}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("FM_EMULATOR_")}
        environment.update({f"FM_EMULATOR_{key}": value for key, value in settings.items() if value})
        return subprocess.run(
            (sys.executable, "-m", "emulator", *arguments),
            env=environment,
            capture_output=True,
            text=True,
            encoding="utf-8",
            timeout=60,
        )

    def do(self, *arguments: str) -> str:
        """What a command that has to succeed prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    def json(self, *arguments: str) -> Any:
        """The same, as data."""
        return json.loads(self.do(*arguments, "--json"))

    def calls(self, *arguments: str) -> list[dict[str, Any]]:
        """The session's calls of rules, the oldest first."""
        return [call for call in self.json("calls", *arguments)["calls"] if call.get("kind")]


@pytest.fixture(scope="module")
def shared(start: Start) -> Container:
    """The container that all jobs share."""
    return start(FM_EMULATOR_TOKEN=TOKEN, FM_EMULATOR_SESSION_FROM="api-key", FM_EMULATOR_STRICT="1")


@pytest.fixture
def job(shared: Container, request: pytest.FixtureRequest) -> Host:
    """A job with a session of its own, called after the test."""
    return Host(shared.target, request.node.name.removeprefix("test_").replace("_", "-")[:60])


Apply = Callable[[Host, str], None]


@pytest.fixture
def apply(tmp_path: Path) -> Apply:
    """`apply(job, yaml)` gives the job's session these rules."""

    def do(job: Host, rules: str) -> None:
        (tmp_path / "rules.yaml").write_text(rules, encoding="utf-8")
        job.do("rules", "apply", str(tmp_path))

    return do


Make = Callable[[Host], "Assistant"]


@pytest.fixture
def assistant(monkeypatch: pytest.MonkeyPatch) -> Make:
    """`assistant(job)` gives the example's application as that job runs it: by its API key alone."""
    monkeypatch.syspath_prepend(str(AGENT))
    from assistant import Assistant, Settings

    def make(job: Host) -> Assistant:
        key = f"{job.session}.any-key"
        waits = {"backoff": 0.01, "poll_every": 0.01}
        return Assistant(Settings("b1ghelpdesk", key, endpoint=job.target, verify_tls=False, **waits))

    return make


@pytest.fixture
def behind() -> Iterator[Any]:
    """`behind(function, ...)` runs it beside the test."""
    with ThreadPoolExecutor() as pool:
        yield pool.submit


def ask(job: Host, question: str) -> str:
    """What the official SDK gets with the job's key, at the first attempt."""
    sdk = AIStudio(
        folder_id="b1gtest", auth=f"{job.session}.k", endpoint=job.target, verify=False, retry_policy=NoRetryPolicy()
    )
    return sdk.models.completions("yandexgpt").run(question).text


# -- the application's stories


def test_an_agent_loop_runs_on_rules_from_the_host(job: Host, assistant: Make) -> None:
    arguments = ("--session", job.session, "--target", job.target, "--token", TOKEN)
    assert "files applied" in Host("nowhere:1", token="").do("rules", "apply", str(AGENT / "fixtures"), *arguments)
    assert assistant(job).ask("Какая погода, Тверь?") == "Сейчас там +15, дождь."
    assert [call["rule"] for call in job.calls()] == ["weather-asks", "weather-answers"]
    assert "everything is as expected" in job.do("verify", "--strict")


def test_a_slow_stream_is_led_by_the_clock(job: Host, apply: Apply, assistant: Make, behind: Any) -> None:
    apply(job, SLOW)
    job.do("clock", "freeze")
    shown: list[str] = []
    asked = behind(assistant(job).ask, "Сказку!", shown.append)
    job.do("clock", "wait", "1")
    assert shown == []
    job.do("clock", "advance", "30s")
    assert asked.result(timeout=10) == TALE
    assert len(shown) == 3


def test_a_job_of_three_days_ends_at_once(job: Host, assistant: Make) -> None:
    job.do("rules", "apply", str(AGENT / "fixtures"))
    job.do("clock", "freeze")
    app = assistant(job)
    id = app.begin("Разбери архив писем")
    job.do("clock", "advance", "71h59m59s")
    assert app.look(id) is None
    job.do("clock", "advance", "1s")
    assert app.look(id) == "Разобрано 40 000 писем."


def test_retries_carry_one_idempotency_key(job: Host, apply: Apply, assistant: Make) -> None:
    apply(job, FLAKY)
    assert assistant(job).ask("Можно?") == "Теперь можно."
    first, second, third = job.calls("--messages")
    assert [call["code"] for call in (first, second, third)] == ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "OK"]
    assert second["behaviour"] == [f"a retry of {first['id']}, with its idempotency-key"]
    assert third["behaviour"] == [f"a retry of {second['id']}, with its idempotency-key"]
    job.do("verify")


def test_an_operation_is_failed_by_hand(job: Host, assistant: Make) -> None:
    job.do("rules", "apply", str(AGENT / "fixtures"))
    app = assistant(job)
    id = app.begin("Разбери архив писем")
    (listed,) = job.json("ops", "list")["operations"]
    assert listed["id"] == id
    job.do("ops", "fail", id, "--message", "узел потерян")
    with pytest.raises(Exception, match="Задание не выполнено: узел потерян"):
        app.look(id)


def test_a_snapshot_brings_a_session_back(job: Host, assistant: Make, tmp_path: Path) -> None:
    job.do("rules", "apply", str(AGENT / "fixtures"))
    job.do("clock", "freeze")
    app = assistant(job)
    id = app.begin("Разбери архив писем")
    job.do("snapshot", "save", str(tmp_path / "halfway.json"))
    job.do("clock", "advance", "72h")
    assert app.look(id) == "Разобрано 40 000 писем."
    job.do("snapshot", "restore", str(tmp_path / "halfway.json"))
    assert app.look(id) is None


# -- verdicts


def test_verify_ends_with_1_and_writes_junit(job: Host, apply: Apply, tmp_path: Path) -> None:
    apply(job, FLAKY)
    with pytest.raises(AioRpcError):
        ask(job, "Можно?")
    done = job.run("verify", "--junit", str(tmp_path / "verify.xml"))
    assert done.returncode == 1
    assert "✗ expect: flaky" in done.stdout
    suite = ElementTree.parse(tmp_path / "verify.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert "flaky" in str(failure.text)


def test_an_unmatched_call_is_explained(job: Host, apply: Apply) -> None:
    apply(job, GREETING)
    with pytest.raises(AioRpcError, match="greeting"):
        ask(job, "Превед")
    told = job.do("explain")
    assert "✗ question" in told
    assert "Превед" in told
    assert job.run("verify", "--check", "unmatched").returncode == 1


# -- who may, and who meets whom


def test_two_sessions_do_not_meet(shared: Container, apply: Apply) -> None:
    one, other = Host(shared.target, "meet-1"), Host(shared.target, "meet-2")
    apply(one, "rules: [{name: one, reply: {text: первый}}]")
    apply(other, "rules: [{name: other, reply: {text: второй}, operation: {done_after: 1h}}]")
    one.do("clock", "freeze")
    assert (ask(one, "Кто ты?"), ask(other, "Кто ты?")) == ("первый", "второй")
    assert [call["rule"] for call in one.calls()] == ["one"]
    assert [call["rule"] for call in other.calls()] == ["other"]
    assert one.json("clock", "show")["frozen"]
    assert not other.json("clock", "show").get("frozen")
    assert {"meet-1", "meet-2"} <= {session["id"] for session in one.json("sessions", "list")["sessions"]}


@pytest.mark.parametrize(
    ("token", "told"), [("", "needs the emulator's token"), ("wrong", "that is not the emulator's token")]
)
@pytest.mark.parametrize("command", [("calls",), ("rules",), ("clock", "advance", "1h"), ("verify",), ("reset",)])
def test_without_the_token_nothing_is_steered(
    shared: Container, token: str, told: str, command: tuple[str, ...]
) -> None:
    refused = Host(shared.target, "refused", token).run(*command)
    assert refused.returncode == 1
    assert told in refused.stderr


def test_a_container_without_a_token_is_steered_by_nobody(start: Start) -> None:
    closed = start()
    assert "Как дела?" in closed.ask("Как дела?")
    refused = Host(closed.target, token="any").run("calls")
    assert refused.returncode == 1
    assert "FM_EMULATOR_TOKEN" in refused.stderr


# -- reload


def test_a_changed_file_on_a_mounted_volume_is_taken_and_a_broken_one_is_not(start: Start, tmp_path: Path) -> None:
    volume = mounted(tmp_path, GREETING)
    container = start(*volume, FM_EMULATOR_WATCH="1", FM_EMULATOR_STRICT="1")
    assert container.ask("Привет!") == "Здравствуйте!"
    mounted(tmp_path, GREETING.replace("Здравствуйте!", "Доброе утро!"))
    eventually(lambda: container.ask("Привет!") == "Доброе утро!", within=30)
    mounted(tmp_path, GREETING.replace("contains", "contians"))
    eventually(lambda: "did you mean contains" in container.logs(), within=30)
    assert container.ask("Привет!") == "Доброе утро!"
