"""The image does the same as the command: built and run hardened with plain `docker`, as a user would."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from yandex_ai_studio_sdk import AIStudio

from emulator import Emulator
from emulator.api import message_class

pytestmark = [pytest.mark.container, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
FIXTURES = """\
rules:
  - name: greeting
    when: {question: {contains: привет}}
    reply: {text: "Здравствуйте! Чем помочь?"}
"""
BROKEN = """\
rules:
  - name: greeting
    when: {question: {contians: привет}}
    reply: {txet: "Здравствуйте!"}
"""
COMPLETION = "/yandex.cloud.ai.foundation_models.v1.TextGenerationService/Completion"
SERVING = 1


def docker(*arguments: str, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `docker`; one that fails says what it said."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=seconds)
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


@pytest.fixture(scope="module")
def image() -> Iterator[str]:
    """The image, built from the checkout."""
    if shutil.which("docker") is None:
        pytest.skip("there is no docker on PATH")
    if docker("info", check=False).returncode != 0:
        pytest.skip("`docker info` fails: there is no docker engine that answers")
    name = f"fm-emulator-test:{uuid.uuid4().hex[:12]}"
    docker("build", "-t", name, str(ROOT), seconds=600)
    yield name
    docker("rmi", "-f", name, check=False)


@dataclass(frozen=True)
class Container:
    """A running container: its name, and where its gRPC port is published."""

    name: str
    port: int

    @property
    def target(self) -> str:
        """Where a client on this machine finds it."""
        return f"localhost:{self.port}"

    def channel(self) -> grpc.Channel:
        """A channel that keeps trying while the container starts."""
        return grpc.insecure_channel(self.target, [("grpc.max_reconnect_backoff_ms", 200)])

    def logs(self) -> str:
        """Everything it has printed."""
        done = docker("logs", self.name)
        return done.stdout + done.stderr

    def until_serving(self) -> None:
        """Return once health says SERVING; show the logs if it never does."""
        reply = message_class("grpc.health.v1.HealthCheckResponse")
        with self.channel() as channel:
            check: Any = channel.unary_unary("/grpc.health.v1.Health/Check", response_deserializer=reply.FromString)
            try:
                assert check(b"", wait_for_ready=True, timeout=30).status == SERVING
            except grpc.RpcError as failed:
                pytest.fail(f"{self.name} does not serve: {failed}\n{self.logs()}")

    def ask(self, question: str) -> str:
        """What the official SDK, unmodified, gets for a question."""
        sdk = AIStudio(folder_id="b1gtest", auth="key", endpoint=self.target, verify=False)
        return sdk.models.completions("yandexgpt").run(question).text


Start = Callable[..., Container]


@pytest.fixture(scope="module")
def start(image: str) -> Iterator[Start]:
    """`start(*options, **environment)` runs the image, hardened and with no argument, and returns when it serves."""
    with contextlib.ExitStack() as stack:

        def run(*options: str, **environment: str) -> Container:
            container = Container(f"fm-emulator-test-{uuid.uuid4().hex[:12]}", free_port())
            settings = {"FM_EMULATOR_ADVERTISE": container.target, **environment}
            variables = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
            publish = ("-p", f"127.0.0.1:{container.port}:50051")
            stack.callback(docker, "rm", "-f", container.name, check=False)
            docker("run", "-d", "--name", container.name, *HARDENED, *publish, *variables, *options, image)
            container.until_serving()
            return container

        yield run


@pytest.fixture(scope="module")
def bare(start: Start) -> Container:
    """The image with nothing mounted."""
    return start()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def mounted(folder: Path, text: str) -> tuple[str, str]:
    """The option that mounts a folder with one fixture file, readable by the image's user, at /fixtures."""
    folder.chmod(0o755)
    file = folder / "chat.yaml"
    file.write_text(text, encoding="utf-8")
    file.chmod(0o644)
    return "-v", f"{folder}:/fixtures:ro"


def completion(channel: grpc.Channel) -> bytes:
    """The serialized reply to one and the same question."""
    request = message_class("yandex.cloud.ai.foundation_models.v1.CompletionRequest")(
        model_uri="gpt://b1gtest/yandexgpt", messages=[{"role": "user", "text": "Как дела?"}]
    )
    call: Any = channel.unary_stream(COMPLETION)
    (reply,) = call(request.SerializeToString(), wait_for_ready=True, timeout=30)
    return bytes(reply)


def test_with_nothing_mounted_the_official_sdk_gets_default_replies(bare: Container) -> None:
    assert "Как дела?" in bare.ask("Как дела?")
    assert "no fixtures, default replies" in bare.logs()


def test_the_image_answers_as_the_command_does(bare: Container) -> None:
    with Emulator() as here, grpc.insecure_channel(here.target) as ours, bare.channel() as theirs:
        assert completion(theirs) == completion(ours)


def test_fixtures_mounted_at_fixtures_are_served(start: Start, tmp_path: Path) -> None:
    container = start(*mounted(tmp_path, FIXTURES))
    assert container.ask("Привет!") == "Здравствуйте! Чем помочь?"


def test_everything_is_set_by_environment(start: Start, tmp_path: Path) -> None:
    container = start(*mounted(tmp_path, FIXTURES), FM_EMULATOR_STRICT="1", FM_EMULATOR_LOG_FORMAT="json")
    with container.channel() as channel, pytest.raises(grpc.RpcError) as refused:
        completion(channel)
    assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    lines = [json.loads(line) for line in container.logs().splitlines()]
    assert [line["status"] for line in lines if "status" in line] == ["FAILED_PRECONDITION"]


def test_the_declared_health_check_passes_in_a_running_container(image: str, bare: Container) -> None:
    about = json.loads(docker("image", "inspect", image).stdout)[0]
    declared = about.get("Healthcheck") or about["Config"]["Healthcheck"]
    assert declared["Test"] == ["CMD", "fm-emulator", "healthcheck"]
    docker("exec", bare.name, *declared["Test"][1:])


def test_it_runs_as_a_numeric_user_without_any_capability(image: str, bare: Container) -> None:
    user = json.loads(docker("image", "inspect", image).stdout)[0]["Config"]["User"]
    assert user.partition(":")[0].isdecimal()
    status = docker("exec", bare.name, "python", "-c", "print(open('/proc/1/status').read())").stdout
    facts = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    assert "0" not in facts["Uid"].split()
    assert "0" not in facts["Gid"].split()
    assert int(facts["CapEff"], 16) == 0


def test_docker_stop_ends_it_with_status_0(start: Start) -> None:
    container = start()
    docker("stop", container.name)
    assert docker("inspect", "-f", "{{.State.ExitCode}}", container.name).stdout.strip() == "0"


def test_broken_fixtures_end_it_with_status_1_and_every_mistake(image: str, tmp_path: Path) -> None:
    ended = docker("run", "--rm", *HARDENED, *mounted(tmp_path, BROKEN), image, check=False)
    assert ended.returncode == 1
    assert "/fixtures/chat.yaml:3: " in ended.stderr
    assert "/fixtures/chat.yaml:4: " in ended.stderr


def test_other_commands_run_in_the_image_too(image: str, tmp_path: Path) -> None:
    checked = docker("run", "--rm", *HARDENED, *mounted(tmp_path, FIXTURES), image, "check", "/fixtures", check=False)
    assert checked.returncode == 0, checked.stderr
