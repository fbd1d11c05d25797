"""Checking rows: every line, with its reason, in bounded memory."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.rows import check as module
from emulator.rows.check import check
from emulator.rows.names import TASK_TYPES
from emulator.rows.types import LABELLED, ROWS, schema

REQUESTS = "TextToTextGenerationRequest"
ROW = {"request": [{"role": "user", "text": "раз"}]}
LINE = json.dumps(ROW, ensure_ascii=False).encode()


def told(raw: bytes, task_type: str = REQUESTS) -> list[tuple[str, str, list[int]]]:
    return [(fault.error, fault.description, fault.rows) for fault in check(raw, task_type, None).faults]


@pytest.mark.parametrize("raw", [LINE, LINE + b"\n", LINE + b"\r\n", b"\xef\xbb\xbf" + LINE, LINE + b"\n\n \n"])
def test_line_ends_and_marks_of_editors_are_no_mistakes(raw: bytes) -> None:
    verdict = check(raw, REQUESTS, None)
    assert (verdict.sound, verdict.rows, verdict.valid) == (True, 1, 1)


@pytest.mark.parametrize("raw", [b"", b"\n\n"])
def test_a_dataset_without_rows_is_unsound(raw: bytes) -> None:
    assert told(raw) == [("EmptyDataset", "the file has no rows", [])]


@pytest.mark.parametrize(
    ("task_type", "line", "why"),
    [
        (REQUESTS, '{"request": []}', "request: the list is empty"),
        (REQUESTS, '{"request": [{"role": "user"}]}', "request[0]: Object missing required field text"),
        (REQUESTS, '{"request": [{"role": "user", "text": 1}]}', "request[0].text: Expected str, got int"),
        ("TextToTextGeneration", json.dumps(ROW), "Object missing required field response"),
        ("TextEmbeddingsPair", '{"anchor": "a", "positive": ""}', "positive: the text is empty"),
        ("TextClassificationMultilabel", '{"a": 1}', "text: it is missing, empty or no text"),
        ("TextClassificationMultilabel", '{"text": "x"}', "there are no labels beside the text"),
        ("TextClassificationMultilabel", '{"text": "x", "a": 2}', "a: a label is 1 where it fits and 0 where it"),
        ("TextClassificationMultilabel", '{"text": "x", "a": true}', "a: a label is 1 where it fits"),
        ("TextClassificationMulticlass", '{"text": "x", "a": 1, "b": 1}', "exactly one label is 1; 2 are"),
        ("TextToImageGeneration", "{}", "the object is empty"),
    ],
)
def test_what_is_wrong_is_said(task_type: str, line: str, why: str) -> None:
    ((error, description, rows),) = told(line.encode(), task_type)
    assert (error, rows) == ("InvalidRow", [1])
    assert description.startswith(why)


def test_labels_are_the_same_in_every_row() -> None:
    raw = b'{"text": "x", "a": 1}\n{"text": "y", "b": 1}\n'
    ((_, description, rows),) = told(raw, "TextClassificationMultilabel")
    assert rows == [2]
    assert description == "a: all rows have the same labels as the first, and this one differs"


def test_the_account_of_mistakes_is_bounded() -> None:
    kinds = b"".join(b'{"field%d": 1}\n' % i for i in range(150))
    faults = check(kinds + b"no\n" * 500, REQUESTS, None).faults
    assert len(faults) == module.MOST_FAULTS + 1
    assert faults[-1].error == "TooManyErrors"
    assert faults[-1].rows[:2] == [101, 102]
    assert all(len(fault.rows) <= module.MOST_ROWS_TOLD for fault in faults)


def test_what_is_said_of_a_huge_row_is_short() -> None:
    huge = "z" * 100_000
    raw = json.dumps({"request": [{"role": huge, "text": "a"}]}).encode()
    (fault,) = check(raw, REQUESTS, None).faults
    assert len(fault.description) < 310
    assert fault.description.startswith("request[0].role: 'zzz")
    assert fault.description.endswith("zzz' is no role; there are system, user, assistant")
    (fault,) = check(json.dumps({huge: 1}).encode(), REQUESTS, None).faults
    assert len(fault.description) < 310


def test_a_line_that_is_too_long_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_LINE", 100)
    raw = LINE + b"\n" + b"x" * 1000 + b"\n" + LINE
    assert [(error, rows) for error, _, rows in told(raw)] == [("TooLongRow", [2])]


@given(st.lists(st.one_of(st.binary(max_size=30), st.sampled_from([LINE, b"", b"null", b"{}", b"[" * 2000]))))
def test_any_bytes_get_a_verdict(rows: list[bytes]) -> None:
    for task_type in TASK_TYPES:
        verdict = check(b"\n".join(rows), task_type, None)
        assert verdict.valid <= verdict.rows
        assert verdict.sound == (0 < verdict.valid == verdict.rows)


def test_an_unsound_dataset_leaves_no_file(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    assert not check(LINE + b"\nno", REQUESTS, path).stored
    assert not path.exists()


def test_many_rows_become_several_groups_and_all_come_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.rows.parquet.ROWS_A_GROUP", 10)
    path = tmp_path / "rows.parquet"
    rows: list[Any] = [{"request": [{"role": "user", "text": str(i)}]} for i in range(25)]
    assert check("\n".join(map(json.dumps, rows)).encode(), REQUESTS, path).stored
    with pyarrow.parquet.ParquetFile(path) as file:
        assert file.metadata.num_row_groups == 3
        assert file.read().to_pylist() == rows


@pytest.mark.slow
def test_a_million_rows_take_bounded_memory(tmp_path: Path) -> None:
    source, path = tmp_path / "rows.jsonl", tmp_path / "rows.parquet"
    with source.open("wb") as file:
        for i in range(1000):
            line = json.dumps({"request": [{"role": "user", "text": f"{i} " + "слово " * 14}]}, ensure_ascii=False)
            file.write(f"{line}\n".encode() * 1000)
    program = (
        "from pathlib import Path\nfrom emulator.rows.check import check\n"
        f"print(check(Path({str(source)!r}), {REQUESTS!r}, Path({str(path)!r})).valid)\n"
        # Not getrusage, whose figure begins with that of the process that started this one.
        "print(Path('/proc/self/status').read_text().partition('VmHWM:')[2].split()[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    valid, most = map(int, done.stdout.split())
    assert valid == 1_000_000
    assert most < 500 * 1024, f"{most >> 10} MiB"


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_the_schema_that_is_told_is_the_one_that_checks(task_type: str) -> None:
    import jsonschema

    told_schema = json.loads(schema(task_type))
    samples: list[Any] = [
        ROW,
        {**ROW, "response": "два"},
        {"anchor": "a", "positive": "b"},
        {"anchor": "a", "positive": "b", "negative": "c"},
        {"text": "x", "a": 1},
        {"request": [{"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image", "image": "eA=="}]}]},
        {"text": ""},
        {},
    ]
    validator = jsonschema.Draft202012Validator(told_schema)
    for sample in samples:
        sound = check(json.dumps(sample).encode(), task_type, None).sound
        assert sound == validator.is_valid(sample), sample


def test_every_task_type_is_known_or_free() -> None:
    assert {*ROWS, *LABELLED} <= set(TASK_TYPES)
    assert all(re.fullmatch("[A-Za-z]{1,50}", name) for name in TASK_TYPES)
