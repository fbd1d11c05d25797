"""How calls fail: codes, ids, details, and what fits into trailers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from emulator.api import (
    METHODS,
    BatchCompletionRequest,
    GetOperationRequest,
    QuotaFailure,
    RequestInfo,
    RetryInfo,
)
from emulator.calls import METHODS_BY_CALL
from emulator.errors import Code

from .client import (
    DATASET,
    STORED,
    Reply,
    asking,
    choosing,
    classifying,
    drawing,
    embedding,
    path,
    tokenizing,
)

if TYPE_CHECKING:
    from conftest import Connect, Serve

UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
CLIENT_ID = "6f1d2b1e-0000-4000-8000-000000000001"
FM = "/yandex.cloud.ai.foundation_models.v1"
TAKING_MESSAGES = sorted(
    method.path
    for method in METHODS.values()
    if method.service.startswith(("yandex.cloud.ai.foundation_models.v1.TextGeneration", "yandex.cloud.operation"))
    or "ImageGeneration" in method.service
    or "ApiEndpoint" in method.service
    or method.path in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch")
)


def _begins_with_text(method: str) -> bool:
    first = METHODS[method].input.DESCRIPTOR.fields_by_number.get(1)
    return first is not None and first.type == first.TYPE_STRING


def failing(error: Any, **reply: Any) -> dict[str, Any]:
    return {"rules": [{"reply": {"error": error, **reply}}]}


def detail(reply: Reply, cls: type[Any]) -> Any:
    """The one detail of that type."""
    url = f"type.googleapis.com/{cls.DESCRIPTOR.full_name}"
    (packed,) = (any_ for any_ in reply.status.details if any_.type_url == url)
    return cls.FromString(packed.value)


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        (f"{FM}.TextGenerationService/Complete", "TextGenerationService has no method Complete; it has Completion"),
        ("/yandex.cloud.operation.OperationService/List", "it has Cancel, Get"),
        (f"{FM}.TextGenerationServise/Completion", f"did you mean {FM[1:]}.TextGenerationService?"),
        ("/some.where.Else/Do", "no such service: some.where.Else"),
    ],
)
def test_an_unknown_method_is_unimplemented_with_a_hint(serve: Serve, connect: Connect, method: str, hint: str) -> None:
    emulator = serve()
    reply = connect(emulator).call(method, b"")
    assert reply.code == "UNIMPLEMENTED"
    assert hint in reply.text
    (entry,) = emulator.sessions.default.journal
    assert (entry.method, entry.code) == (method, "UNIMPLEMENTED")


def test_a_stream_to_an_unknown_method_is_unimplemented_too(serve: Serve, connect: Connect) -> None:
    import grpc

    call = connect(serve()).bidirectional("/some.where.Else/Do", [b"one", b"two"])
    with pytest.raises(grpc.RpcError) as failed:
        next(call)
    error: Any = failed.value
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert "no such service" in error.details()


@pytest.mark.parametrize("method", TAKING_MESSAGES)
@pytest.mark.parametrize("garbage", [b"\xff\xff\xff\xff", b"\x0a\x7f"], ids=["tag", "length"])
def test_bytes_that_are_no_message_are_an_invalid_argument(
    serve: Serve, connect: Connect, method: str, garbage: bytes
) -> None:
    reply = connect(serve()).call(method, garbage)
    assert reply.code == "INVALID_ARGUMENT"
    assert METHODS[method].input_name.rpartition(".")[2] in reply.text


@pytest.mark.parametrize("method", [m for m in TAKING_MESSAGES if _begins_with_text(m)])
def test_text_that_is_not_utf_8_is_an_invalid_argument(serve: Serve, connect: Connect, method: str) -> None:
    assert connect(serve()).call(method, b"\x0a\x02\xff\xfe").code == "INVALID_ARGUMENT"


def test_replies_carry_ids_of_their_own(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    replies = [client.complete(asking("Привет")) for _ in range(3)]
    ids = [reply.headers["x-request-id"] for reply in replies]
    assert len(set(ids)) == 3
    assert all(re.fullmatch(UUID, id_) for id_ in ids)
    trace = re.fullmatch("([0-9a-f]{16}):[0-9a-f]{16}:([0-9a-f]{16}):1", replies[0].headers["x-server-trace-id"])
    assert trace is not None
    assert trace[1] == trace[2]
    assert "x-client-request-id" not in replies[0].headers


@pytest.mark.parametrize(
    ("method", "request_", "code"),
    [
        ("TextGenerationService/Completion", asking("Привет"), "OK"),
        ("TextGenerationService/Completion", asking("Привет", stream=True), "OK"),
        ("TextGenerationService/Completion", asking(""), "INVALID_ARGUMENT"),
        ("TextGenerationAsyncService/Completion", asking("Привет"), "OK"),
        ("OperationService/Get", GetOperationRequest(operation_id="no"), "NOT_FOUND"),
        ("/some.where.Else/Do", b"", "UNIMPLEMENTED"),
        ("OperationService/Get", b"\xff", "INVALID_ARGUMENT"),
    ],
)
def test_the_clients_request_id_is_echoed_whatever_becomes_of_the_call(
    serve: Serve, connect: Connect, method: str, request_: Any, code: str
) -> None:
    reply = connect(serve()).call(method, request_, metadata=[("x-client-request-id", CLIENT_ID)])
    assert reply.code == code
    assert reply.headers["x-client-request-id"] == CLIENT_ID
    assert re.fullmatch(UUID, reply.headers["x-request-id"])
    assert "x-server-trace-id" in reply.headers


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("TextGenerationService/Completion", asking("")),
        ("OperationService/Get", GetOperationRequest(operation_id="no")),
        ("/some.where.Else/Do", b""),
    ],
)
def test_an_error_carries_the_request_id_among_its_details(
    serve: Serve, connect: Connect, method: str, request_: Any
) -> None:
    reply = connect(serve()).call(method, request_)
    assert detail(reply, RequestInfo).request_id == reply.headers["x-request-id"]
    assert reply.status.message == reply.text


def test_a_failure_after_some_messages_carries_it_too(serve: Serve, connect: Connect) -> None:
    stop = {"text": "раз два три четыре", "stream": {"words": 1, "stop": {"after": 2}}}
    reply = connect(serve({"rules": [{"reply": stop}]})).complete(asking("Считай", stream=True))
    assert len(reply.messages) == 2
    assert detail(reply, RequestInfo).request_id == reply.headers["x-request-id"]


def test_scripted_details_travel_with_their_types(serve: Serve, connect: Connect) -> None:
    violations = [{"subject": "folder", "description": "слишком часто"}]
    error = {
        "code": "RESOURCE_EXHAUSTED",
        "retry_after": "2500ms",
        "details": {"QuotaFailure": {"violations": violations}},
    }
    reply = connect(serve(failing(error))).complete(asking("Привет"))
    assert reply.status.code == 8
    assert detail(reply, RetryInfo).retry_delay.ToTimedelta().total_seconds() == 2.5
    assert detail(reply, QuotaFailure).violations[0].description == "слишком часто"
    assert detail(reply, RequestInfo).request_id


CODES = [code.name for code in Code if code is not Code.OK]


@pytest.mark.parametrize("code", CODES)
def test_any_code_can_be_scripted_by_its_name_alone(serve: Serve, connect: Connect, code: str) -> None:
    emulator = serve(failing(code))
    reply = connect(emulator).complete(asking("Привет"))
    assert reply.code == code
    assert reply.text
    (entry,) = emulator.sessions.default.journal
    assert (entry.code, entry.message) == (code, reply.text)


ASKED: dict[str, Any] = {
    "completion_async": asking("?"),
    "completion_batch": BatchCompletionRequest(model_uri="gpt://b1gtest/gemma-3-12b-it", source_dataset_id=DATASET),
    "generate_image": drawing("?"),
    "tokenize": tokenizing("?"),
    "tokenize_completion": asking("?"),
    "text_embedding": embedding("?"),
    "classify": classifying("?"),
    "few_shot_classify": choosing("?", "a", "b"),
}
QUOTAS = [
    (name, ASKED[name], f"ai.{words} rate quota limit exceed: allowed {most} requests")
    for name, words, most in (
        ("completion_async", "textGenerationAsyncCompletionRequestsPerSecond.rate", 10),
        ("completion_batch", "textGenerationBatchCompletionRequestsPerHour.rate", 10),
        ("generate_image", "imageGenerationRequestsPerMinute.rate", 500),
        ("tokenize", "textGenerationTokenizeRequestsPerSecond.rate", 50),
        ("tokenize_completion", "textGenerationTokenizeCompletionRequestsPerSecond.rate", 50),
        ("text_embedding", "textEmbeddingRequestsPerSecond.rate", 10),
        ("classify", "textClassificationRequestsPerSecond.rate", 1),
        ("few_shot_classify", "fewShotTextClassificationRequestsPerSecond.rate", 1),
    )
]


@pytest.mark.parametrize(("call", "request_", "text"), QUOTAS, ids=[each[0] for each in QUOTAS])
def test_a_quota_that_is_scripted_by_its_code_alone_is_that_of_the_call(
    serve: Serve, connect: Connect, call: str, request_: Any, text: str
) -> None:
    rules = [{"call": call, "reply": {"error": "RESOURCE_EXHAUSTED"}}]
    reply = connect(serve({"rules": rules, **STORED})).call(METHODS_BY_CALL[call], request_)
    assert (reply.code, reply.text) == ("RESOURCE_EXHAUSTED", text)


def test_inside_an_operation_it_is_that_of_its_call_and_at_a_get_that_of_the_get(
    serve: Serve, connect: Connect
) -> None:
    polls = {"error": "RESOURCE_EXHAUSTED", "done_after": "0s", "polls": {1: "RESOURCE_EXHAUSTED"}}
    client = connect(serve({"rules": [{"call": "completion_async", "operation": polls}]}))
    begun = client.call(METHODS_BY_CALL["completion_async"], asking("Привет")).only
    get = GetOperationRequest(operation_id=begun.id)
    refused = client.call("OperationService/Get", get)
    assert refused.text == "ai.operationGetRequestsPerSecond.rate rate quota limit exceed: allowed 50 requests"
    assert client.operation(begun.id).error.message.startswith("ai.textGenerationAsyncCompletionRequestsPerSecond.rate")


def on_the_wire(text: str) -> int:
    """Bytes of a text as grpc-message: what isn't printable ASCII is percent-encoded."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode())


