"""`fm-emulator check`: everything that is wrong, at once, and where."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Run, Write

SOUND = {"rules": [{"reply": {"text": "a"}}]}


def test_what_is_right_is_counted(run: Run, write: Write) -> None:
    one = write(SOUND)
    result = run("check", one)
    assert (result.output, result.exit_code) == ("1 rule in 1 file: all well\n", 0)
    two = write({"rules": [{"when": {"question": "x"}, "reply": {"text": "b"}}] * 2}, "a/two.yaml")
    assert "3 rules in 2 files: all well" in run("check", two, one).output


def test_all_mistakes_come_at_once_a_line_each(run: Run, write: Write) -> None:
    first = write("rules:\n- reply: {txt: a}\n- reply: {text: a}\n- when: {turn: x}\n  reply: {error: NO}\n", "1.yaml")
    second = write("rules:\n- reply:\n    text: '{{ nobody }}'\n", "2.yml")
    result = run("check", second, first)
    lines = result.output.splitlines()
    assert result.exit_code == 1
    assert [line.partition(": ")[0] for line in lines[:-1]] == [f"{first}:2", f"{first}:4", f"{first}:5", f"{second}:3"]
    assert lines[0] == f"{first}:2: reply.txt: no such field; did you mean text?"
    assert lines[-1] == "4 mistakes; nothing was loaded"


def test_one_mistake_is_one(run: Run, write: Write) -> None:
    assert run("check", write("rules:\n- reply: {txt: a}\n")).output.endswith("\n1 mistake; nothing was loaded\n")


def test_warnings_are_told_and_are_no_mistakes(run: Run, write: Write) -> None:
    file = write("rules:\n- {name: all, reply: {text: a}}\n- when: {question: 'привет*'}\n  reply: {text: b}\n")
    result = run("check", file)
    assert result.exit_code == 0
    *warnings, last = result.output.splitlines()
    assert last == "2 rules in 1 file: all well"
    assert warnings[0] == (
        f"{file}:3: never reached: all ({file}:2) comes before and takes everything it would (warning)"
    )
    assert warnings[1].startswith(f"{file}:3: when.question: `*` stands for itself")
    assert warnings[1].endswith("(warning)")


def test_a_folder_is_checked_in_name_order_with_both_suffixes(run: Run, write: Write) -> None:
    for name in ("c/b.yaml", "b.yml", "a.yaml"):
        write("rules:\n- reply: {txt: a}\n", name)
    write("not: [yaml", "notes.txt")
    folder = write("rules: [", ".hidden.yaml").parent
    told = run("check", folder).output.splitlines()
    assert [line.partition(":")[0] for line in told[:-1]] == [
        str(folder / "a.yaml"),
        str(folder / "b.yml"),
        str(folder / "c/b.yaml"),
    ]


def test_a_folder_without_fixtures_is_told_of(run: Run, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("rules: []")
    result = run("check", tmp_path)
    assert (result.output, result.exit_code) == (f"fm-emulator: no *.yaml or *.yml file in {tmp_path}\n", 1)


def test_several_paths_are_checked_together(run: Run, write: Write) -> None:
    named = "rules:\n- {name: a, reply: {text: x}}\n"
    first, second = write(named, "1.yaml"), write(named, "2.yaml")
    assert run("check", first).exit_code == run("check", second).exit_code == 0
    both = run("check", first, second)
    assert both.exit_code == 1
    assert f"{second}:2: name: this name is taken" in both.output


def test_a_path_that_is_not_there_is_told(run: Run, tmp_path: Path) -> None:
    result = run("check", tmp_path / "no.yaml")
    assert (result.exit_code, result.output.splitlines()[0]) == (1, f"{tmp_path}/no.yaml: no such file or folder")


@pytest.mark.parametrize("text", ["rules: [", "- a", "a: b: c", "\tx", "rules:\n- &a [*a]", "\x00", "%YAML 3.0\n"])
def test_what_is_no_fixture_file_at_all_is_told_with_its_place(run: Run, write: Write, text: str) -> None:
    file = write(text)
    result = run("check", file)
    assert result.exit_code == 1
    assert result.output.startswith(f"{file}:")


def test_no_path_is_a_usage_error(run: Run) -> None:
    assert run("check").exit_code == 2


def test_a_mistyped_command_or_option_is_told_what_was_meant(run: Run) -> None:
    result = run("chek")
    assert result.exit_code == 2
    assert "Did you mean check?" in result.output
    assert "There are serve, exec, check, try, explain, calls, verify, " in run("zzz").output
    assert run("try", "--strct", "?").exit_code == 2


def test_every_command_has_help(run: Run) -> None:
    for name in ("serve", "check", "try", "explain", "init", "schema", "healthcheck"):
        result = run(name, "-h")
        assert result.exit_code == 0
        assert result.output.startswith("Usage: ")
        assert f"  {name} " in run("--help").output
