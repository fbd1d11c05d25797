"""Operations as they travel: what creating one answers, what Get tells, and what Cancel does."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from emulator.api import (
    BatchCompletionMetadata,
    BatchCompletionRequest,
    BatchCompletionResponse,
    CancelOperationRequest,
    CompletionResponse,
    GetOperationRequest,
    ImageGenerationResponse,
    message_class,
)

from .client import DATASET, FOLDER, STORED, Client, Reply, asking, drawing

if TYPE_CHECKING:
    from conftest import Connect, Serve

BATCH = BatchCompletionRequest(model_uri=f"gpt://{FOLDER}/gemma-3-12b-it", source_dataset_id=DATASET)
CREATE = {
    "text": ("TextGenerationAsyncService/Completion", asking("Расскажи о коте"), "d7q"),
    "picture": ("ImageGenerationAsyncService/Generate", drawing("кот"), "fbv"),
    "batch": ("TextGenerationBatchService/Completion", BATCH, "fbi"),
}
CALLS = ["completion_async", "completion_batch", "generate_image"]
QUICK = {"rules": [{"call": CALLS, "operation": {"done_after_polls": 2}}]}
NEVER = {"rules": [{"call": CALLS, "operation": {"done_after": "300h"}}]}
STATUSES = (
    message_class("yandex.cloud.ai.foundation_models.v1.BatchCompletionMetadata")
    .DESCRIPTOR.fields_by_name["task_status"]
    .enum_type.values_by_number
)

every_kind = pytest.mark.parametrize("kind", CREATE)


def create(client: Client, kind: str) -> Any:
    method, request, _ = CREATE[kind]
    return client.call(method, request).only


def cancel(client: Client, operation_id: str) -> Reply:
    return client.call("OperationService/Cancel", CancelOperationRequest(operation_id=operation_id))


def unpacked(packed: Any, cls: type[Any]) -> Any:
    assert packed.type_url == f"type.googleapis.com/{cls.DESCRIPTOR.full_name}"
    return cls.FromString(packed.value)


def task_status(operation: Any) -> str:
    return str(STATUSES[unpacked(operation.metadata, BatchCompletionMetadata).task_status].name)


@every_kind
def test_an_operation_begins_pending_with_an_id_of_its_kind(serve: Serve, connect: Connect, kind: str) -> None:
    client = connect(serve(STORED))
    ids = {create(client, kind).id for _ in range(3)}
    assert len(ids) == 3
    assert all(re.fullmatch(CREATE[kind][2] + "[0-9a-v]{17}", id_) for id_ in ids)
    assert not create(client, kind).done


def test_a_text_operation_has_description_creator_and_whole_second_times_and_no_metadata(
    serve: Serve, connect: Connect
) -> None:
    operation = create(connect(serve()), "text")
    assert operation.description == "Async GPT Completion"
    assert re.fullmatch("aje[0-9a-v]{17}", operation.created_by)
    assert operation.created_at.seconds > 0
    assert (operation.created_at.nanos, operation.modified_at.nanos) == (0, 0)
    assert not operation.HasField("metadata")


def test_a_pictures_operation_has_nothing_but_its_id(serve: Serve, connect: Connect) -> None:
    operation = create(connect(serve()), "picture")
    assert [field.name for field, _ in operation.ListFields()] == ["id"]


def test_a_batch_operation_has_times_and_a_task_without_status(serve: Serve, connect: Connect) -> None:
    operation = create(connect(serve(STORED)), "batch")
    assert {field.name for field, _ in operation.ListFields()} == {"id", "created_at", "modified_at", "metadata"}
    metadata = unpacked(operation.metadata, BatchCompletionMetadata)
    assert [field.name for field, _ in metadata.ListFields()] == ["task_id"]
    assert re.fullmatch("fbi[0-9a-v]{17}", metadata.task_id)
    assert metadata.task_id != operation.id


def test_the_nth_get_says_done(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"operation": {"done_after_polls": 3}}]}))
    operation_id = create(client, "text").id
    assert [client.operation(operation_id).done for _ in range(4)] == [False, False, True, True]


def test_each_operation_counts_its_own_gets(serve: Serve, connect: Connect) -> None:
    client = connect(serve(QUICK))
    first, second = create(client, "text").id, create(client, "text").id
    client.operation(first)
    assert [client.operation(second).done, client.operation(first).done] == [False, True]


@pytest.mark.parametrize(
    ("kind", "response"),
    [("text", CompletionResponse), ("picture", ImageGenerationResponse), ("batch", BatchCompletionResponse)],
)
def test_a_done_operation_holds_its_response_and_stays_the_same(
    serve: Serve, connect: Connect, kind: str, response: type[Any]
) -> None:
    client = connect(serve(QUICK))
    done = client.finished(create(client, kind).id)
    assert done.WhichOneof("result") == "response"
    assert unpacked(done.response, response).ByteSize() > 0
    assert client.operation(done.id) == done


def test_modified_at_moves_once_the_operation_is_done(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"operation": {"done_after": "90s"}}]}, speed=1000, now="2026-01-31T12:00:00Z"))
    begun = create(client, "text")
    done = client.finished(begun.id)
    assert done.created_at == begun.created_at
    assert done.modified_at.seconds == begun.created_at.seconds + 90


def test_default_operations_are_done_within_seconds(serve: Serve, connect: Connect) -> None:
    client = connect(serve(STORED, speed=50))
    for kind in CREATE:
        assert client.finished(create(client, kind).id).WhichOneof("result") == "response"


def test_a_batch_goes_through_its_statuses_and_is_completed_before_it_is_done(serve: Serve, connect: Connect) -> None:
    timeline = [
        {"at": "20s", "status": "PENDING"},
        {"at": "40s", "status": "IN_PROGRESS", "total_batches": 4},
        {"at": "80s", "status": "COMPLETED", "done": False},
        {"at": "100s", "status": "COMPLETED"},
    ]
    emulator = serve({"rules": [{"operation": {"timeline": timeline}}]}, frozen=True)
    client = connect(emulator)
    operation = create(client, "batch")
    seen = [(task_status(operation), operation.done)]
    batches = [0]
    while not operation.done:
        emulator.clock.advance("10s")
        operation = client.operation(operation.id)
        batches.append(unpacked(operation.metadata, BatchCompletionMetadata).completed_batches)
        if (now := (task_status(operation), operation.done)) != seen[-1]:
            seen.append(now)
    statuses = [(name.removeprefix("BATCH_INFERENCE_TASK_STATUS_"), done) for name, done in seen]
    assert [(name, done) for name, done in statuses if name != "UNSPECIFIED"] == [
        ("PENDING", False),
        ("IN_PROGRESS", False),
        ("COMPLETED", False),
        ("COMPLETED", True),
    ]
    assert batches == sorted(batches)
    assert batches == [0, 0, 0, 0, 0, 1, 2, 3, 4, 4, 4]
    response = unpacked(operation.response, BatchCompletionResponse)
    assert response.task_id == unpacked(operation.metadata, BatchCompletionMetadata).task_id
    assert re.fullmatch("fds[0-9a-v]{17}", response.result_dataset_id)


@every_kind
def test_cancelling_a_pending_operation_ends_it_with_cancelled(serve: Serve, connect: Connect, kind: str) -> None:
    client = connect(serve(NEVER))
    operation_id = create(client, kind).id
    cancelled = cancel(client, operation_id).only
    assert cancelled.done
    assert cancelled.error.code == 1
    assert client.operation(operation_id) == cancelled
    assert cancel(client, operation_id).only == cancelled


def test_the_task_of_a_cancelled_batch_is_canceled(serve: Serve, connect: Connect) -> None:
    client = connect(serve(NEVER))
    operation_id = create(client, "batch").id
    assert task_status(cancel(client, operation_id).only).endswith("CANCELED")


@every_kind
def test_cancelling_a_done_operation_leaves_it_as_it_is(serve: Serve, connect: Connect, kind: str) -> None:
    client = connect(serve(QUICK))
    done = client.finished(create(client, kind).id)
    assert cancel(client, done.id).only == done
    assert client.operation(done.id) == done


@pytest.mark.parametrize("method", ["Get", "Cancel"])
@pytest.mark.parametrize("operation_id", ["", "d7q00000000000000000", "что-то"])
def test_an_unknown_operation_is_not_found(serve: Serve, connect: Connect, method: str, operation_id: str) -> None:
    request = GetOperationRequest(operation_id=operation_id)
    reply = connect(serve()).call(f"OperationService/{method}", request)
    assert (reply.code, reply.messages) == ("NOT_FOUND", [])
    assert operation_id in reply.text


def test_an_operation_that_fails_at_its_second_poll_was_accepted(serve: Serve, connect: Connect) -> None:
    failing = {"at_poll": 2, "error": {"code": "INTERNAL", "message": "узел потерян"}}
    client = connect(serve({"rules": [{"operation": failing}]}))
    operation_id = create(client, "text").id
    assert not client.operation(operation_id).done
    failed = client.operation(operation_id)
    assert (failed.done, failed.error.code, failed.error.message) == (True, 13, "узел потерян")
    assert not failed.HasField("response")


def test_a_poll_fault_fails_one_get_and_the_operation_lives_on(serve: Serve, connect: Connect) -> None:
    scripted = {"done_after_polls": 3, "polls": {2: {"error": "UNAVAILABLE"}}}
    client = connect(serve({"rules": [{"operation": scripted}]}))
    operation_id = create(client, "text").id
    request = GetOperationRequest(operation_id=operation_id)
    replies = [client.call("OperationService/Get", request) for _ in range(3)]
    assert [reply.code for reply in replies] == ["OK", "UNAVAILABLE", "OK"]
    assert replies[2].only.WhichOneof("result") == "response"


def test_an_error_of_the_reply_refuses_the_call_itself(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"call": CALLS, "reply": {"error": "RESOURCE_EXHAUSTED"}}]}))
    for method, request, _ in CREATE.values():
        assert client.call(method, request).code == "RESOURCE_EXHAUSTED"


def test_a_failed_batch_says_so_in_its_metadata_too(serve: Serve, connect: Connect) -> None:
    timeline = [
        {"at": "1s", "status": "IN_PROGRESS", "total_batches": 10},
        {
            "at": "9s",
            "status": "FAILED",
            "completed_batches": 5,
            "error": {"code": "INTERNAL", "message": "узел потерян"},
        },
    ]
    client = connect(serve({"rules": [{"call": "completion_batch", "operation": {"timeline": timeline}}]}, speed=100))
    failed = client.finished(create(client, "batch").id)
    assert (failed.error.code, failed.error.message) == (13, "узел потерян")
    assert task_status(failed).endswith("FAILED")
    metadata = unpacked(failed.metadata, BatchCompletionMetadata)
    assert (metadata.completed_batches, metadata.total_batches) == (5, 10)


def test_a_picture_is_a_jpeg_of_the_asked_ratio_and_the_same_for_the_same_seed(serve: Serve, connect: Connect) -> None:
    from io import BytesIO

    from PIL import Image

    client = connect(serve(QUICK))
    ratio = {"width_ratio": 2, "height_ratio": 1}

    def picture(seed: int) -> bytes:
        request = drawing("рыжий кот", seed=seed, aspect_ratio=ratio)
        done = client.finished(client.call("ImageGenerationAsyncService/Generate", request).only.id)
        raw: bytes = unpacked(done.response, ImageGenerationResponse).image
        return raw

    first = picture(42)
    opened = Image.open(BytesIO(first))
    assert opened.format == "JPEG"
    assert opened.width / opened.height == pytest.approx(2, rel=0.1)
    assert picture(42) == first
    assert picture(43) != first
