"""Batches over a socket, with raw messages: whose they are, and what becomes of them in the awkward cases."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from emulator import Emulator
from emulator.api import BatchCompletionMetadata, BatchCompletionRequest, GetOperationRequest, message_class

from .client import FOLDER, Reply
from .datasets import Datasets

if TYPE_CHECKING:
    from conftest import Connect, Serve

NOON = "2026-01-31T12:00:00Z"
INFERENCE = "yandex.cloud.ai.batch_inference.v1"
AUTH = {
    "api_keys": [
        {"key": "AQVN-ours-0123456789", "service_account": "aje0000000000000ci1", "folders": [FOLDER]},
        {"key": "AQVN-theirs-0123456789", "folders": ["b1gtheirs"]},
    ]
}


class Batches(Datasets):
    """Datasets, and batches over them."""

    def begin(self, dataset: str, model: str = "gemma-3-12b-it") -> Reply:
        """The call that begins a batch."""
        request = BatchCompletionRequest(model_uri=f"gpt://{FOLDER}/{model}/latest", source_dataset_id=dataset)
        return self.client.call("TextGenerationBatchService/Completion", request, self.metadata)

    def begun(self, dataset: str, model: str = "gemma-3-12b-it") -> tuple[str, str]:
        """The ids of the operation and the task of a new batch."""
        operation = self.begin(dataset, model).only
        return operation.id, self.metadata_of(operation).task_id

    @staticmethod
    def metadata_of(operation: Any) -> Any:
        told = BatchCompletionMetadata()
        assert operation.metadata.Unpack(told)
        return told

    def inference(self, method: str, **fields: Any) -> Reply:
        """A call of BatchInferenceService."""
        message = "ListBatchInferences" if method == "List" else f"{method}BatchInference"
        request = message_class(f"{INFERENCE}.{message}Request")(**fields)
        return self.client.call(f"/{INFERENCE}.BatchInferenceService/{method}", request, self.metadata)

    def task(self, id: str) -> Any:
        """The task as Describe tells it."""
        return self.inference("Describe", task_id=id).only.task

    def task_status(self, id: str) -> str:
        task = self.task(id)
        return str(task.Status.Name(task.status))

    def get(self, operation_id: str) -> Reply:
        return self.client.call("OperationService/Get", GetOperationRequest(operation_id=operation_id), self.metadata)


Begin = Callable[..., Batches]


@pytest.fixture
def begin(serve: Serve, connect: Connect) -> Begin:
    """`begin(*rules, **options)` gives the batches of a new emulator whose clock stands at noon."""

    def begun(*rules: Any, **options: Any) -> Batches:
        emulator = serve({"rules": list(rules)}, **{"now": NOON, "frozen": True, **options})
        return Batches(emulator, connect(emulator))

    return begun


# -- whose they are


def test_a_task_is_found_by_its_id_alone(serve: Serve, connect: Connect) -> None:
    emulator = serve(now=NOON, frozen=True)
    session = emulator.session("a")
    mine = Batches(session, connect(emulator), [("x-emulator-session", "a")])  # type: ignore[arg-type]
    anyone = Batches(emulator, mine.client)
    stranger = Batches(emulator, mine.client, [("x-emulator-session", "b")])
    _, task_id = mine.begun(mine.ready("раз"))
    assert anyone.task(task_id).task_id == task_id
    assert stranger.inference("Describe", task_id=task_id).code == "NOT_FOUND"
    anyone.inference("Cancel", task_id=task_id).only  # noqa: B018
    assert mine.task_status(task_id) == "CANCELED"
    anyone.inference("Delete", task_id=task_id).only  # noqa: B018
    assert mine.inference("Describe", task_id=task_id).code == "NOT_FOUND"


def test_datasets_and_tasks_are_their_folders(serve: Serve, connect: Connect) -> None:
    emulator: Emulator = serve({"auth": AUTH}, now=NOON, frozen=True)
    client = connect(emulator)
    ours = Batches(emulator, client, [("authorization", "Api-Key AQVN-ours-0123456789")])
    theirs = Batches(emulator, client, [("authorization", "Api-Key AQVN-theirs-0123456789")])
    source = ours.ready("раз")
    operation_id, task_id = ours.begun(source)
    assert ours.info(source).created_by_id == "aje0000000000000ci1"
    emulator.clock.advance("5s")
    result = ours.task(task_id).result_dataset_id
    for id_ in (source, result):
        assert ours.info(id_).folder_id == FOLDER
        for method in ("Describe", "Delete", "GetDownloadUrls", "GetPreview", "Validate"):
            assert theirs.call(method, dataset_id=id_).code == "PERMISSION_DENIED"
    assert theirs.call("ListOperationsIds", dataset_id=[source]).code == "PERMISSION_DENIED"
    validation = ours.ask("ListOperationsIds", dataset_id=[source]).dataset_id_to_operation_id[source]
    assert theirs.get(validation).code == "PERMISSION_DENIED"
    assert theirs.get(operation_id).code == "PERMISSION_DENIED"
    for method in ("Describe", "Cancel", "Delete"):
        assert theirs.inference(method, task_id=task_id).code == "PERMISSION_DENIED"
    own_model = BatchCompletionRequest(model_uri="gpt://b1gtheirs/gemma-3-12b-it/latest", source_dataset_id=source)
    begun = client.call("TextGenerationBatchService/Completion", own_model, theirs.metadata)
    assert begun.code == "PERMISSION_DENIED"
