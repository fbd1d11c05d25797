"""DatasetService over a socket, in the shape of recorded traffic; what it refuses, and what it says then."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pyarrow.parquet
import pytest

from emulator import Emulator
from emulator.api import CancelOperationRequest, to_dict
from emulator.rows.names import TASK_TYPES

from .client import FOLDER, Client
from .datasets import REQUESTS, Datasets, lines, put

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Connect, Serve

NOON = "2026-01-31T12:00:00Z"
ID = re.compile(r"fds[0-9a-v]{17}")
Begin = "Callable[..., Datasets]"


@pytest.fixture
def begin(serve: Serve, connect: Connect) -> Callable[..., Datasets]:
    """`begin(**options)` gives the datasets of a new emulator whose clock stands at noon."""

    def begun(fixtures: Any = (), **options: Any) -> Datasets:
        emulator = serve(fixtures, **{"now": NOON, "frozen": True, **options})
        return Datasets(emulator, connect(emulator))

    return begun


# -- as recorded


def test_a_dataset_lives_as_it_was_recorded(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    body = lines("раз", "два", "три")
    created = to_dict(
        datasets.ask("Create", name="n", folder_id=FOLDER, task_type=REQUESTS, upload_format="jsonlines"), camel=True
    )
    id_ = created["datasetId"]
    assert ID.fullmatch(id_)
    account = created["dataset"]["createdBy"]
    assert re.fullmatch(r"aje[0-9a-v]{17}", account)
    info = {
        "datasetId": id_,
        "folderId": FOLDER,
        "name": "n",
        "status": "DRAFT",
        "taskType": REQUESTS,
        "createdAt": NOON,
        "updatedAt": NOON,
        "createdById": account,
        "createdBy": account,
    }
    assert created == {"datasetId": id_, "dataset": info}
    told = to_dict(datasets.ask("GetUploadDraftUrl", dataset_id=id_, size_bytes=len(body)), camel=True)
    assert told.keys() == {"datasetId", "uploadUrl"}
    assert re.fullmatch(
        rf"http://localhost:\d+/ai-fomo-drafts-prod/{FOLDER}/{id_}\?X-Amz-Algorithm=AWS4-HMAC-SHA256"
        r"&X-Amz-Date=20260131T120000Z&X-Amz-SignedHeaders=content-length%3Bhost&X-Amz-Expires=86399"
        r"&X-Amz-Credential=YCAJE\w{20}%2F20260131%2Fus-east-1%2Fs3%2Faws4_request&X-Amz-Signature=[0-9a-f]{64}",
        told["uploadUrl"],
    )
    uploaded = put(told["uploadUrl"], body)
    assert (uploaded.status_code, uploaded.content) == (200, b"")
    assert re.fullmatch('"[0-9a-f]{32}"', uploaded.headers["etag"])

    operation = to_dict(datasets.ask("Validate", dataset_id=id_), camel=True)
    bare = {"id": operation["id"], "createdAt": NOON, "modifiedAt": NOON}
    assert ID.fullmatch(operation["id"])
    assert operation["id"] != id_
    assert operation == bare
    seen = []
    for _ in range(4):
        seen.append(to_dict(datasets.operation(operation["id"]), camel=True))
        datasets.emulator.clock.advance("1s")
    metadata = {
        "@type": "type.googleapis.com/yandex.cloud.ai.dataset.v1.ValidateDatasetMetadata",
        "datasetId": id_,
        "validRows": "3",
        "processedRows": "3",
        "totalRows": "3",
    }
    response = {
        "@type": "type.googleapis.com/yandex.cloud.ai.dataset.v1.ValidateDatasetResponse",
        "datasetId": id_,
        "isValid": True,
    }
    assert seen == [
        bare,
        {**bare, "modifiedAt": "2026-01-31T12:00:01Z"},
        {**bare, "modifiedAt": "2026-01-31T12:00:02Z", "metadata": metadata},
        {**bare, "modifiedAt": "2026-01-31T12:00:03Z", "done": True, "metadata": metadata, "response": response},
    ]
    described = to_dict(datasets.ask("Describe", dataset_id=id_), camel=True)["dataset"]
    size = int(described.pop("sizeBytes"))
    assert described == {**info, "status": "READY", "updatedAt": "2026-01-31T12:00:02Z", "rows": "3"}
    assert size > len(body)
    assert to_dict(datasets.ask("Delete", dataset_id=id_)) == {}
    assert datasets.refused("Describe", dataset_id=id_) == f"NOT_FOUND: Dataset {id_} not found"


def test_its_status_follows_the_clock(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    seen = [datasets.status(id_)]
    datasets.validate(id_)
    for _ in range(3):
        seen.append(datasets.status(id_))
        datasets.emulator.clock.advance("1s")
    assert seen == ["DRAFT", "VALIDATING", "VALIDATING", "READY"]


def test_immediately_it_is_done_at_the_first_get(begin: Callable[..., Datasets]) -> None:
    datasets = begin(immediate=True)
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    operation = datasets.validate(id_)
    assert not operation.done
    assert datasets.status(id_) == "VALIDATING"
    assert datasets.operation(operation.id).done
    assert datasets.status(id_) == "READY"


def test_the_same_seed_calls_and_clock_give_the_same_ids_and_urls(begin: Callable[..., Datasets]) -> None:
    told = []
    for seed in (1, 1, 2):
        datasets = begin(seed=seed)
        id_ = datasets.create()
        url = datasets.upload_url(id_, 5).partition("/ai-fomo")[2]
        told.append((id_, url))
    assert told[0] == told[1]
    assert told[0][0] != told[2][0]
    assert told[0][1][-64:] != told[2][1][-64:]


def test_the_journal_tells_which_dataset_a_call_was_about(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create(name="вопросы")
    datasets.info(id_)
    assert [call.about for call in datasets.emulator.calls(method="")] == ["вопросы", id_]


# -- malformed rows


def test_every_malformed_row_is_told_with_its_line_and_reason(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    body = b"\n".join(
        [
            lines("раз").strip(),
            b"nope",
            b"[1]",
            b'{"request": [{"role": "robot", "text": "x"}]}',
            b"",
            b'{"request": [{"role": "user", "text": ""}]}',
            b'{"request": [{"role": "user", "text": "x"}], "answer": "y"}',
            b'{"request": [{"role": "user", "text": "\xff"}]}',
            b'{"request": [{"role": "robot", "text": "y"}]}',
        ]
    )
    datasets.upload(id_, body)
    operation = datasets.validate(id_)
    datasets.emulator.clock.advance("3s")
    done = to_dict(datasets.operation(operation.id), camel=True)
    assert (done["metadata"]["validRows"], done["metadata"]["totalRows"]) == ("1", "9")
    assert "isValid" not in done["response"]
    errors = [(e["error"], e["errorDescription"], e["rowNumbers"]) for e in done["response"]["errors"]]
    assert errors == [
        ("InvalidJson", "the line is not JSON: invalid character", ["2"]),
        ("InvalidRow", "Expected object, got array", ["3"]),
        ("InvalidRow", "request[0].role: 'robot' is no role; there are system, user, assistant", ["4", "9"]),
        ("EmptyRow", "the line is empty", ["5"]),
        ("InvalidRow", "request[0].text: the text is empty", ["6"]),
        ("InvalidRow", "Object contains unknown field answer", ["7"]),
        ("InvalidEncoding", "the line is not UTF-8: byte 40 is 0xff", ["8"]),
    ]
    info = datasets.info(id_)
    assert info.Status.Name(info.status) == "INVALID"
    assert len(info.validation_error) == 7
    assert datasets.refused("GetDownloadUrls", dataset_id=id_) == (
        f"FAILED_PRECONDITION: dataset {id_} is INVALID; upload sound rows and validate it again"
    )
    datasets.upload(id_, lines("раз"))
    assert datasets.status(id_) == "DRAFT"
    datasets.validate(id_)
    datasets.emulator.clock.advance("3s")
    assert datasets.status(id_) == "READY"


# -- in the wrong state


def test_what_comes_in_the_wrong_state_is_told_what_to_do(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    assert datasets.refused("Validate", dataset_id=id_) == (
        f"FAILED_PRECONDITION: dataset {id_} has no rows yet; upload them to what GetUploadDraftUrl tells"
    )
    assert datasets.refused("GetDownloadUrls", dataset_id=id_) == (
        f"FAILED_PRECONDITION: dataset {id_} is DRAFT; upload its rows and validate it first"
    )
    assert datasets.refused("GetPreview", dataset_id=id_).startswith(f"FAILED_PRECONDITION: dataset {id_} is DRAFT;")
    assert datasets.refused("FinishMultipartUploadDraft", dataset_id=id_) == (
        f"FAILED_PRECONDITION: dataset {id_} has no upload by parts; begin one with StartMultipartUploadDraft"
    )
    datasets.upload(id_, lines("раз"))
    datasets.validate(id_)
    wait = "wait until its validation is done"
    for method in ("Validate", "GetDownloadUrls"):
        assert datasets.refused(method, dataset_id=id_).endswith(wait)
    assert datasets.refused("GetUploadDraftUrl", dataset_id=id_, size_bytes=1).endswith(wait)
    datasets.emulator.clock.advance("3s")
    for method, more in (("GetUploadDraftUrl", {"size_bytes": 1}), ("StartMultipartUploadDraft", {"parts": 1})):
        assert datasets.refused(method, dataset_id=id_, **{"size_bytes": 1, **more}) == (
            f"FAILED_PRECONDITION: dataset {id_} is READY; its rows are fixed; create another dataset for others"
        )
    assert datasets.refused("Validate", dataset_id=id_) == f"FAILED_PRECONDITION: dataset {id_} is READY already"


def test_a_validation_that_is_cancelled_leaves_a_draft(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    operation = datasets.validate(id_)
    cancelled = datasets.client.call("OperationService/Cancel", CancelOperationRequest(operation_id=operation.id)).only
    assert (cancelled.done, cancelled.error.code) == (True, 1)
    assert datasets.status(id_) == "DRAFT"
    second = datasets.validate(id_)
    assert second.id != operation.id
    assert dict(datasets.ask("ListOperationsIds", dataset_id=[id_]).dataset_id_to_operation_id) == {id_: second.id}


def test_a_dataset_that_is_deleted_takes_its_validation_along(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    operation = datasets.validate(id_)
    datasets.ask("Delete", dataset_id=id_)
    told = datasets.operation(operation.id)
    assert (told.done, told.error.code) == (True, 1)


def test_operations_by_hand_work_on_validations(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    operation = datasets.validate(id_)
    operations = datasets.emulator.operations
    operations.finish(operation.id)
    assert datasets.status(id_) == "READY"
    assert datasets.operation(operation.id).HasField("response")
    other = datasets.create()
    datasets.upload(other, lines("раз"))
    operation = datasets.validate(other)
    operations.fail(operation.id)
    assert datasets.status(other) == "DRAFT"
    assert datasets.operation(operation.id).error.code == 13


# -- what is there


def test_a_list_is_filtered_and_comes_in_pages(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    names = [f"набор {i}" for i in range(5)]
    ids = [datasets.create(name=name) for name in names]
    datasets.create(name="чужой", folder_id="b1gother")
    pair = datasets.create(name="пара", task_type="TextEmbeddingsPair")
    ready = datasets.ready("раз", name="готов")

    def listed(**fields: Any) -> list[str]:
        return [d.dataset_id for d in datasets.ask("List", **{"folder_id": FOLDER, **fields}).datasets]

    assert listed() == [*ids, pair, ready]
    assert listed(dataset_name_pattern="набор") == ids
    assert listed(dataset_name_pattern="*р 3") == [ids[3]]
    assert listed(task_type_filter=["TextEmbeddingsPair"]) == [pair]
    assert listed(status=[3]) == [ready]
    assert listed(dataset_ids=[ids[1], ready]) == [ids[1], ready]
    pages, token = [], ""
    while True:
        page = datasets.ask("List", folder_id=FOLDER, page_size=3, page_token=token)
        pages.append([d.dataset_id for d in page.datasets])
        for dataset in page.datasets:  # what is deleted on the way shifts nothing
            datasets.ask("Delete", dataset_id=dataset.dataset_id)
        token = page.next_page_token
        if not token:
            break
    assert pages == [ids[:3], [*ids[3:], pair], [ready]]
    assert datasets.refused("List", folder_id=FOLDER, page_token="wrong").startswith("INVALID_ARGUMENT: Validation")


def test_only_what_the_mask_names_is_changed(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create(description="было", labels={"a": "1"})
    datasets.emulator.clock.advance("5s")
    changed = datasets.ask("Update", dataset_id=id_, update_mask={"paths": ["description"]}, name="x", description="y")
    assert (changed.dataset.name, changed.dataset.description) == ("вопросы", "y")
    assert dict(changed.dataset.labels) == {"a": "1"}
    assert changed.dataset.updated_at.seconds - changed.dataset.created_at.seconds == 5
    assert datasets.refused("Update", dataset_id=id_, update_mask={"paths": ["folder_id"]}) == (
        "INVALID_ARGUMENT: Validation error:\nupdate_mask: folder_id can't be changed; "
        "there are name, description, labels"
    )


def test_types_formats_and_schemas_are_told(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    assert tuple(datasets.ask("ListTypes").types) == TASK_TYPES
    assert list(datasets.ask("ListUploadFormats", task_type=REQUESTS).formats) == ["jsonlines"]
    for name in TASK_TYPES:
        (told,) = datasets.ask("ListUploadSchemas", task_type=name).schemas
        assert (told.task_type, told.upload_format) == (name, "jsonlines")
        assert json.loads(told.schema)["title"] == name


def test_a_preview_shows_the_first_rows(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.ready(*map(str, range(12)))
    preview = datasets.ask("GetPreview", dataset_id=id_).preview_lines
    assert [json.loads(line)["request"][0]["text"] for line in preview] == list(map(str, range(10)))


# -- what is refused


@pytest.mark.parametrize(
    ("method", "fields", "told"),
    [
        ("Create", {"name": "x" * 64}, "name: Length must be less than or equal to 63"),
        ("Create", {"folder_id": "x" * 51}, "folder_id: Length must be less than or equal to 50"),
        ("Create", {"folder_id": ""}, "folder_id: Field is required"),
        ("Create", {"task_type": "Poetry"}, "task_type: Value must be one of ImageText"),
        ("Create", {"upload_format": "csv"}, "upload_format: Value must be one of jsonlines"),
        ("Describe", {}, "dataset_id: Field is required"),
        ("GetUploadDraftUrl", {"dataset_id": "x"}, "size_bytes: Value must be in the range of 1 to 5368709120"),
        ("StartMultipartUploadDraft", {"dataset_id": "x", "parts": 10_001, "size_bytes": 1}, "parts: Value must be in"),
        ("StartMultipartUploadDraft", {"dataset_id": "x", "parts": 2, "size_bytes": 100}, "parts: 2 parts of 100 byte"),
        ("FinishMultipartUploadDraft", {"dataset_id": "x", "uploaded_parts": [{"part_num": 0}]}, "part_num: Value"),
        ("List", {"folder_id": "f", "page_size": 101}, "page_size: Value must be in the range of 0 to 100"),
        ("ListUploadFormats", {"task_type": "Poetry"}, "task_type: Value must be one of"),
    ],
)
def test_what_is_out_of_bounds_is_refused_as_a_sister_api_does(
    begin: Callable[..., Datasets], method: str, fields: dict[str, Any], told: str
) -> None:
    if method == "Create":
        fields = {"folder_id": FOLDER, "task_type": REQUESTS, "upload_format": "jsonlines", **fields}
    assert begin().refused(method, **fields).startswith(f"INVALID_ARGUMENT: Validation error:\n{told}")


@pytest.mark.parametrize("method", ["Describe", "Update", "Delete", "Validate", "GetDownloadUrls", "GetPreview"])
def test_an_unknown_id_is_not_found(begin: Callable[..., Datasets], method: str) -> None:
    assert begin().refused(method, dataset_id="fds1") == "NOT_FOUND: Dataset fds1 not found"


def test_a_preview_does_not_show_an_editors_mark(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.create()
    datasets.upload(id_, b"\xef\xbb\xbf" + lines("раз"))
    (line,) = datasets.ask("GetPreview", dataset_id=id_).preview_lines
    assert line.startswith("{")


def test_there_are_only_so_many(begin: Callable[..., Datasets], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.datasets.collection.MOST_DATASETS", 2)
    datasets = begin()
    first = datasets.create()
    datasets.create()
    fields = {"folder_id": FOLDER, "task_type": REQUESTS, "upload_format": "jsonlines"}
    assert datasets.refused("Create", **fields) == (
        "RESOURCE_EXHAUSTED: there are 2 datasets in this session, results of batches among them; delete some"
    )
    datasets.ask("Delete", dataset_id=first)
    datasets.create()


# -- sessions, reset, snapshots


def test_sessions_do_not_meet_and_an_id_finds_its_owner(serve: Serve, connect: Connect) -> None:
    emulator = serve(now=NOON, frozen=True)
    client = connect(emulator)
    one, other = (Datasets(emulator.session(name), client, [("x-emulator-session", name)]) for name in ("a", "b"))
    without = Datasets(emulator, client)
    id_ = one.ready("раз")
    assert id_ not in [d.dataset_id for d in other.ask("List", folder_id=FOLDER).datasets]
    assert other.refused("Describe", dataset_id=id_) == f"NOT_FOUND: Dataset {id_} not found"
    assert without.info(id_).rows == 1
    url = without.download_url(id_)
    assert "X-Emulator-Session=a" in url
    assert put(one.upload_url(one.create(), 1), b"x").status_code == 200
    assert not without.ask("List", folder_id=FOLDER).datasets


def test_reset_takes_datasets_away_and_lets_the_rest_be(begin: Callable[..., Datasets]) -> None:
    datasets = begin()
    id_ = datasets.ready("раз")
    operation = datasets.validate(pending := _uploaded(datasets))
    datasets.emulator.reset("operations")
    assert (datasets.status(id_), datasets.status(pending)) == ("READY", "DRAFT")
    operation = datasets.validate(pending)
    datasets.emulator.reset("datasets")
    assert datasets.refused("Describe", dataset_id=id_).startswith("NOT_FOUND")
    assert datasets.emulator.operations.list() == []
    assert operation.id


def _uploaded(datasets: Datasets) -> str:
    id_ = datasets.create()
    datasets.upload(id_, lines("раз"))
    return id_


def test_a_snapshot_holds_datasets_with_their_rows(begin: Callable[..., Datasets], serve: Serve) -> None:
    datasets = begin()
    ready, draft, empty, pending = datasets.ready("раз", labels={"a": "b"}), _uploaded(datasets), datasets.create(), ""
    pending = _uploaded(datasets)
    operation = datasets.validate(pending)
    gone = _uploaded(datasets)
    done = datasets.validate(gone)
    datasets.emulator.clock.advance("2s")
    datasets.emulator.operations.finish(done.id)
    datasets.ask("Delete", dataset_id=gone)
    snapshot = datasets.emulator.snapshot()
    told = []
    for _ in range(2):
        emulator = serve(seed=9)
        emulator.restore(snapshot)
        with Client(emulator.target) as client:
            other = Datasets(emulator, client)
            infos = [other.info(id_).SerializeToString(deterministic=True) for id_ in (ready, draft, empty, pending)]
            assert infos == [
                datasets.info(id_).SerializeToString(deterministic=True) for id_ in (ready, draft, empty, pending)
            ]
            assert other.operation(done.id) == datasets.operation(done.id)
            assert other.operation(operation.id) == datasets.operation(operation.id)
            assert emulator.snapshot() is not None
            emulator.clock.advance("3s")
            rest = other.operation(operation.id)
            assert (rest.done, other.status(pending), other.status(draft)) == (True, "READY", "DRAFT")
            told.append((infos, rest.SerializeToString(deterministic=True), other.create(), other.validate(draft).id))
    assert told[0] == told[1]


def test_a_snapshot_takes_only_so_much(begin: Callable[..., Datasets], monkeypatch: pytest.MonkeyPatch) -> None:
    from emulator.errors import UsageError

    monkeypatch.setattr("emulator.datasets.stored.MOST_STORED", 100)
    datasets = begin()
    id_ = datasets.ready("слово " * 40)
    with pytest.raises(UsageError, match=rf"delete some of them, {id_} first"):
        datasets.emulator.snapshot()


# -- what is stored


@pytest.mark.parametrize(
    ("task_type", "row"),
    [
        ("TextToTextGeneration", {"request": [{"role": "user", "text": "раз"}], "response": "два"}),
        ("TextEmbeddingsPair", {"anchor": "раз", "positive": "два"}),
        ("TextEmbeddingsTriplet", {"anchor": "раз", "positive": "два", "negative": "три"}),
        ("TextClassificationMulticlass", {"text": "раз", "хорошо": 1, "плохо": 0}),
    ],
)
def test_each_task_type_has_its_columns(
    begin: Callable[..., Datasets], tmp_path: Any, task_type: str, row: dict[str, Any]
) -> None:
    import httpx

    datasets = begin()
    id_ = datasets.create(task_type=task_type)
    datasets.upload(id_, json.dumps(row).encode())
    datasets.validate(id_)
    datasets.emulator.clock.advance("3s")
    got = httpx.get(datasets.download_url(id_))
    assert got.status_code == 200
    assert datasets.info(id_).size_bytes == len(got.content)
    path = tmp_path / "main"
    path.write_bytes(got.content)
    with pyarrow.parquet.ParquetFile(path) as file:
        assert file.metadata.num_row_groups == 1
        assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
        assert file.schema_arrow.names == list(row)
        assert file.read().to_pylist() == [row]


def test_a_gone_session_takes_its_files_along(serve: Serve, connect: Connect) -> None:
    emulator: Emulator = serve(now=NOON, frozen=True)
    session = emulator.session("a")
    datasets = Datasets(session, connect(emulator), [("x-emulator-session", "a")])
    id_ = datasets.create()
    datasets.upload(id_, lines(*["слово " * 1000] * 200))
    folder = emulator.sessions.get("a").datasets.store._folder  # type: ignore[union-attr]
    assert folder is not None
    assert folder.files()
    emulator.place.do(lambda: emulator.sessions.delete("a"))
    assert not folder.path.exists()
