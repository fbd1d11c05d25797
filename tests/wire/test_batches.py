"""Batches over a socket, with raw messages: whose they are, and what becomes of them in the awkward cases."""

from __future__ import annotations

import errno
import hashlib
import io
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pyarrow.parquet
import pytest

from emulator import Emulator
from emulator.apart import in_process
from emulator.api import BatchCompletionMetadata, BatchCompletionRequest, GetOperationRequest, message_class
from emulator.batches import Batch
from emulator.engine.results import written
from emulator.rows.check import check

from .client import FOLDER, Reply, eventually
from .datasets import Datasets, lines

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


# -- what is let go of


def files(batches: Batches) -> list[Path]:
    """What the emulator has on its disk."""
    folder = batches.emulator.sessions.default.datasets.store._folder
    return folder.files() if folder is not None else []


LONG = [hashlib.shake_256(b"%d" % n).hexdigest(70_000) for n in range(10)]
"""Questions of more than 1 MiB together, which don't become much less in a Parquet file."""


def test_a_deleted_result_takes_its_file_along_and_the_task_is_told_all_the_same(begin: Begin) -> None:
    bad = {"call": "batch_row", "when": {"row": 2}, "reply": {"error": {"code": "INTERNAL", "message": "node lost"}}}
    batches = begin(bad)
    source = batches.ready(*LONG)
    tasks = [batches.begun(source)[1] for _ in range(2)]
    batches.emulator.clock.advance("5s")
    done, early = (batches.task(task).result_dataset_id if n == 0 else "" for n, task in enumerate(tasks))
    assert early == ""
    before = len(files(batches))
    batches.ask("Delete", dataset_id=done)
    assert len(files(batches)) == before - 1
    (listed,) = [d for d in batches.ask("List", folder_id=FOLDER).datasets if d.dataset_id != source]
    batches.ask("Delete", dataset_id=listed.dataset_id)
    assert len(files(batches)) == before - 1
    for task in tasks:
        assert [e.message for e in batches.task(task).errors.line_errors] == ["node lost"]
    batches.ask("Delete", dataset_id=source)
    assert files(batches) == []


def test_the_source_is_let_go_of_once_the_rows_are_answered(begin: Begin) -> None:
    batches = begin({"reply": {"text": "да"}})
    source = batches.ready(*LONG)
    _, task = batches.begun(source)
    batches.ask("Delete", dataset_id=source)
    assert files(batches), "the batch needs it still"
    batches.emulator.clock.advance("5s")
    result = batches.task(task).result_dataset_id
    batches.ask("Delete", dataset_id=result)
    assert files(batches) == []


# -- where they are answered


def test_the_rows_of_a_large_fixture_are_answered_in_a_process_of_their_own(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines(*LONG))
    (tmp_path / "a.yaml").write_text("datasets: {big: {file: rows.jsonl}}\nrules: [reply: {text: '{{ row }}'}]\n")
    monkeypatch.setattr("emulator.batches.written", None)
    emulator = serve(tmp_path, now=NOON, frozen=True)
    batches = Batches(emulator, connect(emulator))
    (source,) = [d.dataset_id for d in batches.ask("List", folder_id=FOLDER).datasets]
    _, task = batches.begun(source)
    emulator.clock.advance("5s")
    got = httpx.get(batches.download_url(batches.task(task).result_dataset_id))
    rows = pyarrow.parquet.read_table(io.BytesIO(got.content)).to_pylist()
    assert [row["response"] for row in rows] == [str(n + 1) for n in range(len(LONG))]


# -- limits


