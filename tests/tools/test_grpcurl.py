"""grpcurl and `buf curl` list the services and call every method, with no proto file at hand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from emulator import Emulator

MODELS = "yandex.cloud.ai.foundation_models.v1"
COMPLETION = f"{MODELS}.TextGenerationService/Completion"
COMPLETION_ASYNC = f"{MODELS}.TextGenerationAsyncService/Completion"
COMPLETION_BATCH = f"{MODELS}.TextGenerationBatchService/Completion"
GENERATE_IMAGE = f"{MODELS}.image_generation.ImageGenerationAsyncService/Generate"
GET_OPERATION = "yandex.cloud.operation.OperationService/Get"
CANCEL_OPERATION = "yandex.cloud.operation.OperationService/Cancel"
GET_ENDPOINT = "yandex.cloud.endpoint.ApiEndpointService/Get"
LIST_ENDPOINTS = "yandex.cloud.endpoint.ApiEndpointService/List"
TOKENIZE = f"{MODELS}.TokenizerService/Tokenize"
TOKENIZE_COMPLETION = f"{MODELS}.TokenizerService/TokenizeCompletion"
EMBED = f"{MODELS}.EmbeddingsService/TextEmbedding"
CLASSIFY = f"{MODELS}.text_classification.TextClassificationService/Classify"
FEW_SHOT_CLASSIFY = f"{MODELS}.text_classification.TextClassificationService/FewShotClassify"
CREATE_TOKEN = "yandex.cloud.iam.v1.IamTokenService/Create"
CREATE_TOKEN_FOR = "yandex.cloud.iam.v1.IamTokenService/CreateForServiceAccount"
REVOKE_TOKEN = "yandex.cloud.iam.v1.IamTokenService/Revoke"
DATASETS = "yandex.cloud.ai.dataset.v1.DatasetService"
OF_DATASETS = {
    f"{DATASETS}/{name}"
    for name in (
        *("Create", "Describe", "List", "Update", "Delete", "Validate", "GetPreview", "GetDownloadUrls"),
        *("GetUploadDraftUrl", "StartMultipartUploadDraft", "FinishMultipartUploadDraft"),
        *("ListTypes", "ListUploadFormats", "ListUploadSchemas", "ListOperationsIds"),
    )
}
TASKS = "yandex.cloud.ai.batch_inference.v1.BatchInferenceService"
METHODS = {
    *OF_DATASETS,
    *(f"{TASKS}/{name}" for name in ("Describe", "List", "Cancel", "Delete")),
    COMPLETION,
    COMPLETION_ASYNC,
    COMPLETION_BATCH,
    GENERATE_IMAGE,
    GET_OPERATION,
    CANCEL_OPERATION,
    GET_ENDPOINT,
    LIST_ENDPOINTS,
    TOKENIZE,
    TOKENIZE_COMPLETION,
    EMBED,
    CLASSIFY,
    FEW_SHOT_CLASSIFY,
    CREATE_TOKEN,
    CREATE_TOKEN_FOR,
    REVOKE_TOKEN,
}

QUESTION = {"modelUri": "gpt://b1gtest/yandexgpt", "messages": [{"role": "user", "text": "Привет"}]}
PROMPT = {"modelUri": "art://b1gtest/yandex-art", "messages": [{"text": "кот"}], "generationOptions": {"seed": 7}}
DATASET = {"modelUri": "gpt://b1gtest/qwen2.5-7b-instruct", "sourceDatasetId": "fds0123456789abcdefg"}
RULES = {
    "datasets": {"fds0123456789abcdefg": {"rows": [{"request": [{"role": "user", "text": "Привет"}]}]}},
    "rules": [
        {
            "name": "greeting",
            "when": {"question": {"contains": "привет"}},
            "reply": {"text": "Здравствуйте! Чем помочь?", "stream": {"chunks": 3}},
        },
        {"name": "slow", "call": "completion_async", "reply": {"text": "поздно"}, "operation": {"done_after": "1h"}},
    ],
}

Invoke = Callable[..., list[dict[str, Any]]]


def program(name: str) -> str:
    """Where the tool is: beside this Python, or else on PATH."""
    found = shutil.which(name, path=os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", ""))))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(*command: str) -> str:
    """What a command prints; one that fails says why."""
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8", timeout=30)
    assert done.returncode == 0, f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def documents(text: str) -> list[dict[str, Any]]:
    """The JSON documents that a tool printed one after another."""
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        found.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return found


def grpcurl(target: str, *arguments: str) -> str:
    return run(program("grpcurl"), "-plaintext", target, *arguments)


def buf_curl(*arguments: str) -> str:
    return run(program("buf"), "curl", "--http2-prior-knowledge", "--protocol", "grpc", *arguments)


def call_by_grpcurl(target: str, method: str, request: str) -> str:
    return run(program("grpcurl"), "-plaintext", "-d", request, target, method)


def call_by_buf(target: str, method: str, request: str) -> str:
    return buf_curl("--data", request, f"http://{target}/{method}")


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with Emulator(fixtures=RULES, frozen=True) as emulator:
        yield emulator.target


@pytest.fixture(params=[call_by_grpcurl, call_by_buf], ids=["grpcurl", "buf"])
def invoke(request: pytest.FixtureRequest, target: str) -> Invoke:
    """`invoke(method, message={})`: the messages of the reply, through one tool and then the other."""
    tool = request.param
    return lambda method, message=None: documents(tool(target, method, json.dumps(message or {})))


def test_grpcurl_lists_every_method_that_these_tests_call(target: str) -> None:
    services = grpcurl(target, "list").split()
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"} <= set(services)
    listed = {
        "/".join(name.rsplit(".", 1))
        for service in services
        if service.startswith("yandex.")
        for name in grpcurl(target, "list", service).split()
    }
    assert listed == METHODS


def test_buf_lists_the_same_methods(target: str) -> None:
    listed = buf_curl("--list-methods", f"http://{target}").split()
    assert {method for method in listed if method.startswith("yandex.")} == METHODS


def test_grpcurl_describes_a_service_and_a_message(target: str) -> None:
    described = grpcurl(target, "describe", COMPLETION.partition("/")[0])
    assert (
        f"rpc Completion ( .{MODELS}.CompletionRequest ) returns ( stream .{MODELS}.CompletionResponse )" in described
    )
    assert "/foundationModels/v1/completion" in described
    assert "string model_uri = 1;" in grpcurl(target, "describe", f"{MODELS}.CompletionRequest")


def test_completion_answers_in_one_message(invoke: Invoke) -> None:
    (reply,) = invoke(COMPLETION, QUESTION)
    assert reply["alternatives"][0]["message"] == {"role": "assistant", "text": "Здравствуйте! Чем помочь?"}
    assert reply["alternatives"][0]["status"] == "ALTERNATIVE_STATUS_FINAL"


def test_completion_streams_every_chunk(invoke: Invoke) -> None:
    replies = invoke(COMPLETION, {**QUESTION, "completionOptions": {"stream": True}})
    statuses = [reply["alternatives"][0]["status"].removeprefix("ALTERNATIVE_STATUS_") for reply in replies]
    assert statuses == ["PARTIAL", "PARTIAL", "FINAL"]


def test_an_async_completion_is_fetched_and_cancelled(invoke: Invoke) -> None:
    (created,) = invoke(COMPLETION_ASYNC, QUESTION)
    assert created["description"] == "Async GPT Completion"
    (fetched,) = invoke(GET_OPERATION, {"operationId": created["id"]})
    assert "done" not in fetched
    (cancelled,) = invoke(CANCEL_OPERATION, {"operationId": created["id"]})
    assert cancelled["done"] is True
    assert cancelled["error"]["code"] == 1


def test_a_batch_tells_its_task_in_metadata_that_the_tool_can_read(invoke: Invoke) -> None:
    (created,) = invoke(COMPLETION_BATCH, DATASET)
    assert created["metadata"]["@type"] == f"type.googleapis.com/{MODELS}.BatchCompletionMetadata"
    assert created["metadata"]["taskId"].startswith("fbi")
    (described,) = invoke(f"{TASKS}/Describe", {"taskId": created["metadata"]["taskId"]})
    assert described["task"]["operationId"] == created["id"]
    (listed,) = invoke(f"{TASKS}/List", {"folderId": "b1gtest"})
    assert created["id"] in {task["operationId"] for task in listed["tasks"]}


def test_an_image_is_asked_for_and_found_under_its_operation(invoke: Invoke) -> None:
    (created,) = invoke(GENERATE_IMAGE, PROMPT)
    (fetched,) = invoke(GET_OPERATION, {"operationId": created["id"]})
    assert fetched["id"] == created["id"]


def test_a_prompt_is_tokenized_a_text_embedded_and_classified(invoke: Invoke) -> None:
    (tokens,) = invoke(TOKENIZE_COMPLETION, QUESTION)
    assert tokens["tokens"][0] == {"id": "1", "text": "<s>", "special": True}
    (vector,) = invoke(EMBED, {"modelUri": "emb://b1gtest/text-search-doc/latest", "text": "Привет", "dim": "16"})
    assert len(vector["embedding"]) == 16
    (sure,) = invoke(CLASSIFY, {"modelUri": "cls://b1gtest/bt1", "text": "Привет"})
    assert sum(each["confidence"] for each in sure["predictions"]) == pytest.approx(1)


def test_every_method_of_datasets_is_answered(invoke: Invoke) -> None:
    fields = {"folderId": "b1gtest", "taskType": "TextToTextGenerationRequest", "uploadFormat": "jsonlines"}
    (created,) = invoke(f"{DATASETS}/Create", fields)
    one = {"datasetId": created["datasetId"]}
    for name, more in (("Describe", {}), ("Update", {"name": "другой"})):
        assert invoke(f"{DATASETS}/{name}", {**one, **more})
    (url,) = invoke(f"{DATASETS}/GetUploadDraftUrl", {**one, "sizeBytes": 5})
    assert httpx.put(url["uploadUrl"], content=b"{}\n{}").status_code == 200
    (parts,) = invoke(f"{DATASETS}/StartMultipartUploadDraft", {**one, "sizeBytes": 5, "parts": 1})
    etag = httpx.put(parts["multipartUploadUrls"][0], content=b"nope\n").headers["etag"]
    given = {"uploadedParts": [{"partNum": 1, "etag": etag}]}
    assert invoke(f"{DATASETS}/FinishMultipartUploadDraft", {**one, **given}) == [one]
    assert invoke(f"{DATASETS}/GetPreview", one) == [{**one, "previewLines": ["nope"]}]
    (operation,) = invoke(f"{DATASETS}/Validate", one)
    (ids,) = invoke(f"{DATASETS}/ListOperationsIds", {"datasetId": [one["datasetId"]]})
    assert ids == {"datasetIdToOperationId": {one["datasetId"]: operation["id"]}}
    assert invoke(f"{DATASETS}/List", {"folderId": "b1gtest"})[0]["datasets"]
    for name in ("ListTypes", "ListUploadFormats", "ListUploadSchemas"):
        assert invoke(f"{DATASETS}/{name}", {} if name == "ListTypes" else {"taskType": fields["taskType"]})[0]
    assert invoke(f"{DATASETS}/Delete", one) == [{}]


def test_endpoints_are_listed_and_got(invoke: Invoke, target: str) -> None:
    port = target.rpartition(":")[2]
    (listed,) = invoke(LIST_ENDPOINTS)
    assert {"id": "operation", "address": f"localhost:{port}"} in listed["endpoints"]
    (got,) = invoke(GET_ENDPOINT, {"apiEndpointId": "operation"})
    assert got == {"id": "operation", "address": f"localhost:{port}"}


def test_tokens_are_issued_and_revoked(invoke: Invoke) -> None:
    (user,) = invoke(CREATE_TOKEN, {"yandexPassportOauthToken": "y0_any"})
    (account,) = invoke(CREATE_TOKEN_FOR, {"serviceAccountId": "aje00000000000000001"})
    assert user["iamToken"].startswith("t1.9eu")
    assert invoke(REVOKE_TOKEN, {"iamToken": account["iamToken"]}) == [{"subjectId": "aje00000000000000001"}]


def test_health_is_checked_by_either_tool(invoke: Invoke) -> None:
    assert invoke("grpc.health.v1.Health/Check") == [{"status": "SERVING"}]