@pytest.mark.parametrize(
    "message", ["ж" * 100_000, "%" * 100_000, "x" * 100_000, "😀" * 25_000], ids=["ж", "%", "x", "emoji"]
)
def test_trailers_stay_within_4_kib_however_long_the_scripted_message(
    serve: Serve, connect: Connect, message: str
) -> None:
    description = {"violations": [{"subject": "s", "description": message}]}
    error = {"code": "INVALID_ARGUMENT", "message": message, "details": {"QuotaFailure": description}}
    emulator = serve(failing(error, template=False))
    reply = connect(emulator).complete(asking("Привет"))
    assert reply.code == "INVALID_ARGUMENT"
    assert message.startswith(reply.text.removesuffix("…"))
    assert len(reply.text) > 150
    encoded_details = (len(reply.trailers["grpc-status-details-bin"]) + 2) // 3 * 4
    assert on_the_wire(reply.text) + encoded_details <= 4096
    assert detail(reply, RequestInfo).request_id == reply.headers["x-request-id"]
    (entry,) = emulator.sessions.default.journal
    assert entry.message == message


def test_scripted_headers_and_trailers_travel(serve: Serve, connect: Connect) -> None:
    reply = {"text": "Да", "headers": {"x-shard": "7"}, "trailers": {"x-cost": "12"}}
    got = connect(serve({"rules": [{"reply": reply}]})).complete(asking("Привет"))
    assert got.code == "OK"
    assert got.headers["x-shard"] == "7"
    assert got.trailers["x-cost"] == "12"