def test_where_there_is_no_room_for_a_result_nothing_begins(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = begin()
    source = batches.ready("раз")
    monkeypatch.setattr("emulator.datasets.collection.MOST_DATASETS", 2)
    batches.begun(source)
    refused = batches.begin(source)
    assert (refused.code, "delete some" in refused.text) == ("RESOURCE_EXHAUSTED", True)
    assert len(batches.inference("List", folder_id=FOLDER).only.tasks) == 1


def test_results_that_never_come_take_no_room(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = begin()
    source = batches.ready("раз")
    monkeypatch.setattr("emulator.datasets.collection.MOST_DATASETS", 2)
    _, first = batches.begun(source, "yandexgpt")
    batches.emulator.clock.advance("3s")
    assert batches.task_status(first) == "FAILED"
    _, second = batches.begun(source)
    assert batches.task_status(second) == "CREATED"


def test_a_page_of_tasks_fits_into_a_reply_however_many_rows_failed(begin: Begin) -> None:
    batches = begin({"call": "batch_row", "reply": {"error": {"code": "INTERNAL", "message": "Ж" * 400}}})
    source = batches.ready(*map(str, range(1200)))
    tasks = [batches.begun(source)[1] for _ in range(10)]
    batches.emulator.clock.advance("5s")
    assert {len(batches.task(task).errors.line_errors) for task in tasks} == {1000}
    listed = batches.inference("List", folder_id=FOLDER).only.tasks
    assert {len(task.errors.line_errors) for task in listed} == {100}
    assert {task.errors.status.message for task in listed} == {"1200 of 1200 rows failed; the first 100 are told"}


# -- in the awkward moments


def test_a_task_that_is_completed_can_no_longer_be_cancelled(begin: Begin) -> None:
    batches = begin()
    operation, task = batches.begun(batches.ready("раз"))
    batches.emulator.clock.advance("4s")
    assert batches.task_status(task) == "COMPLETED"
    assert batches.inference("Cancel", task_id=task).only.task_id == task
    assert batches.task_status(task) == "COMPLETED"
    batches.emulator.clock.advance("1s")
    assert batches.get(operation).only.HasField("response")


COMPLETED_ALONE = {
    "call": "completion_batch",
    "operation": {
        "timeline": [{"at": "3s", "status": "COMPLETED", "done": False}, {"at": "9s", "status": "COMPLETED"}]
    },
}


@pytest.mark.parametrize("rules", [[], [COMPLETED_ALONE]], ids=["default", "completed-alone"])
@pytest.mark.parametrize(("end", "status"), [("fail", "FAILED"), ("cancel", "CANCELED")])
def test_a_result_that_is_there_stays_when_its_operation_is_broken_off(
    begin: Begin, rules: list[Any], end: str, status: str
) -> None:
    batches = begin(*rules)
    source = batches.ready("раз")
    operation, task = batches.begun(source)
    early, _ = batches.begun(source)
    batches.emulator.clock.advance("2s")
    getattr(batches.emulator.operations, end)(early)
    batches.emulator.clock.advance("1900ms")
    result = batches.task(task).result_dataset_id
    assert batches.status(result) == "READY"
    getattr(batches.emulator.operations, end)(operation)
    assert batches.task_status(task) == status
    assert not batches.task(task).errors.line_errors
    assert batches.status(result) == "READY"
    assert httpx.get(batches.download_url(result)).status_code == 200
    others = [d for d in batches.ask("List", folder_id=FOLDER).datasets if d.dataset_id not in (source, result)]
    assert [d.Status.Name(d.status) for d in others] == ([] if rules else ["DRAFT"])


def test_a_dataset_that_is_deleted_while_it_is_checked_does_not_spoil_a_list(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = begin()
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return check(*given)

    first, kept = batches.create(), batches.ready("два")
    monkeypatch.setattr("emulator.rows.check.check", slowly)
    batches.upload(first, lines("раз"))
    batches.validate(first)
    batches.emulator.clock.advance("3s")
    with ThreadPoolExecutor(2) as pool:
        listed = pool.submit(batches.ask, "List", folder_id=FOLDER)
        described = pool.submit(batches.call, "Describe", dataset_id=first)
        assert begun.wait(20)
        eventually(lambda: len(batches.emulator.calls(method="Describe")) >= 2)
        batches.emulator.place.do(lambda: batches.emulator.sessions.default.datasets.delete(first))
        go_on.set()
        assert [d.dataset_id for d in listed.result(20).datasets] == [kept]
        assert (described.result(20).code, described.result(20).text) == ("NOT_FOUND", f"Dataset {first} not found")


def test_a_snapshot_waits_for_what_begins_while_it_is_made(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    batches = begin({"reply": {"text": "да"}})
    begun, go_on = threading.Event(), threading.Event()

    def slowly(*given: Any) -> Any:
        begun.set()
        go_on.wait(20)
        return written(*given)

    monkeypatch.setattr("emulator.batches.written", slowly)
    source = batches.ready("раз")
    first = batches.begun(source)[1]
    pending = batches.create()
    batches.upload(pending, lines("два"))
    batches.validate(pending)
    with ThreadPoolExecutor(1) as pool:
        taking = pool.submit(batches.emulator.snapshot)
        assert begun.wait(20)
        second = batches.begun(source)[1]
        batches.emulator.clock.advance("10s")
        go_on.set()
        snapshot = taking.result(20)
    batches.emulator.reset()
    batches.emulator.restore(snapshot)
    for task in (first, second):
        result = batches.task(task).result_dataset_id
        got = httpx.get(batches.download_url(result))
        assert pyarrow.parquet.read_table(io.BytesIO(got.content)).to_pylist()[0]["response"] == "да"
    assert batches.status(pending) == "READY"


def test_rows_of_what_ended_without_a_result_are_not_answered_for_a_snapshot(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = begin()
    source = batches.ready("раз")
    _, task = batches.begun(source)
    batches.inference("Cancel", task_id=task).only  # noqa: B018
    monkeypatch.setattr("emulator.batches.written", None)
    snapshot = batches.emulator.snapshot()
    batches.emulator.reset()
    batches.emulator.restore(snapshot)
    assert batches.task_status(task) == "CANCELED"


@pytest.mark.parametrize("parts", [("operations",), ("datasets",), ("operations", "datasets"), ()])
def test_a_reset_in_the_middle_of_the_work_leaves_nothing_under_way(
    begin: Begin, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.batches.Batch._answer_apart", _asleep)
    batches = begin()
    source = batches.ready(*LONG)
    _, task = batches.begun(source)
    batches.emulator.clock.advance("5s")
    before = children()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(batches.inference, "Describe", task_id=task)
        eventually(lambda: len(children()) > len(before))
        batches.emulator.reset(*parts)
        if len(parts) == 1:
            assert len(children()) > len(before), "the other face of the batch is there still"
            batches.emulator.reset()
        eventually(lambda: children() <= before)
        assert asked.result(20).code == "CANCELLED"


async def _asleep(self: Batch, *given: Any) -> Any:
    await in_process(time.sleep, 600)


def children() -> set[str]:
    """The processes that this one has started."""
    found: set[str] = set()
    for thread in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # the thread has ended
            found |= set(thread.read_text().split())
    return found


def test_an_emulator_that_begins_again_has_let_go_of_batches_with_their_datasets(connect: Connect) -> None:
    emulator = Emulator(now=NOON, frozen=True)
    with emulator:
        batches = Batches(emulator, connect(emulator))
        operation, task = batches.begun(batches.ready(*LONG))
        pending = batches.create()
        batches.upload(pending, lines("раз"))
        batches.validate(pending)
    assert emulator.operations.list(), "what happened can still be looked at"
    with emulator:
        batches = Batches(emulator, connect(emulator))
        assert batches.inference("Describe", task_id=task).code == "NOT_FOUND"
        assert batches.get(operation).code == "NOT_FOUND"
        emulator.restore(emulator.snapshot())
        batches.begun(batches.ready("раз"))


def test_where_the_disk_is_full_datasets_can_be_listed_and_deleted(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches = begin()

    def full(*given: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    id_, kept = batches.create(), batches.ready("раз")
    monkeypatch.setattr("emulator.rows.check.check", full)
    batches.upload(id_, lines("раз"))
    operation = batches.validate(id_).id
    batches.emulator.clock.advance("3s")
    told = (
        f"the check of the rows failed: the disk is full ({tempfile.gettempdir()}); delete datasets, or set TMPDIR to "
        "where there is room"
    )
    assert batches.refused("Describe", dataset_id=id_) == f"RESOURCE_EXHAUSTED: {told}"
    assert [d.dataset_id for d in batches.ask("List", folder_id=FOLDER).datasets] == [id_, kept]
    batches.ask("Delete", dataset_id=id_)
    assert [d.dataset_id for d in batches.ask("List", folder_id=FOLDER).datasets] == [kept]
    assert batches.get(operation).code == "NOT_FOUND"
    assert batches.emulator.snapshot()


@pytest.mark.parametrize("forget", [lambda e: e.reset("operations"), lambda e: e.clock.advance("96h")])
def test_a_result_outlives_its_operation_in_snapshots_too(begin: Begin, forget: Callable[[Emulator], None]) -> None:
    batches = begin({"reply": {"text": "да"}})
    source = batches.ready("раз")
    batches.begun(source)
    batches.emulator.clock.advance("5s")
    forget(batches.emulator)
    before = batches.ask("List", folder_id=FOLDER)
    snapshots = []
    for _ in range(2):
        snapshots.append(batches.emulator.snapshot())
        batches.emulator.reset()
        batches.emulator.restore(snapshots[-1])
    assert snapshots[0] == snapshots[1]
    assert batches.ask("List", folder_id=FOLDER) == before
    result = before.datasets[1].dataset_id
    assert batches.refused("GetPreview", dataset_id=result) == (
        f"FAILED_PRECONDITION: dataset {result} holds answers of a batch; download it to see them"
    )
    got = httpx.get(batches.download_url(result))
    assert pyarrow.parquet.read_table(io.BytesIO(got.content)).to_pylist()[0]["response"] == "да"


def test_a_batch_that_is_forgotten_before_its_rows_are_answered_has_no_result(begin: Begin) -> None:
    batches = begin()
    source = batches.ready("раз")
    _, task = batches.begun(source)
    batches.emulator.clock.advance("2s")
    result = batches.task(task).result_dataset_id
    told = f"FAILED_PRECONDITION: dataset {result} is DRAFT; the batch that fills it has to complete first"
    for method in ("GetDownloadUrls", "GetPreview", "Validate"):
        assert batches.refused(method, dataset_id=result) == told
    batches.emulator.reset("operations")
    assert [d.dataset_id for d in batches.ask("List", folder_id=FOLDER).datasets] == [source]
    batches.emulator.restore(batches.emulator.snapshot())
