"""The image, built once, and containers of it, run hardened with plain `docker` as a user would."""

from __future__ import annotations

import contextlib
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

from emulator.api import message_class

ROOT = Path(__file__).parents[2]
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
SERVING = 1


def docker(*arguments: str, check: bool = True, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run `docker`; one that fails says what it said."""
    done = subprocess.run(("docker", *arguments), capture_output=True, text=True, timeout=seconds)
    if check and done.returncode != 0:
        pytest.fail(f"docker {' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done


@pytest.fixture(scope="session")
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
    """A running container: its name, and where its ports for gRPC and HTTP are published."""

    name: str
    port: int
    http_port: int

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
            container = Container(f"fm-emulator-test-{uuid.uuid4().hex[:12]}", free_port(), free_port())
            settings = {
                "FM_EMULATOR_ADVERTISE": container.target,
                "FM_EMULATOR_ADVERTISE_HTTP": f"localhost:{container.http_port}",
                **environment,
            }
            variables = [part for name, value in settings.items() for part in ("-e", f"{name}={value}")]
            ports = ((container.port, 50051), (container.http_port, 50052))
            publish = [part for ours, its in ports for part in ("-p", f"127.0.0.1:{ours}:{its}")]
            stack.callback(docker, "rm", "-f", container.name, check=False)
            docker("run", "-d", "--name", container.name, *HARDENED, *publish, *variables, *options, image)
            container.until_serving()
            return container

        yield run


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
