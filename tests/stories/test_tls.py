"""Clients that speak TLS, as they are: both SDKs, grpcurl, plaintext beside them, and a server that stops."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
import yandexcloud
from wire.client import Client, asking, eventually
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.operation.operation_service_pb2 import GetOperationRequest
from yandex.cloud.operation.operation_service_pb2_grpc import OperationServiceStub
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

from .conftest import FOLDER, QUICK

if TYPE_CHECKING:
    from conftest import Connect, Serve

RULES = {"rules": [{"reply": {"text": "Здравствуйте!"}}]}
UNCHANGED = """
from yandex_ai_studio_sdk import AIStudio
print(AIStudio().models.completions("yandexgpt").run("Привет").text)
"""
SCRIPTS = Path(sys.executable).parent


def test_the_official_sdk_verifies_the_certificate(serve: Serve) -> None:
    emulator = serve(RULES, tls=True)
    sdk = AIStudio(
        folder_id=FOLDER, auth="k", endpoint=emulator.tls_target, verify=str(emulator.ca), retry_policy=QUICK
    )
    assert sdk.models.completions("yandexgpt").run("Привет").text == "Здравствуйте!"
    operation = sdk.models.completions("yandexgpt").run_deferred("Привет")
    assert operation.wait(poll_interval=0.01).text == "Здравствуйте!"


async def test_so_does_the_asynchronous_one(serve: Serve) -> None:
    emulator = serve(RULES, tls=True)
    sdk = AsyncAIStudio(
        folder_id=FOLDER,
        auth="k",
        endpoint=f"localhost:{emulator.tls_port}",
        verify=str(emulator.ca),
        retry_policy=QUICK,
    )
    assert [part.text async for part in sdk.models.completions("yandexgpt").run_stream("?")][-1] == "Здравствуйте!"


def test_a_program_is_led_here_by_its_environment_alone(serve: Serve) -> None:
    emulator = serve(RULES, tls=True)
    environment = {
        **os.environ,
        "YC_API_ENDPOINT": f"localhost:{emulator.tls_port}",
        "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(emulator.ca),
        "YC_FOLDER_ID": FOLDER,
        "YC_API_KEY": "key",
    }
    done = subprocess.run([sys.executable, "-c", UNCHANGED], env=environment, capture_output=True, text=True)
    assert done.stdout == "Здравствуйте!\n", done.stderr


def test_yandexcloud_finds_the_services_here(serve: Serve) -> None:
    emulator = serve(tls=True, frozen=True)
    assert emulator.ca is not None
    endpoint = f"localhost:{emulator.tls_port}"
    sdk = yandexcloud.SDK(iam_token="t1.any", endpoint=endpoint, root_certificates=emulator.ca.read_bytes())
    with pytest.raises(grpc.RpcError) as refused:
        sdk.client(OperationServiceStub).Get(GetOperationRequest(operation_id="fbv00000000000000000"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND  # type: ignore[attr-defined]
    listed = sdk.client(ApiEndpointServiceStub).List(ListApiEndpointsRequest())
    assert {each.address for each in listed.endpoints} == {endpoint}


@pytest.mark.skipif(shutil.which("grpcurl", path=str(SCRIPTS)) is None, reason="there is no grpcurl for this machine")
def test_grpcurl_takes_the_ca(serve: Serve) -> None:
    emulator = serve(tls=True)
    command = [str(SCRIPTS / "grpcurl"), "-cacert", str(emulator.ca), str(emulator.tls_target)]
    done = subprocess.run([*command, "yandex.cloud.endpoint.ApiEndpointService/List"], capture_output=True, text=True)
    addresses = {each["address"] for each in json.loads(done.stdout)["endpoints"]}
    assert addresses == {f"localhost:{emulator.tls_port}"}, done.stderr


def test_plaintext_goes_on_beside_it_and_is_told_its_own_port(serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES, tls=True)
    client = connect(emulator)
    assert client.complete(asking("?")).only.alternatives[0].message.text == "Здравствуйте!"
    from emulator.api import ListApiEndpointsRequest as Request

    listed = client.call("ApiEndpointService/List", Request()).only
    assert {each.address for each in listed.endpoints} == {f"localhost:{emulator.port}"}


def test_serve_tells_where_and_how_and_the_folder_is_gone_at_the_end(tmp_path: Path) -> None:
    ready, log = tmp_path / "ready.json", tmp_path / "log"
    arguments = ["--port", "0", "--tls", "--ready-file", str(ready), "--tls-name", "further.test"]
    with log.open("wb") as stream:
        serving = subprocess.Popen([sys.executable, "-m", "emulator", "serve", *arguments], stderr=stream)
    try:
        eventually(lambda: ready.exists() or serving.poll() is not None, within=30)
        told: dict[str, Any] = json.loads(ready.read_text())
        port = told["tls"].rpartition(":")[2]
        assert told["tls"] == f"127.0.0.1:{port}" != told["grpc"]
        ca = Path(told["ca"])
        credentials = grpc.ssl_channel_credentials(ca.read_bytes())
        with Client(told["grpc"]) as client:
            client.channel = grpc.secure_channel(told["tls"], credentials)
            call = client.begin("TextGenerationService/Completion", asking("?", stream=True))
            next(call)
            serving.send_signal(signal.SIGTERM)
            assert list(call)
            assert call.code() is grpc.StatusCode.OK
            client.channel.close()
        assert serving.wait(20) == 0
    finally:
        serving.kill()
        serving.wait()
    assert not ca.parent.exists()
    (line,) = (line for line in log.read_text().splitlines() if " TLS on " in line)
    assert line.endswith(f"YC_API_ENDPOINT=localhost:{port} GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={ca}")
