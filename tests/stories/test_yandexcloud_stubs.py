"""The official generated stubs of `yandexcloud`: every method, and every `Any` unpacked into the official classes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RequestInfo, RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from wire.client import eventually
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2 as common
from yandex.cloud.ai.foundation_models.v1.batch_inference_task_status_pb2 import BatchInferenceTaskStatus
from yandex.cloud.ai.foundation_models.v1.embedding import embedding_service_pb2 as embedding
from yandex.cloud.ai.foundation_models.v1.embedding import embedding_service_pb2_grpc as embedding_stubs
from yandex.cloud.ai.foundation_models.v1.image_generation import image_generation_service_pb2 as image
from yandex.cloud.ai.foundation_models.v1.image_generation import image_generation_service_pb2_grpc as image_stubs
from yandex.cloud.ai.foundation_models.v1.text_classification import (
    text_classification_service_pb2 as classification,
)
from yandex.cloud.ai.foundation_models.v1.text_classification import (
    text_classification_service_pb2_grpc as classification_stubs,
)
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as text
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc as text_stubs
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoint
from yandex.cloud.endpoint import api_endpoint_service_pb2_grpc as endpoint_stubs
from yandex.cloud.operation import operation_service_pb2 as operation
from yandex.cloud.operation import operation_service_pb2_grpc as operation_stubs

if TYPE_CHECKING:
    from conftest import Connect, Serve

CALLS = ["completion_async", "completion_batch", "generate_image"]
QUICK = {"rules": [{"call": CALLS, "operation": {"done_after_polls": 2}}]}
NEVER = {"rules": [{"call": CALLS, "operation": {"done_after": "100h"}}]}
BATCH = text.BatchCompletionRequest(model_uri="gpt://b1gtest/gemma-3-12b-it", source_dataset_id="fds00000000000000001")


def request(question: str = "Привет", **options: Any) -> text.CompletionRequest:
    return text.CompletionRequest(
        model_uri="gpt://b1gtest/yandexgpt/latest",
        completion_options=common.CompletionOptions(**options),
        messages=[common.Message(role="user", text=question)],
    )


def drawing() -> image.ImageGenerationRequest:
    return image.ImageGenerationRequest(
        model_uri="art://b1gtest/yandex-art/latest",
        messages=[{"text": "кот", "weight": 1}],  # type: ignore[list-item]
    )


def unpacked(packed: Any, cls: type[Message]) -> Any:
    message = cls()
    assert packed.Is(cls.DESCRIPTOR), packed.type_url
    assert packed.Unpack(message)
    return message


@pytest.fixture
def channel(serve: Serve, connect: Connect, fixtures: Any) -> grpc.Channel:
    channel: grpc.Channel = connect(serve(fixtures)).channel
    return channel


@pytest.mark.parametrize("fixtures", [{"rules": [{"reply": {"text": "раз два три", "stream": {"words": 1}}}]}])
def test_completion_answers_in_official_messages(channel: grpc.Channel) -> None:
    stub = text_stubs.TextGenerationServiceStub(channel)
    (whole,) = stub.Completion(request())
    streamed = list(stub.Completion(request(stream=True)))
    assert isinstance(whole, text.CompletionResponse)
    assert len(streamed) == 3
    assert streamed[-1] == whole
    assert whole.alternatives[0].status == common.Alternative.ALTERNATIVE_STATUS_FINAL


@pytest.mark.parametrize("fixtures", [QUICK])
def test_a_text_operation_gives_an_official_completion_response(channel: grpc.Channel) -> None:
    begun = text_stubs.TextGenerationAsyncServiceStub(channel).Completion(request("где живут барсуки"))
    assert not begun.HasField("metadata")
    get = operation_stubs.OperationServiceStub(channel).Get
    asked = operation.GetOperationRequest(operation_id=begun.id)
    assert [get(asked).done for _ in range(2)] == [False, True]
    response = unpacked(get(asked).response, text.CompletionResponse)
    assert "где живут барсуки" in response.alternatives[0].message.text


@pytest.mark.parametrize("fixtures", [QUICK])
def test_a_pictures_operation_gives_an_official_image_response(channel: grpc.Channel) -> None:
    begun = image_stubs.ImageGenerationAsyncServiceStub(channel).Generate(drawing())
    get = operation_stubs.OperationServiceStub(channel).Get
    asked = operation.GetOperationRequest(operation_id=begun.id)
    assert [get(asked).done for _ in range(2)] == [False, True]
    assert unpacked(get(asked).response, image.ImageGenerationResponse).image.startswith(b"\xff\xd8")


TIMELINE = [
    {"at": "20s", "status": "PENDING"},
    {"at": "40s", "status": "IN_PROGRESS", "total_batches": 4},
    {"at": "60s", "status": "COMPLETED", "done": False},
    {"at": "80s", "status": "COMPLETED"},
]


def test_a_batch_is_polled_through_its_statuses_to_its_result(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"call": "completion_batch", "operation": {"timeline": TIMELINE}}]}, speed=200)
    channel = connect(emulator).channel
    begun = text_stubs.TextGenerationBatchServiceStub(channel).Completion(BATCH)
    task = unpacked(begun.metadata, text.BatchCompletionMetadata)
    seen = [(task.task_status, begun.done)]
    stub = operation_stubs.OperationServiceStub(channel)

    def done() -> Any:
        told = stub.Get(operation.GetOperationRequest(operation_id=begun.id))
        metadata = unpacked(told.metadata, text.BatchCompletionMetadata)
        assert metadata.task_id == task.task_id
        if (metadata.task_status, told.done) != seen[-1]:
            seen.append((metadata.task_status, told.done))
        return told if told.done else None

    finished = eventually(done)
    names = [(BatchInferenceTaskStatus.Name(status).rpartition("STATUS_")[2], done) for status, done in seen]
    assert names == [
        ("UNSPECIFIED", False),
        ("PENDING", False),
        ("IN_PROGRESS", False),
        ("COMPLETED", False),
        ("COMPLETED", True),
    ]
    response = unpacked(finished.response, text.BatchCompletionResponse)
    assert response.task_id == task.task_id
    assert response.result_dataset_id.startswith("fds")


@pytest.mark.parametrize("fixtures", [NEVER])
def test_each_kind_of_operation_can_be_cancelled(channel: grpc.Channel) -> None:
    stub = operation_stubs.OperationServiceStub(channel)
    for begun in (
        text_stubs.TextGenerationAsyncServiceStub(channel).Completion(request()),
        text_stubs.TextGenerationBatchServiceStub(channel).Completion(BATCH),
        image_stubs.ImageGenerationAsyncServiceStub(channel).Generate(drawing()),
    ):
        cancelled = stub.Cancel(operation.CancelOperationRequest(operation_id=begun.id))
        assert cancelled.done
        assert cancelled.error.code == grpc.StatusCode.CANCELLED.value[0]
        assert stub.Get(operation.GetOperationRequest(operation_id=begun.id)) == cancelled


@pytest.mark.parametrize("fixtures", [{}])
def test_discovery_lists_and_gets(channel: grpc.Channel) -> None:
    stub = endpoint_stubs.ApiEndpointServiceStub(channel)
    listed = stub.List(endpoint.ListApiEndpointsRequest())
    assert {"operation", "ai-foundation-models", "iam"} <= {one.id for one in listed.endpoints}
    for one in listed.endpoints:
        assert stub.Get(endpoint.GetApiEndpointRequest(api_endpoint_id=one.id)) == one


@pytest.mark.parametrize("fixtures", [{"rules": [{"reply": {"error": {"code": "UNAVAILABLE", "retry_after": "2s"}}}]}])
def test_error_details_unpack_into_official_classes(channel: grpc.Channel) -> None:
    with pytest.raises(grpc.RpcError) as failed:
        list(text_stubs.TextGenerationServiceStub(channel).Completion(request()))
    error: Any = failed.value
    trailers = dict(error.trailing_metadata())
    status = Status.FromString(trailers["grpc-status-details-bin"])
    found = {packed.TypeName(): packed for packed in status.details}
    assert unpacked(found["google.rpc.RequestInfo"], RequestInfo).request_id
    assert unpacked(found["google.rpc.RetryInfo"], RetryInfo).retry_delay.seconds == 2


@pytest.mark.parametrize("fixtures", [{}])
def test_the_calls_about_a_text_are_answered_in_official_messages(channel: grpc.Channel) -> None:
    tokenizer = text_stubs.TokenizerServiceStub(channel)
    told = tokenizer.Tokenize(text.TokenizeRequest(model_uri="gpt://b1gtest/yandexgpt", text="раз два"))
    assert [token.text for token in told.tokens] == ["<s>", "▁раз", "▁два"]
    assert len(tokenizer.TokenizeCompletion(request("раз")).tokens) == 15
    vector = embedding_stubs.EmbeddingsServiceStub(channel).TextEmbedding(
        embedding.TextEmbeddingRequest(model_uri="emb://b1gtest/text-search-doc/latest", text="раз")
    )
    assert len(vector.embedding) == 256
    classifier = classification_stubs.TextClassificationServiceStub(channel)
    few = classification.FewShotTextClassificationRequest(
        model_uri="cls://b1gtest/yandexgpt/latest", task_description="?", labels=["раз", "два"], text="раз"
    )
    assert [sure.label for sure in classifier.FewShotClassify(few).predictions] == ["раз", "два"]
    tuned = classification.TextClassificationRequest(model_uri="cls://b1gtest/bt1", text="раз")
    assert classifier.Classify(tuned).predictions
