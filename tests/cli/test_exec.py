"""`fm-emulator exec`: programs as they are, at the hosts they call by default; what comes out, and what is left."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from wire.client import eventually

if TYPE_CHECKING:
    from .conftest import Write

RULES = {
    "rules": [
        {"call": "completion_async", "reply": {"text": "Позже"}},
        {"when": {"question": {"contains": "привет"}}, "reply": {"text": "Здравствуйте!"}},
    ]
}
OFFICIAL = """
from yandex_ai_studio_sdk import AIStudio
model = AIStudio().models.completions("yandexgpt")
print(model.run("Привет").text)
print(model.run_deferred("Привет").wait(poll_interval=0.01).text)
"""
HARD_CODED = """
import asyncio, grpc, grpc.aio
from yandex.cloud.ai.foundation_models.v1.text_common_pb2 import Message
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 import CompletionRequest
from yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc import (
    TextGenerationAsyncServiceStub,
)
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub

async def main():
    roots, metadata = grpc.ssl_channel_credentials(), [("authorization", "Api-Key k")]
    request = CompletionRequest(model_uri="gpt://f/yandexgpt/latest", messages=[Message(role="user", text="?")])
    async with grpc.aio.secure_channel("llm.api.cloud.yandex.net:443", roots) as channel:
        operation = await TextGenerationAsyncServiceStub(channel).Completion(request, metadata=metadata)
    async with grpc.aio.secure_channel("operation.api.cloud.yandex.net:443", roots) as channel:
        while not operation.done:
            asked = GetOperationRequest(operation_id=operation.id)
            operation = await OperationServiceStub(channel).Get(asked, metadata=metadata)
    print(operation.response.type_url)

asyncio.run(main())
"""
OLDER = """
import yandexcloud
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
sdk = yandexcloud.SDK(ARGUMENTS)
print(len(sdk.client(ApiEndpointServiceStub).List(ListApiEndpointsRequest()).endpoints) > 3)
"""
OUTSIDE = """
import sys, httpx
for url in ("https://fm-emulator.invalid/", "http://fm-emulator.invalid/a", "https://fm-emulator.invalid/"):
    try:
        print(httpx.get(url).status_code)
    except httpx.ProxyError as refused:
        print(refused)
