"""The image does the same as the command: built and run hardened with plain `docker`, as a user would."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from yandex_ai_studio_sdk import AIStudio

from emulator import Emulator
from emulator.api import message_class

from .conftest import HARDENED, Container, Start, docker, mounted

pytestmark = [pytest.mark.container, pytest.mark.slow]

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


@pytest.fixture(scope="module")
def bare(start: Start) -> Container:
    """The image with nothing mounted."""
    return start()


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


def test_a_dataset_is_uploaded_and_read_through_the_published_port(bare: Container, tmp_path: Path) -> None:
    rows = [{"request": [{"role": "user", "text": "Как дела?"}]}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    sdk = AIStudio(folder_id="b1gtest", auth="key", endpoint=bare.target, verify=False)
    draft = sdk.datasets.draft_from_path(path, task_type="TextToTextGenerationRequest", upload_format="jsonlines")
    dataset = draft.upload(poll_interval=0.2)
    assert list(dataset.read()) == rows


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


LOOK = """
import importlib.util, json, os, shutil
tools = "sh bash dash apt apt-get dpkg perl pip pip3 curl wget nc tar su mount chmod find busybox".split()
folders = [*os.environ["PATH"].split(":"), "/bin", "/sbin", "/usr/bin", "/usr/sbin"]
print(json.dumps({
    "tools": [tool for tool in tools if shutil.which(tool)],
    "found": sorted({name for folder in folders if os.path.isdir(folder) for name in os.listdir(folder)}),
    "modules": [name for name in ("pip", "setuptools", "ensurepip") if importlib.util.find_spec(name)],
    "setuid": [
        os.path.join(top, name)
        for top, below, names in os.walk("/")
        if not top.startswith(("/proc", "/sys"))
        for name in names
        if os.lstat(os.path.join(top, name)).st_mode & 0o6000
    ],
    "written": [top for top in ("/", "/opt", "/usr", "/etc", "/var", "/fixtures") if os.access(top, os.W_OK)],
}))
"""


def test_it_has_no_shell_and_no_tool_that_it_does_not_need(bare: Container) -> None:
    found = json.loads(docker("exec", bare.name, "python", "-c", LOOK).stdout)
    assert (found["tools"], found["modules"], found["setuid"]) == ([], [], [])
    assert [name for name in found["found"] if not name.startswith("python")] == ["fm-emulator"]
    assert docker("exec", bare.name, "/bin/sh", "-c", "true", check=False).returncode != 0


def test_nothing_in_it_can_be_written(bare: Container) -> None:
    assert json.loads(docker("exec", bare.name, "python", "-c", LOOK).stdout)["written"] == []


def test_metrics_and_spans_are_in_the_image(start: Start) -> None:
    container = start(FM_EMULATOR_METRICS="1", FM_EMULATOR_OTEL="1", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    container.ask("Привет")
    with urllib.request.urlopen(f"http://localhost:{container.http_port}/metrics") as told:
        assert b"fm_emulator_calls_total{" in told.read()
    told = docker("exec", container.name, "fm-emulator", "info", "--local").stdout
    assert {"metrics", "otel"} <= set(told.partition("extras")[2].partition("\n")[0].replace(",", "").split())
