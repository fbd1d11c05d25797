"""Datasets in fixture files: what they are, what is wrong with them, and which holds where there are layers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from wire.client import FOLDER
from wire.datasets import Datasets, lines

from emulator import FixtureError
from emulator.engine.book import load
from emulator.engine.layers import dumped, revived

if TYPE_CHECKING:
    from conftest import Connect, Serve

ROW = {"request": [{"role": "user", "text": "раз"}]}
Begin = Callable[..., Datasets]


@pytest.fixture
def begin(serve: Serve, connect: Connect) -> Begin:
    def begun(fixtures: Any) -> Datasets:
        emulator = serve(fixtures, frozen=True)
        return Datasets(emulator, connect(emulator))

    return begun


def mistakes(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "datasets.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(FixtureError) as failed:
        load([path])
    return [str(mistake).removeprefix(f"{tmp_path}/") for mistake in failed.value.mistakes]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{a: {}}", "datasets.yaml:1: datasets.a: say where the rows come from: file, or rows in place, and not both"),
        ("{a: {file: b, rows: []}}", "datasets.yaml:1: datasets.a: say where the rows come from"),
        ("{a: {file: none.jsonl}}", "datasets.yaml:1: datasets.a.file: none.jsonl: no such file beside"),
        ("{a: {rows: []}}", "datasets.yaml:1: datasets.a.rows: the file has no rows"),
        ("{a: {rows: [1], task_type: Poetry}}", "datasets.yaml:1: datasets.a.task_type: no such task type: Poetry;"),
        ("{a: {rows: [{request: 5}]}}", "datasets.yaml:1: datasets.a.rows[0]: request: Expected array, got int"),
        ("{a: {row: []}}", "datasets.yaml:1: datasets.a.row: no such field; did you mean rows?"),
        ("{" + "x" * 64 + ": {rows: []}}", "datasets.yaml:1: datasets.xxxxxxxx"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(tmp_path: Path, text: str, told: str) -> None:
    (found,) = mistakes(tmp_path, f"datasets: {text}")
    assert found.startswith(told)


def test_a_malformed_line_of_a_file_is_told_with_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines("раз") + b"nope\n" + lines("два") + b"[]\n")
    found = mistakes(tmp_path, "datasets: {a: {file: rows.jsonl}}")
    assert found == [
        "rows.jsonl:2: the line is not JSON: invalid character",
        "rows.jsonl:4: Expected object, got array",
    ]


def test_of_many_malformed_lines_the_first_are_told(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"nope\n" * 50)
    found = mistakes(tmp_path, "datasets: {a: {file: rows.jsonl}}")
    assert len(found) == 21
    assert "datasets.yaml:1: datasets.a: 30 rows or more have further mistakes" in found


def test_a_name_has_one_id_everywhere_and_an_id_is_itself(begin: Begin) -> None:
    fixtures = {"datasets": {"a": {"rows": [ROW]}, "fds00000000000000001": {"rows": [ROW]}}}
    told = []
    for _ in range(2):
        datasets = begin(fixtures)
        listed = datasets.ask("List", folder_id="anywhere").datasets
        told.append([(d.dataset_id, d.name, d.folder_id, d.rows) for d in listed])
    assert told[0] == told[1]
    assert told[0][1] == ("fds00000000000000001", "", "anywhere", 1)


def test_the_first_of_a_name_holds_in_layers_and_goes_with_its_layer(begin: Begin) -> None:
    datasets = begin({"datasets": {"a": {"rows": [ROW]}, "b": {"rows": [ROW]}}})

    def listed() -> list[tuple[str, int]]:
        return [(d.name, d.rows) for d in datasets.ask("List", folder_id=FOLDER).datasets]

    added = datasets.emulator.add({"datasets": {"a": {"rows": [ROW, ROW]}}})
    assert sorted(listed()) == [("a", 2), ("b", 1)]
    added.remove()
    assert sorted(listed()) == [("a", 1), ("b", 1)]


def test_deleted_or_changed_it_is_so_in_that_session_until_it_is_reset(serve: Serve, connect: Connect) -> None:
    emulator = serve({"datasets": {"a": {"rows": [ROW]}, "b": {"rows": [ROW]}}}, frozen=True)
    client = connect(emulator)
    here, there = (Datasets(emulator, client, [("x-emulator-session", name)]) for name in ("x", "y"))

    def names(datasets: Datasets) -> list[str]:
        return [d.name for d in datasets.ask("List", folder_id=FOLDER).datasets]

    a, b = (d.dataset_id for d in here.ask("List", folder_id=FOLDER).datasets)
    here.ask("Delete", dataset_id=a)
    here.ask("Update", dataset_id=b, update_mask={"paths": ["name"]}, name="c")
    assert (names(here), names(there)) == (["c"], ["a", "b"])
    assert here.refused("Describe", dataset_id=a).startswith("NOT_FOUND")
    session = emulator.session("x")
    snapshot = session.snapshot()
    session.reset("datasets")
    assert names(here) == ["a", "b"]
    session.restore(snapshot)
    assert names(here) == ["c"]
    assert here.info(b).rows == 1


def test_rules_that_travel_take_the_files_of_their_datasets_along(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(lines("раз"))
    (tmp_path / "datasets.yaml").write_text("datasets: {a: {file: rows.jsonl}}", "utf-8")
    book = load([tmp_path])
    again = revived(dumped(book))
    assert [(d.id, d.raw) for d in again.datasets.values()] == [(d.id, d.raw) for d in book.datasets.values()]


def test_what_looks_like_an_id_and_is_none_is_warned_of(tmp_path: Path) -> None:
    book = load([{"datasets": {"fds0000000000000000z": {"rows": [ROW]}}}])
    assert "this looks like an id and is none" in str(book.warnings[0])


def test_two_files_can_not_have_one_dataset(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("datasets: {a: {rows: [{request: [{role: user, text: x}]}]}}")
    (tmp_path / "b.yaml").write_text("datasets: {a: {rows: [{request: [{role: user, text: x}]}]}}")
    with pytest.raises(FixtureError, match=r"b\.yaml:1: datasets\.a: this name is taken: .*a\.yaml has it already"):
        load([tmp_path])
