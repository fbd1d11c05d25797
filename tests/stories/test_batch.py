"""Batch with the official SDK: from a file to rows read back, and what may go wrong on the way."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from yandex_ai_studio_sdk import AIStudio, AsyncAIStudio

from emulator import Emulator
from emulator.sdk import async_client, client, wait

GEMMA = "gemma-3-12b-it"
HELLO = {"when": {"question": {"contains": "привет"}}, "reply": {"text": "Здравствуйте!"}}
QUESTIONS = ("Привет!", "Сколько будет 2 + 2?", "Пока")
Ask = Callable[..., Path]


@pytest.fixture
def rows(tmp_path: Path) -> Ask:
    """`rows(*questions)` is a file of a dataset that asks them."""

    def written(*questions: str) -> Path:
        file = tmp_path / "questions.jsonl"
        lines = ({"request": [{"role": "user", "text": question}]} for question in questions or QUESTIONS)
        file.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), encoding="utf-8")
        return file

    return written


def uploaded(sdk: AIStudio, file: Path) -> Any:
    draft = sdk.datasets.draft_from_path(
        file, name="questions", task_type="TextToTextGenerationRequest", upload_format="jsonlines"
    )
    return draft.upload(poll_interval=0.01)


def serving(*rules: Any, **options: Any) -> Emulator:
    return Emulator(fixtures={"rules": list(rules)}, **{"immediate": True, **options})


def test_from_a_file_to_rows_read_back(rows: Ask) -> None:
    with serving(HELLO, {"call": "batch_row", "when": {"row": 2}, "reply": {"text": "4"}}) as e:
        sdk = client(e.target)
        dataset = uploaded(sdk, rows())
        task = sdk.models.completions(GEMMA).batch.run_deferred(dataset)
        result = wait(task)
        read = list(result.read())
        assert [row["request"] for row in read] == [[{"role": "user", "text": q}] for q in QUESTIONS]
        assert [row["response"] for row in read[:2]] == ["Здравствуйте!", "4"]
        assert "«Пока»" in read[2]["response"]

        info = task.get_task_info()
        assert info.status.name == "COMPLETED"
        assert (info.source_dataset_id, info.result_dataset_id) == (dataset.id, result.id)
        assert info.created_at <= info.finished_at
        assert (info.errors.line_errors, info.errors.batch_errors) == ((), ())
        assert result.name == f"Batch inference {task.id} result"
        assert result.task_type == "TextToTextGeneration"
        assert result.labels == {
            "foundation_models_batch_task_id": task.id,
            "foundation_models_source_dataset": dataset.id,
        }
        assert result.status.name == "READY"
        assert result.size_bytes > 0
        assert {d.id for d in sdk.datasets.list()} == {dataset.id, result.id}


async def test_the_same_asynchronously_on_a_running_clock(rows: Ask) -> None:
    async with serving(HELLO, immediate=False, speed=100) as e:
        sdk: AsyncAIStudio = async_client(e.target)
        draft = sdk.datasets.draft_from_path(rows(), task_type="TextToTextGenerationRequest", upload_format="jsonlines")
        dataset = await draft.upload(poll_interval=0.01)
        task = await sdk.models.completions(GEMMA).batch.run_deferred(dataset)
        result = await wait(task)
        assert [row["response"] async for row in result.read()][:1] == ["Здравствуйте!"]
        info = await task.get_task_info()
        assert info.created_at < info.started_at < info.finished_at
        assert [task.id async for task in sdk.batch.list_operations()] == [task.id]


def test_a_failed_row_is_told_and_stands_in_the_result_without_a_response(rows: Ask) -> None:
    bad = {"call": "batch_row", "when": {"row": 2}, "reply": {"error": {"code": "INTERNAL", "message": "node lost"}}}
    with serving(bad, HELLO) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(uploaded(sdk, rows()))
        result = wait(task)
        (error,) = task.get_task_info().errors.line_errors
        assert (error.line_number, error.message) == (2, "node lost")
        assert [row["response"] is None for row in result.read()] == [False, True, False]


def test_rows_touch_neither_counters_nor_the_journal(rows: Ask) -> None:
    with serving({"name": "hi", "times": 1, "reply": {"text": "раз"}}, {"reply": {"text": "потом"}}) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(uploaded(sdk, rows()))
        before = len(e.calls())
        read = [row["response"] for row in wait(task).read()]
        assert read == ["раз", "потом", "потом"] or read == ["потом"] * 3
        names = {call.method.rpartition("/")[2] for call in e.calls()[before:]}
        assert names <= {"Describe", "GetDownloadUrls"}


def test_what_changes_later_does_not_reach_a_batch_that_has_begun(rows: Ask) -> None:
    with serving(HELLO) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(uploaded(sdk, rows("привет")))
        e.rule(reply="поздно")
        assert [row["response"] for row in wait(task).read()] == ["Здравствуйте!"]


def test_the_source_may_be_deleted_before_anyone_reads_the_result(rows: Ask) -> None:
    with serving(HELLO) as e:
        sdk = client(e.target)
        dataset = uploaded(sdk, rows("привет"))
        task = sdk.models.completions(GEMMA).batch.run_deferred(dataset)
        dataset.delete()
        result = wait(task)
        assert [row["response"] for row in result.read()] == ["Здравствуйте!"]
        result.delete()
        assert list(sdk.datasets.list()) == []


def test_tasks_are_listed_oldest_first_by_page_and_by_status(rows: Ask) -> None:
    with serving(HELLO, immediate=False, frozen=True) as e:
        sdk = client(e.target)
        dataset = _ready(e, sdk, rows())
        tasks = [sdk.models.completions(GEMMA).batch.run_deferred(dataset) for _ in range(5)]
        tasks[1].cancel()
        ids = [task.id for task in tasks]
        assert [task.id for task in sdk.batch.list_operations(page_size=2)] == ids
        assert [info.task_id for info in sdk.batch.list_info(status="CANCELED")] == [ids[1]]
        e.clock.advance("1m")
        assert [info.status.name for info in sdk.batch.list_info()] == [
            "COMPLETED", "CANCELED", "COMPLETED", "COMPLETED", "COMPLETED",
        ]  # fmt: skip
        assert sdk.batch.get(ids[3]).id == ids[3]


def _ready(e: Emulator, sdk: AIStudio, file: Path) -> Any:
    """The dataset of that file on a clock that stands still."""
    draft = sdk.datasets.draft_from_path(file, task_type="TextToTextGenerationRequest", upload_format="jsonlines")
    operation = draft.upload_deferred()
    e.clock.advance("10m")
    return operation.wait(poll_interval=0.01)


def test_a_cancelled_task_has_nothing_but_its_end_and_can_be_deleted(rows: Ask) -> None:
    with serving(HELLO, immediate=False, frozen=True) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(_ready(e, sdk, rows()))
        e.clock.advance("2s")
        with pytest.raises(Exception, match="still under way; cancel it first"):
            task.delete()
        task.cancel()
        info = task.get_task_info()
        assert info.status.name == "CANCELED"
        assert info.started_at is None
        assert info.finished_at is not None
        task.delete()
        with pytest.raises(Exception, match=f"Batch inference task {task.id} not found"):
            task.get_status()
        assert list(sdk.batch.list_operations()) == []


def test_yandexgpt_does_not_run_in_batch(rows: Ask) -> None:
    with serving(immediate=False, frozen=True) as e:
        sdk = client(e.target)
        task = sdk.models.completions("yandexgpt").batch.run_deferred(_ready(e, sdk, rows()))
        assert task.get_status().name == "CREATED"
        e.clock.advance("3s")
        info = task.get_task_info()
        assert (info.status.name, info.result_dataset_id) == ("FAILED", None)
        assert info.started_at is None
        e.rule(call="completion_batch", when={"model": "yandexgpt"}, operation={"done_after": "1s"})
        other = sdk.models.completions("yandexgpt").batch.run_deferred(info.source_dataset_id)
        e.clock.advance("1s")
        assert other.get_status().name == "COMPLETED", "a rule has the last word"


def test_a_timeline_that_fails_is_told_by_both_faces(rows: Ask) -> None:
    fails = {
        "call": "completion_batch",
        "operation": {
            "timeline": [
                {"at": "1s", "status": "PENDING"},
                {"at": "2s", "status": "IN_PROGRESS", "total_batches": 10},
                {
                    "at": "9s",
                    "status": "FAILED",
                    "completed_batches": 5,
                    "error": {"code": "INTERNAL", "message": "node lost"},
                },
            ]
        },
    }
    with serving(fails, immediate=False, frozen=True) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(_ready(e, sdk, rows()))
        e.clock.advance("9s")
        info = task.get_task_info()
        assert info.status.name == "FAILED"
        assert info.started_at is not None
        (operation,) = [o for o in e.operations.list() if o.kind == "completion_batch"]
        assert (operation.status, operation.completed_batches) == ("FAILED", 5)


@pytest.mark.parametrize("poll", [1, 2, 3])
def test_a_look_at_the_task_counts_as_a_poll_of_its_operation(rows: Ask, poll: int) -> None:
    rule = {"call": "completion_batch", "operation": {"done_after_polls": poll}}
    with serving(rule, immediate=False, speed=1000) as e:
        sdk = client(e.target)
        task = sdk.models.completions(GEMMA).batch.run_deferred(uploaded(sdk, rows()))
        seen = [task.get_status().name for _ in range(poll)]
        assert seen[-1] == "COMPLETED"
        assert "COMPLETED" not in seen[:-1]


def test_a_dataset_that_is_not_there_is_refused_unless_a_rule_answers_the_batch(rows: Ask) -> None:
    with serving(HELLO) as e:
        batch = client(e.target).models.completions(GEMMA).batch
        with pytest.raises(Exception, match="fdsnowhere"):
            batch.run_deferred("fdsnowhere")
        e.rule(call="completion_batch", when={"dataset": "fdsnowhere"}, operation={"done_after_polls": 1})
        assert list(wait(batch.run_deferred("fdsnowhere")).read()) == []
