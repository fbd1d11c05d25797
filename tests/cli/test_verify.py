"""`fm-emulator verify`: its list, its exit status, its JUnit XML."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import pytest
from wire.client import asking

from emulator import Emulator

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from .conftest import Run

RULES = {
    "rules": [
        {"name": "twice", "when": {"question": "Привет"}, "reply": {"text": "a"}, "expect": {"exactly": 2}},
        {"name": "once", "when": {"question": "раз"}, "reply": {"text": "b"}, "expect": {"at_least": 1}},
    ]
}


@pytest.fixture
def short(serve: Serve, connect: Connect) -> Emulator:
    """An emulator of whose two expectations one is met."""
    emulator = serve(RULES)
    client = connect(emulator)
    client.complete(asking("раз"))
    client.complete(asking("Приве\x0bт"))
    return emulator


def test_what_held_and_what_differs_are_listed_and_the_status_is_1(run: Run, short: Emulator) -> None:
    result = run("verify", "--target", short.target)
    assert result.exit_code == 1
    lines = result.output.splitlines()
    assert lines[0] == "1 problem"
    assert lines[1] == "✗ expect: twice (fixtures[1] rules[0]): chosen 0 times, expected exactly 2"
    assert lines[2].startswith("    the nearest call, c2 ")
    assert "✓ once (fixtures[1] rules[1]): chosen 1 time, expected at least 1" in lines


def test_the_status_is_0_once_everything_is_as_expected(run: Run, short: Emulator, connect: Connect) -> None:
    client = connect(short)
    for _ in range(2):
        client.complete(asking("Привет"))
    result = run("verify", "--target", short.target)
    assert (result.exit_code, result.output.splitlines()[0]) == (0, "everything is as expected")


def test_a_good_verdict_on_a_session_that_nobody_called_says_so(run: Run, serve: Serve, connect: Connect) -> None:
    emulator = serve()
    typo = run("verify", "--strict", "--target", emulator.target, "--session", "jbo-17")
    assert (typo.exit_code, typo.stderr) == (0, "note: no call is in the journal of the session jbo-17\n")
    first = run("verify", "--json", "--target", emulator.target)
    assert first.stderr == "note: no call is in the journal of the session that the emulator began with\n"
    assert json.loads(first.stdout)["problems"] == []
    connect(emulator).complete(asking("Привет"))
    assert run("verify", "--target", emulator.target).stderr == ""


def test_checks_are_chosen_by_name_or_all_at_once(run: Run, short: Emulator) -> None:
    chosen = run("verify", "--check", "unread", "--check", "times", "--target", short.target)
    assert chosen.exit_code == 0
    assert len(chosen.output.splitlines()) == 3
    every = run("verify", "--strict", "--target", short.target).output
    assert "✗ unmatched: c2 " in every
    assert "✓ unfetched: " in every
    assert run("verify", "--check", "unred", "--target", short.target).exit_code == 2


def test_json_is_the_answer_of_the_control_api(run: Run, short: Emulator) -> None:
    result = run("verify", "--json", "--target", short.target)
    told = json.loads(result.output)
    assert result.exit_code == 1
    assert [(problem["check"], problem["subject"].split()[0]) for problem in told["problems"]] == [("EXPECT", "twice")]
    assert len(told["held"]) == 2
    assert told["evicted"] == 0


def test_junit_is_written_to_a_file_beside_the_list(run: Run, short: Emulator, tmp_path: Path) -> None:
    file = tmp_path / "verify.xml"
    result = run("verify", "--strict", "--junit", file, "--target", short.target)
    assert result.exit_code == 1
    assert "✗ expect: twice" in result.output
    suite = ElementTree.parse(file).getroot()
    failures = suite.findall("testcase/failure")
    assert suite.get("failures") == str(len(failures)) == "2"
    assert len(suite.findall("testcase")) == int(suite.get("tests") or 0)


def test_junit_may_take_standard_output_and_the_list_is_on_the_other(run: Run, short: Emulator) -> None:
    result = run("verify", "--junit", "-", "--target", short.target)
    assert ElementTree.fromstring(result.stdout).tag == "testsuite"
    assert "✗ expect: twice" in result.stderr
    assert run("verify", "--junit", "-", "--json", "--target", short.target).exit_code == 2


def test_a_junit_file_that_can_not_be_written_is_told(run: Run, short: Emulator, tmp_path: Path) -> None:
    result = run("verify", "--junit", tmp_path, "--target", short.target)
    assert result.exit_code == 1
    assert result.output == f"fm-emulator: junit: {tmp_path} can't be written: Is a directory\n"