def test_scripted_trailers_travel_with_an_error_as_well(serve: Serve, connect: Connect) -> None:
    got = connect(serve(failing("UNAVAILABLE", trailers={"x-cost": "12"}))).complete(asking("Привет"))
    assert (got.code, got.trailers["x-cost"]) == ("UNAVAILABLE", "12")


def test_strict_refuses_what_no_rule_matches_and_says_what_was_nearest(serve: Serve, connect: Connect) -> None:
    rules = [{"name": "greeting", "when": {"question": {"equals": "Привет"}}, "reply": {"text": "Да"}}]
    emulator = serve({"rules": rules}, strict=True)
    reply = connect(emulator).complete(asking("Привет, эмулятор"))
    assert reply.code == "FAILED_PRECONDITION"
    assert "greeting" in reply.text
    (entry,) = emulator.sessions.default.journal
    assert entry.id in reply.text
    assert connect(emulator).complete(asking("Привет")).code == "OK"


def test_credentials_never_reach_the_journal(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    connect(emulator).complete(asking("Привет"), metadata=[("authorization", "Api-Key AQVN-very-secret-key-of-mine")])
    (entry,) = emulator.sessions.default.journal
    (kept,) = (value for key, value in entry.metadata if key == "authorization")
    assert "secret" not in str(kept)


def test_every_method_of_the_api_is_known_by_its_path() -> None:
    assert path("OperationService/Get") == "/yandex.cloud.operation.OperationService/Get"