sys.exit(7)
"""
Done = subprocess.CompletedProcess[str]
Exec = Callable[..., Done]


def environment(**more: str) -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if not k.startswith(("FM_EMULATOR_", "YC_"))} | more


def arguments(*given: object) -> list[str]:
    return [sys.executable, "-m", "emulator", "exec", *map(str, given)]


@pytest.fixture
def run_program(tmp_path: Path) -> Exec:
    """`run_program(*arguments, **environment)` runs the command to its end, with a folder of its own for what it
    writes, which is empty then.
    """
    folder = tmp_path / "temporary"
    folder.mkdir()

    def run(*given: object, **more: str) -> Done:
        done = subprocess.run(
            arguments(*given),
            env=environment(TMPDIR=str(folder), **more),
            capture_output=True,
            encoding="utf-8",
            timeout=60,
        )
        assert list(folder.iterdir()) == []
        return done

    return run


def python(program: str) -> tuple[str, ...]:
    return ("--", sys.executable, "-c", program)


# -- programs as they are


def test_the_official_sdk_at_its_default_host(run_program: Exec, write: Write) -> None:
    done = run_program("--fixtures", write(RULES), *python(OFFICIAL))
    assert done.stdout == "Здравствуйте!\nПозже\n", done.stderr
    assert done.returncode == 0
    assert done.stderr == "fm-emulator: taken: api.cloud.yandex.net:443 (1)\n"


def test_hosts_that_are_hard_coded(run_program: Exec) -> None:
    done = run_program(*python(HARD_CODED))
    assert "CompletionResponse" in done.stdout, done.stderr
    assert "taken: " in done.stderr
    assert "llm.api.cloud.yandex.net:443 (1)" in done.stderr
    assert "operation.api.cloud.yandex.net:443 (1)" in done.stderr


@pytest.mark.parametrize("given", ["iam_token='t1.any'", ""], ids=["a token", "the machine's own"])
def test_the_older_sdk_at_its_default_host(run_program: Exec, given: str) -> None:
    done = run_program(*python(OLDER.replace("ARGUMENTS", given)))
    assert done.stdout == "True\n", done.stderr


@pytest.mark.skipif(shutil.which("java") is None, reason="there is no java")
def test_java_takes_the_certificate(run_program: Exec, tmp_path: Path) -> None:
    program = tmp_path / "Shake.java"
    program.write_text(
        "public class Shake { public static void main(String[] a) throws Exception {\n"
        '  var proxy = new java.net.Socket(System.getProperty("https.proxyHost"), '
        'Integer.getInteger("https.proxyPort"));\n'
        '  var host = "llm.api.cloud.yandex.net";\n'
        '  proxy.getOutputStream().write(("CONNECT " + host + ":443 HTTP/1.1\\r\\n\\r\\n").getBytes());\n'
        '  var head = ""; while (!head.endsWith("\\r\\n\\r\\n")) head += (char) proxy.getInputStream().read();\n'
        "  var f = (javax.net.ssl.SSLSocketFactory) javax.net.ssl.SSLSocketFactory.getDefault();\n"
        "  var s = (javax.net.ssl.SSLSocket) f.createSocket(proxy, host, 443, true);\n"
        '  var p = s.getSSLParameters(); p.setEndpointIdentificationAlgorithm("HTTPS");\n'
        '  p.setApplicationProtocols(new String[]{"h2"}); s.setSSLParameters(p); s.startHandshake();\n'
        "  System.out.println(s.getApplicationProtocol()); } }\n"
    )
    done = run_program("java", program)
    assert done.stdout == "h2\n", done.stderr


# -- what is outside


def test_what_is_outside_is_refused_and_told_and_the_exit_status_is_the_programs(run_program: Exec) -> None:
    done = run_program(*python(OUTSIDE))
    assert done.returncode == 7
    assert done.stdout == "403 Forbidden\n403\n403 Forbidden\n"
    assert done.stderr == (
        "fm-emulator: taken: nothing\n"
        "fm-emulator: refused: fm-emulator.invalid:443 (2), fm-emulator.invalid:80 (1); "
        "--allow HOST lets a host through\n"
    )


def test_what_is_allowed_is_not_refused(run_program: Exec) -> None:
    done = run_program("--allow", "*.invalid", *python(OUTSIDE))
    assert done.stdout == "502 Bad Gateway\n502\n502 Bad Gateway\n", "nobody has that name"
    assert "refused" not in done.stderr


def test_where_hosts_are_allowed_the_roots_of_this_machine_stay(run_program: Exec) -> None:
    count = "import os, ssl; print(ssl.create_default_context().cert_store_stats()['x509_ca'])"
    alone, more = (int(run_program(*allow, *python(count)).stdout) for allow in ([], ["--allow", "example.org"]))
    assert (alone, more > 20) == (1, True)


def test_who_speaks_rest_at_the_clouds_hosts_is_told_of(run_program: Exec) -> None:
    program = "import httpx\ntry: httpx.get('https://llm.api.cloud.yandex.net/')\nexcept httpx.HTTPError: print('no')"
    done = run_program(*python(program))
    assert done.stdout == "no\n", done.stderr
    assert done.stderr == (
        "fm-emulator: taken: llm.api.cloud.yandex.net:443 (1)\n"
        "fm-emulator: not gRPC: llm.api.cloud.yandex.net:443 (1); REST and S3 are not emulated\n"
    )


# -- the environment


@pytest.mark.parametrize(
    ("given", "options", "told"),
    [
        ({}, [], "b1gtest test-key None"),
        ({}, ["--api-key", "AQVN-ci"], "b1gtest AQVN-ci None"),
        ({"YC_FOLDER_ID": "b1gmine", "YC_API_KEY": "mine"}, [], "b1gmine mine None"),
        ({"YC_OAUTH_TOKEN": "y1_mine"}, [], "b1gtest None None"),
        ({"YC_IAM_TOKEN": "t1.mine"}, ["--api-key", "AQVN-ci"], "b1gtest None None"),
        ({"YC_IAM_TOKEN": ""}, [], "b1gtest test-key None"),
    ],
)
def test_who_calls_is_set_unless_it_is_already(
    run_program: Exec, given: dict[str, str], options: list[str], told: str
) -> None:
    program = "import os; print(*(os.environ.get(n) for n in ('YC_FOLDER_ID', 'YC_API_KEY', 'YC_API_ENDPOINT')))"
    assert run_program(*options, *python(program), **given).stdout == f"{told}\n"


def test_commands_of_the_emulator_find_it(run_program: Exec) -> None:
    shell = f"'{sys.executable}' -c \"$0\" >/dev/null && '{sys.executable}' -m emulator calls --kind completion"
    done = run_program("--token", "secret", "--", "sh", "-c", shell, OFFICIAL)
    assert "TextGenerationService/Completion" in done.stdout, done.stderr


def test_options_of_java_that_are_there_stay(run_program: Exec) -> None:
    program = "import os; print(os.environ['JAVA_TOOL_OPTIONS'])"
    assert run_program(*python(program), JAVA_TOOL_OPTIONS="-Xmx64m").stdout.startswith("-Xmx64m -Dhttps.proxyHost=")


# -- output and exit status


def test_logs_are_told_only_if_asked_for(run_program: Exec, write: Write) -> None:
    done = run_program("--log-level", "info", "--fixtures", write(RULES), *python(OFFICIAL))
    assert done.stdout == "Здравствуйте!\nПозже\n"
    assert "Completion rule=" in done.stderr


def test_standard_input_is_the_programs(tmp_path: Path) -> None:
    done = subprocess.run(arguments("cat"), input="раз\n", env=environment(), capture_output=True, encoding="utf-8")
    assert done.stdout == "раз\n"


@pytest.mark.parametrize(
    ("command", "status", "told"),
    [
        (["no-such-program"], 127, "fm-emulator: there is no program no-such-program\n"),
        ([os.devnull], 126, f"fm-emulator: {os.devnull} can't be run: Permission denied\n"),
        (["sh", "-c", "kill -9 $$"], 128 + signal.SIGKILL, ""),
        (["sh", "-c", "exit 3"], 3, ""),
    ],
)
def test_the_exit_status_is_that_of_a_shell(run_program: Exec, command: list[str], status: int, told: str) -> None:
    done = run_program("--", *command)
    assert done.returncode == status
    assert done.stderr == f"{told}fm-emulator: taken: nothing\n"


def test_the_exit_status_is_the_programs_where_nobody_reads_what_is_told() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(arguments("--", "sh", "-c", "exit 3"), env=environment(), stderr=writing, timeout=60)
    finally:
        os.close(writing)
    assert done.returncode == 3


def test_mistakes_in_fixtures_are_told_and_nothing_is_run(run_program: Exec, write: Write, tmp_path: Path) -> None:
    done = run_program("--fixtures", write("rules: [{reply: {txt: a}}]"), "--", "touch", tmp_path / "touched")
    assert done.returncode == 1
    assert "did you mean text?" in done.stderr
    assert not (tmp_path / "touched").exists()


def test_without_a_program_it_says_so(run_program: Exec) -> None:
    done = run_program("--strict")
    assert done.returncode == 2
    assert "Missing argument '-- COMMAND...'" in done.stderr


SIGNALS = """
import signal, sys, pathlib
def told(number, frame):
    print(signal.Signals(number).name, flush=True)
    sys.exit(5)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, told)
pathlib.Path(sys.argv[1]).touch()
while True:
    signal.pause()
"""


def test_what_is_ignored_stays_ignored(tmp_path: Path) -> None:
    program = "import signal; print(signal.getsignal(signal.SIGHUP) is signal.SIG_IGN)"
    shell = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", *arguments(*python(program))]
    assert subprocess.run(shell, env=environment(), capture_output=True, text=True).stdout == "True\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_signals_are_passed_on(tmp_path: Path, number: signal.Signals) -> None:
    ready = tmp_path / "ready"
    command = arguments("--", sys.executable, "-c", SIGNALS, ready)
    begun = subprocess.Popen(command, stdout=subprocess.PIPE, env=environment(), text=True, start_new_session=True)
    try:
        eventually(ready.exists, within=30)
        begun.send_signal(number)
        output, _ = begun.communicate(timeout=20)
    finally:
        begun.kill()
        begun.wait()
    assert (output, begun.returncode) == (f"{number.name}\n", 5)
