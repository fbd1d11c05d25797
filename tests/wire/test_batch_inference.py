"""Batch tasks over a socket: what sessions, snapshots, pages and hands make of them."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow.parquet as pq
import pytest

from emulator import Emulator
from emulator.api import (
    BatchCompletionMetadata,
    BatchCompletionRequest,
    BatchInferenceTask,
    DescribeBatchInferenceRequest,
    ListBatchInferencesRequest,
    message_class,
)

from .client import DATASET, FOLDER, Client, Reply

if TYPE_CHECKING:
    from conftest import Connect, Serve

TASKS = "/yandex.cloud.ai.batch_inference.v1.BatchInferenceService/"
DATASETS = "/yandex.cloud.ai.dataset.v1.DatasetService/"
QUESTIONS = ("Привет!", "Пока", "Привет ещё раз")
ROWS = {
    "datasets": {DATASET: {"rows": [{"request": [{"role": "user", "text": text}]} for text in QUESTIONS]}},
    "rules": [
        {"name": "bye", "call": "batch_row", "when": {"row": 2}, "reply": {"error": "INTERNAL"}},
        {"name": "hi", "times": 1, "when": {"question": {"contains": "привет"}}, "reply": {"text": "раз"}},
        {"name": "again", "when": {"question": {"contains": "привет"}}, "reply": {"text": "ещё"}},
    ],
}
RESPONSES = ["раз", None, "ещё"]


class Tasks:
    """BatchInferenceService of an emulator, in the session that the metadata names."""

    def __init__(self, client: Client, *metadata: tuple[str, str]) -> None:
        self.client, self.metadata = client, metadata

    def begin(self, model: str = "gemma-3-12b-it") -> str:
        """The id of a new task."""
        request = BatchCompletionRequest(model_uri=f"gpt://{FOLDER}/{model}", source_dataset_id=DATASET)
        operation = self.client.call("TextGenerationBatchService/Completion", request, metadata=self.metadata).only
        metadata = BatchCompletionMetadata()
        assert operation.metadata.Unpack(metadata)
        return str(metadata.task_id)

    def call(self, method: str, request: Any) -> Reply:
        return self.client.call(TASKS + method, request, metadata=self.metadata)

    def look(self, task_id: str) -> Any:
        return self.call("Describe", DescribeBatchInferenceRequest(task_id=task_id)).only.task

    def listed(self, **asked: Any) -> Any:
        return self.call("List", ListBatchInferencesRequest(folder_id=FOLDER, **asked)).only

    def responses(self, task_id: str) -> list[str | None]:
        """What the rows were answered."""
        request = message_class("yandex.cloud.ai.dataset.v1.GetDownloadUrlsRequest")
        id_ = self.look(task_id).result_dataset_id
        reply = self.client.call(DATASETS + "GetDownloadUrls", request(dataset_id=id_), metadata=self.metadata).only
        ((url,),) = ([one.url for one in reply.download_urls],)
        table = pq.read_table(io.BytesIO(httpx.get(url).content))
        return list(table["response"].to_pylist())


def status(task: Any) -> str:
    return str(BatchInferenceTask.Status.Name(task.status))


@pytest.fixture
def begun(serve: Serve, connect: Connect) -> tuple[Emulator, Tasks]:
    emulator = serve(ROWS, frozen=True)
    return emulator, Tasks(connect(emulator))


def test_a_task_belongs_to_its_session_and_is_found_without_a_name(serve: Serve, connect: Connect) -> None:
    emulator = serve(ROWS, frozen=True)
    client = connect(emulator)
    mine, other = (Tasks(client, ("x-emulator-session", name)) for name in ("mine", "other"))
    task = mine.begin()
    assert [one.task_id for one in mine.listed().tasks] == [task]
    assert list(other.listed().tasks) == []
    assert other.call("Describe", DescribeBatchInferenceRequest(task_id=task)).code == "NOT_FOUND"
    assert Tasks(client).look(task).task_id == task
    emulator.session("mine").clock.advance("10s")
    assert Tasks(client).responses(task) == RESPONSES


@pytest.mark.parametrize("waited", ["0s", "2s", "10s"])
def test_a_snapshot_holds_a_batch_and_what_its_rows_come_to(serve: Serve, connect: Connect, waited: str) -> None:
    emulator = serve(ROWS, frozen=True, now="2026-01-31T12:00:00Z")
    before = Tasks(connect(emulator))
    task = before.begin()
    emulator.clock.advance(waited)
    snapshot = emulator.snapshot()
    elsewhere = serve(frozen=True)
    elsewhere.restore(snapshot)
    assert elsewhere.snapshot() == snapshot
    after = Tasks(connect(elsewhere))
    for one in (emulator, elsewhere):
        one.rule(call="batch_row", reply="поздно")
        one.clock.advance("10s")
    assert before.look(task) == after.look(task)
    assert [(error.line_number, error.message) for error in after.look(task).errors.line_errors] == [
        (2, "Internal server error")
    ]
    assert before.responses(task) == after.responses(task) == RESPONSES


def test_pages_go_on_where_they_were_while_tasks_come_and_go(begun: tuple[Emulator, Tasks]) -> None:
    emulator, tasks = begun
    ids = [tasks.begin() for _ in range(5)]
    first = tasks.listed(page_size=2)
    assert [task.task_id for task in first.tasks] == ids[:2]
    emulator.clock.advance("10s")
    for task in ids[:2]:
        tasks.call(
            "Delete", message_class("yandex.cloud.ai.batch_inference.v1.DeleteBatchInferenceRequest")(task_id=task)
        )
    late = tasks.begin()
    second = tasks.listed(page_size=2, page_token=first.next_page_token)
    third = tasks.listed(page_size=2, page_token=second.next_page_token)
    assert [task.task_id for page in (second, third) for task in page.tasks] == [*ids[2:], late]
    assert third.next_page_token == ""


@pytest.mark.parametrize(("asked", "told"), [({"page_size": -1}, "page_size"), ({"page_token": "huh"}, "page_token")])
def test_a_page_that_can_not_be_is_refused(begun: tuple[Emulator, Tasks], asked: Any, told: str) -> None:
    reply = begun[1].call("List", ListBatchInferencesRequest(folder_id=FOLDER, **asked))
    assert reply.code == "INVALID_ARGUMENT"
    assert reply.text.startswith(f"Validation error:\n{told}: ")


def test_a_list_is_of_a_folder(begun: tuple[Emulator, Tasks]) -> None:
    reply = begun[1].call("List", ListBatchInferencesRequest())
    assert (reply.code, reply.text) == ("INVALID_ARGUMENT", "Validation error:\nfolder_id: Field is required")


def test_a_batch_that_is_finished_by_hand_has_its_rows_answered(begun: tuple[Emulator, Tasks]) -> None:
    emulator, tasks = begun
    task = tasks.begin()
    (operation,) = emulator.operations.list()
    emulator.operations.finish(operation.id)
    assert status(tasks.look(task)) == "COMPLETED"
    assert tasks.responses(task) == RESPONSES


def test_a_batch_that_is_failed_by_hand_tells_the_error(begun: tuple[Emulator, Tasks]) -> None:
    emulator, tasks = begun
    task = tasks.begin()
    (operation,) = emulator.operations.list()
    emulator.operations.fail(operation.id, "INTERNAL", "node lost")
    found = tasks.look(task)
    assert (status(found), found.errors.status.message) == ("FAILED", "node lost")
    assert found.HasField("finished_at")
    assert not found.HasField("started_at")


def test_an_operation_whose_task_was_seen_to_its_end_counts_as_fetched(begun: tuple[Emulator, Tasks]) -> None:
    emulator, tasks = begun
    task = tasks.begin()
    emulator.clock.advance("4s")
    assert status(tasks.look(task)) == "COMPLETED"
    emulator.verify("unfetched")  # raises where it does not


def test_under_strictness_a_row_that_no_rule_matches_fails(serve: Serve, connect: Connect) -> None:
    rules = {**ROWS, "rules": [*ROWS["rules"][1:], {"call": "completion_batch", "operation": {"done_after_polls": 1}}]}  # type: ignore[index]
    tasks = Tasks(connect(serve(rules, strict=True)))
    task = tasks.begin()
    (error,) = tasks.look(task).errors.line_errors
    assert (error.line_number, error.message) == (2, "no rule matches this row, and the emulator is strict")
