"""Datasets with the official SDK: uploaded whole and by parts, validated, listed, changed, downloaded and read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from yandex_ai_studio_sdk import AsyncAIStudio
from yandex_ai_studio_sdk.exceptions import DatasetValidationError

from emulator import Emulator

from .conftest import FOLDER, QUICK

if TYPE_CHECKING:
    from conftest import Serve

    from .conftest import Studio

REQUESTS = "TextToTextGenerationRequest"
POLL = 0.02
QUESTIONS = ["Как дела?", "Сколько будет 2+2?", "Кто ты?"]
MIB = 1 << 20


def written(path: Path, *texts: str) -> Path:
    rows = ({"request": [{"role": "user", "text": text}]} for text in texts)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def texts(rows: Any) -> list[str]:
    return [row["request"][0]["text"] for row in rows]


def test_a_dataset_is_uploaded_used_and_deleted(serve: Serve, studio: Studio, tmp_path: Path) -> None:
    sdk = studio(serve(immediate=True))
    path = written(tmp_path / "rows.jsonl", *QUESTIONS)
    draft = sdk.datasets.draft_from_path(path, task_type=REQUESTS, upload_format="jsonlines", name="вопросы")
    dataset = draft.upload(poll_interval=POLL)
    assert (dataset.status.name, dataset.rows, dataset.folder_id) == ("READY", 3, FOLDER)
    assert texts(dataset.read()) == QUESTIONS
    assert dataset.download(download_path=tmp_path) == (tmp_path / "main",)
    assert (tmp_path / "main").stat().st_size == dataset.size_bytes
    dataset.update(name="другие", labels={"team": "qa"})
    assert sdk.datasets.get(dataset.id).labels == {"team": "qa"}
    assert [d.name for d in sdk.datasets.list(status="READY", name_pattern="друг", task_type=REQUESTS)] == ["другие"]
    with pytest.warns(DeprecationWarning, match="list_upload_formats"):
        assert dataset.list_upload_formats() == ("jsonlines",)
    (schema,) = sdk.datasets.list_upload_schemas(task_type=REQUESTS)
    assert schema.upload_format == "jsonlines"
    dataset.delete()
    assert list(sdk.datasets.list()) == []


def test_a_large_one_goes_by_parts(serve: Serve, studio: Studio, tmp_path: Path) -> None:
    emulator = serve(immediate=True)
    count = 3000
    path = written(tmp_path / "rows.jsonl", *(f"{i} " + "слово " * 400 for i in range(count)))
    assert path.stat().st_size > 10 * MIB
    draft = studio(emulator).datasets.draft_from_path(path, task_type=REQUESTS, upload_format="jsonlines")
    dataset = draft.upload(chunk_size=5 * MIB, parallelism=3, poll_interval=POLL)
    assert dataset.rows == count
    assert [int(text.split()[0]) for text in texts(dataset.read())] == list(range(count))
    assert emulator.calls(method="FinishMultipartUploadDraft", code="OK")


def test_a_malformed_row_fails_the_validation_with_its_line(serve: Serve, studio: Studio, tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", *QUESTIONS)
    with path.open("a") as file:
        file.write('{"request": "Привет"}\n')
    draft = studio(serve(immediate=True)).datasets.draft_from_path(path, task_type=REQUESTS, upload_format="jsonlines")
    with pytest.raises(DatasetValidationError, match=r"request: Expected array, got str.*rows=\(4,\)"):
        draft.upload(poll_interval=POLL)
    dataset = draft.upload(poll_interval=POLL, raise_on_validation_failure=False)
    assert dataset.status.name == "INVALID"
    assert dataset.validation_errors[0].rows == (4,)


def test_with_the_default_timeline_the_second_look_finds_it_done(serve: Serve, studio: Studio, tmp_path: Path) -> None:
    emulator = serve(frozen=True)
    draft = studio(emulator).datasets.draft_from_path(
        written(tmp_path / "rows.jsonl", *QUESTIONS), task_type=REQUESTS, upload_format="jsonlines"
    )
    operation = draft.upload_deferred()
    assert operation.get_status().is_running
    emulator.clock.advance("10s")
    assert operation.get_status().is_succeeded
    assert operation.get_result().rows == 3


async def test_the_asynchronous_sdk_does_the_same_in_the_emulators_own_loop(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", *QUESTIONS)
    async with Emulator(immediate=True) as emulator:
        sdk = AsyncAIStudio(endpoint=emulator.target, verify=False, auth="key", folder_id=FOLDER, retry_policy=QUICK)
        draft = sdk.datasets.draft_from_path(path, task_type=REQUESTS, upload_format="jsonlines")
        dataset = await draft.upload(poll_interval=POLL)
        assert texts([row async for row in dataset.read()]) == QUESTIONS
        assert [d.id async for d in sdk.datasets.list()] == [dataset.id]
        await dataset.delete()


def test_datasets_of_fixtures_are_there_from_the_start(serve: Serve, studio: Studio, tmp_path: Path) -> None:
    written(tmp_path / "rows.jsonl", *QUESTIONS)
    (tmp_path / "datasets.yaml").write_text("datasets: {questions: {file: rows.jsonl}}", "utf-8")
    sdk = studio(serve(tmp_path))
    (dataset,) = sdk.datasets.list(name_pattern="questions")
    assert (dataset.status.name, dataset.rows) == ("READY", 3)
    assert texts(dataset.read()) == QUESTIONS
