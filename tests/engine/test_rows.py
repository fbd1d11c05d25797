"""The rows of a batch: answered by the rules in order, on a fork that touches nobody else's counters."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow.parquet as pq
import pytest

from emulator.api import BatchCompletionRequest
from emulator.engine.book import Book
from emulator.engine.choose import State
from emulator.engine.layers import Layer
from emulator.engine.results import MOST_ERRORS, Made, written, written_apart
from emulator.engine.rows import NO_RULE, Fork, answered
from emulator.seed import Seed

from .asked import Session, asked, rules

MODEL = "gpt://b1gtest/gemma-3-12b-it/latest"


def forked(book: Book, state: State | None = None, *, strict: bool = False, **request: Any) -> Fork:
    message = BatchCompletionRequest(model_uri=MODEL, source_dataset_id="fdsrows", **request)
    raw = message.SerializeToString()
    metadata = {"x-job": "17"}
    return Fork.of(
        [Layer("files", book)], state or State(), seed=Seed(0), strict=strict, request=raw, metadata=metadata
    )


def rows_of(*questions: str | dict[str, Any]) -> list[bytes]:
    rows = [q if isinstance(q, dict) else {"request": [{"role": "user", "text": q}]} for q in questions]
    return [json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows]


def file_of(*questions: str | dict[str, Any]) -> BinaryIO:
    return io.BytesIO(b"".join(rows_of(*questions)))


def responses(fork: Fork, *questions: Any) -> list[str | None]:
    return [row.response for row in answered(fork, rows_of(*questions))]


HELLO = {"when": {"question": {"contains": "привет"}}, "reply": {"text": "Здравствуйте!"}}


SECOND = {"call": "batch_row", "when": {"question": {"contains": "привет"}, "row": 2}, "reply": {"text": "Второй"}}


@pytest.mark.parametrize("order", [(SECOND, HELLO), (HELLO, SECOND)], ids=["before", "after"])
def test_a_row_is_answered_by_the_rules_of_completions_and_batch_row_comes_first(order: Any) -> None:
    assert responses(forked(rules(*order)), "Привет!", "Привет!") == ["Здравствуйте!", "Второй"]


def test_priority_and_layers_count_for_more_than_the_name_of_a_call() -> None:
    urgent = {**HELLO, "priority": 1}
    assert responses(forked(rules(urgent, SECOND)), "Привет!", "Привет!") == ["Здравствуйте!"] * 2
    over = [Layer("r1", rules(HELLO)), Layer("files", rules(SECOND))]
    fork = Fork.of(over, State(), seed=Seed(0), strict=False, request=forked(rules()).request, metadata={})
    assert responses(fork, "Привет!", "Привет!") == ["Здравствуйте!"] * 2


def test_a_row_knows_its_number_its_dataset_its_folder_and_the_metadata_of_the_call() -> None:
    rule = {
        "when": {"row": {"at_least": 2}, "dataset": "fdsrows", "folder": "b1gtest", "metadata": {"x-job": "17"}},
        "reply": {"text": "{{ row }} из {{ dataset }}: {{ question }}"},
    }
    assert responses(forked(rules(rule, {"reply": {"text": "-"}})), "а", "б") == ["-", "2 из fdsrows: б"]


def test_a_row_stands_for_a_request_with_the_options_and_the_format_of_the_batch() -> None:
    rule = {
        "when": {"options": {"temperature": 0.5}, "response_format": "json_object", "stream": False},
        "reply": {"text": "да"},
    }
    request = BatchCompletionRequest(json_object=True)
    request.completion_options.temperature.value = 0.5
    request.completion_options.stream = True
    fork = forked(rules(rule), completion_options=request.completion_options, json_object=True)
    assert responses(fork, "?") == ["да"]


def test_a_text_is_cut_at_the_batchs_max_tokens() -> None:
    request = BatchCompletionRequest()
    request.completion_options.max_tokens.value = 2
    fork = forked(rules({"reply": {"text": "раз два три четыре"}}), completion_options=request.completion_options)
    assert responses(fork, "?") == ["раз два"]


def test_rows_count_among_themselves_on_a_fork_of_the_counters() -> None:
    book = rules(
        {"name": "twice", "times": 2, "reply": {"text": "a"}},
        {"name": "turns", "replies": [{"text": "b"}, {"text": "c"}], "after_last": "cycle"},
    )
    session = Session(book)
    assert session.ask("?") == ["a"]
    fork = forked(book, session.state)
    assert responses(fork, "1", "2", "3", "4") == ["a", "b", "c", "b"]
    assert responses(fork, "1", "2", "3", "4") == ["a", "b", "c", "b"], "the same whenever it is worked out"
    assert session.ask("?", "?", "?") == ["a", "b", "c"], "nobody else's counters have moved"


def test_states_that_rows_set_hold_for_the_rows_after_them() -> None:
    book = rules(
        {"when": {"state": {"door": "open"}}, "reply": {"text": "внутри"}},
        {"when": {"question": "открой"}, "then": {"state": {"door": "open"}}, "reply": {"text": "открыто"}},
        {"reply": {"text": "снаружи"}},
    )
    state = State()
    assert responses(forked(book, state), "где я", "открой", "где я") == ["снаружи", "открыто", "внутри"]
    assert state.scenario == {}


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ({"error": {"code": "INVALID_ARGUMENT", "message": "bad row"}}, "bad row"),
        ({"text": "a b c", "stream": {"words": 1, "stop": {"after": 1, "error": "UNAVAILABLE"}}}, "unavailable"),
        ({"text": "{{ question[9:1] * 'x' }}"}, "the reply can't be made"),
    ],
)
def test_a_row_whose_reply_is_an_error_fails_alone(reply: dict[str, Any], error: str) -> None:
    first, second = answered(
        forked(rules({"when": {"row": 1}, "call": "batch_row", "reply": reply}, HELLO)), rows_of("?", "привет")
    )
    assert first.response is None
    assert error in first.error
    assert (second.number, second.response, second.error) == (2, "Здравствуйте!", "")


def test_a_row_that_no_rule_matches_gets_the_default_reply_and_under_strictness_fails() -> None:
    (loose,) = responses(forked(rules(HELLO)), "пока")
    assert "«пока»" in (loose or "")
    (strict,) = answered(forked(rules(HELLO), strict=True), rows_of("пока"))
    assert (strict.response, strict.error) == (None, NO_RULE)


def test_tool_calls_are_written_as_json_and_a_refusal_as_its_text() -> None:
    calls = {"when": {"row": 1}, "call": "batch_row", "reply": {"tool_calls": [{"look": {"at": "Луна"}}]}}
    first, second = responses(forked(rules(calls, {"reply": {"status": "CONTENT_FILTER"}})), "?", "?")
    assert json.loads(first or "") == {"toolCalls": [{"functionCall": {"name": "look", "arguments": {"at": "Луна"}}}]}
    assert (second or "").startswith("Я не могу")


def test_a_line_that_is_no_row_fails_alone() -> None:
    odd = b'{"request": [{"role": "user", "text": "\xff"}]}\n'
    rows = list(answered(forked(rules(HELLO)), [*rows_of("привет"), b"{\n", odd, *rows_of("привет")]))
    assert [row.number for row in rows] == [1, 2, 3, 4]
    assert [row.response for row in rows] == ["Здравствуйте!", None, None, "Здравствуйте!"]
    assert all("no row" in row.error for row in rows[1:3])


# -- written down


def test_results_are_parquet_in_the_recorded_columns(tmp_path: Path) -> None:
    out = tmp_path / "out.parquet"
    history = {"request": [{"role": "system", "text": "кратко"}, {"role": "user", "text": "привет"}]}
    bad = {"when": {"row": 2}, "call": "batch_row", "reply": {"error": "INTERNAL"}}
    made = written(forked(rules(bad, HELLO)), file_of(history, "?", "привет"), out)
    assert made == Made(3, 1, [(2, "Internal server error")])
    table = pq.read_table(out)
    assert str(table.schema.field("request").type) == "list<element: struct<role: string, text: string>>"
    assert str(table.schema.field("response").type) == "string"
    assert table.to_pylist() == [
        {**history, "response": "Здравствуйте!"},
        {"request": [{"role": "user", "text": "?"}], "response": None},
        {"request": [{"role": "user", "text": "привет"}], "response": "Здравствуйте!"},
    ]
    file = pq.ParquetFile(out)
    assert file.metadata.num_row_groups == 1
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"


def test_a_batch_of_no_rows_is_a_file_without_rows(tmp_path: Path) -> None:
    assert written(forked(rules()), file_of(), tmp_path / "out.parquet") == Made(0, 0, [])
    assert pq.read_table(tmp_path / "out.parquet").num_rows == 0


def test_failed_rows_are_all_counted_and_the_first_thousand_told() -> None:
    made = written(forked(rules({"reply": {"error": "INTERNAL"}})), file_of(*"?" * (MOST_ERRORS + 5)), None)
    assert (made.failed, len(made.errors), made.errors[-1][0]) == (MOST_ERRORS + 5, MOST_ERRORS, MOST_ERRORS)


def test_the_same_fork_gives_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    """Pickled, as it travels there: rules of several layers, a snippet of another's, a file, counters and states."""
    (tmp_path / "rules").mkdir()
    (tmp_path / "rules" / "text.md").write_text("Из файла: {{ question }}", encoding="utf-8")
    (tmp_path / "rules" / "a.yaml").write_text(
        "rules:\n  - when: {question: {word: [файл*]}}\n    reply: {text: {file: text.md}, template: true}\n"
        "  - times: 3\n    reply: {text: 'три раза'}\n",
        encoding="utf-8",
    )
    from emulator.engine.book import load

    book = load([tmp_path / "rules"])
    session = Session(book)
    session.play(asked("первый"))
    fork = Fork.of(
        [Layer("r1", rules(HELLO)), Layer("files", book)],
        session.state,
        seed=Seed(7).at("batch"),
        strict=False,
        request=BatchCompletionRequest(model_uri=MODEL).SerializeToString(),
        metadata={},
    )
    source = tmp_path / "rows.jsonl"
    source.write_bytes(b"".join(rows_of("привет", "есть файл?", "раз", "два", "три", "четыре")))
    here, there = tmp_path / "here", tmp_path / "there"
    assert written(fork, source.open("rb"), here) == written_apart(fork.packed(), source, there)
    assert here.read_bytes() == there.read_bytes()
    assert pq.read_table(here)["response"].to_pylist()[:4] == [
        "Здравствуйте!",
        "Из файла: есть файл?",
        "три раза",
        "три раза",
    ]
