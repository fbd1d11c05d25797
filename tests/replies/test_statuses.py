"""Scripted statuses: names, wordings, details."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.api import ErrorInfo, QuotaFailure, RetryInfo
from emulator.errors import Code
from emulator.replies.statuses import ScriptedStatus, code_named, compile_status
from emulator.rules.decode import decode
from emulator.rules.inline import nodes_of
from emulator.rules.model import Error
from emulator.rules.problems import Problems

KNOWN = frozenset({"question"})


def compiled(spec: str | dict[str, Any], templates: bool = True) -> tuple[ScriptedStatus, list[tuple[Any, str]]]:
    """The status and what was reported."""
    problems = Problems("spec")
    error = spec if isinstance(spec, str) else decode(nodes_of(spec), Error, problems)
    assert not problems.mistakes
    told: list[tuple[Any, str]] = []
    return compile_status(error, KNOWN, templates, lambda path, text: told.append((path, text))), told


def sound(spec: str | dict[str, Any], templates: bool = True) -> ScriptedStatus:
    status, told = compiled(spec, templates)
    assert told == []
    return status


@pytest.mark.parametrize("code", [code for code in Code if code])
def test_a_code_alone_brings_a_message(code: Code) -> None:
    status = sound(code.name).status({})
    assert status.code is code
    assert status.message
    assert "{" not in status.message
    assert status.details == ()


def test_names_are_taken_in_any_case_and_in_both_spellings() -> None:
    assert [sound(name).code for name in ("CANCELED", "cancelled", "Unavailable")] == [
        Code.CANCELLED,
        Code.CANCELLED,
        Code.UNAVAILABLE,
    ]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("OK", "OK is no error"),
        ("RESOURCE_EXAUSTED", "did you mean RESOURCE_EXHAUSTED?"),
        ("zzz", "no such status code: ZZZ; there are CANCELLED, UNKNOWN"),
        ("8", "give the code by its name: RESOURCE_EXHAUSTED"),
        ("503", "give the code by its name: UNAVAILABLE"),
        ("418", "give the code by its name: UNAVAILABLE, RESOURCE_EXHAUSTED, ..."),
    ],
)
def test_a_code_that_is_none_is_told_with_what_was_meant(name: str, told: str) -> None:
    reported: list[str] = []
    assert code_named(name, reported.append) is Code.INTERNAL
    (text,) = reported
    assert told in text


def test_the_folder_of_the_call_is_in_the_services_own_wording() -> None:
    assert "folder b1gmine" in sound("PERMISSION_DENIED").status({}, folder="b1gmine").message
    assert "folder b1g" in sound("PERMISSION_DENIED").status({}).message


def test_a_refused_picture_has_a_wording_of_its_own() -> None:
    status = sound("INVALID_ARGUMENT")
    assert "image" in status.status({}, call="generate_image").message
    assert status.status({}, call="generate_image").message != status.status({}).message


def test_a_message_is_a_template_unless_templates_are_off() -> None:
    spec = {"code": "ABORTED", "message": "нет: {{ question }}"}
    assert sound(spec).status({"question": "кот"}).message == "нет: кот"
    assert sound(spec, templates=False).status({"question": "кот"}).message == "нет: {{ question }}"


def test_an_empty_message_is_sent_empty() -> None:
    assert sound({"code": "ABORTED", "message": ""}).status({}).message == ""


def test_settled_is_the_same_with_its_message_made_for_one_call() -> None:
    settled = sound({"code": "ABORTED", "message": "{{ question }}", "retry_after": "1s"}).settled({"question": "кот"})
    assert settled.message == "кот"
    assert settled.status({"question": "пёс"}).message == "кот"
    assert len(settled.details) == 1


@pytest.mark.parametrize(
    ("written", "seconds", "nanos"), [("2s", 2, 0), ("1500ms", 1, 500_000_000), ("1ns", 0, 1), ("1h", 3600, 0)]
)
def test_retry_after_is_a_retry_info(written: str, seconds: int, nanos: int) -> None:
    (detail,) = sound({"code": "UNAVAILABLE", "retry_after": written}).details
    assert detail == RetryInfo(retry_delay={"seconds": seconds, "nanos": nanos})


def test_details_go_by_the_names_of_google_rpc_after_retry_after() -> None:
    violations = [{"subject": "folder", "description": "много"}]
    details = {"QuotaFailure": {"violations": violations}, "google.rpc.ErrorInfo": {"reason": "R"}}
    got = sound({"code": "RESOURCE_EXHAUSTED", "retry_after": "1s", "details": details}).details
    assert [type(d) for d in got] == [RetryInfo, QuotaFailure, ErrorInfo]
    assert got[1] == QuotaFailure(violations=violations)


def test_a_list_of_details_may_name_a_type_twice() -> None:
    infos = [{"ErrorInfo": {"reason": "A"}}, {"ErrorInfo": {"reason": "B"}}]
    assert [d.reason for d in sound({"code": "ABORTED", "details": infos}).details] == ["A", "B"]


def test_a_retry_delay_among_details_takes_any_unit() -> None:
    (detail,) = sound({"code": "ABORTED", "details": {"RetryInfo": {"retry_delay": "250ms"}}}).details
    assert detail.retry_delay.nanos == 250_000_000


@pytest.mark.parametrize(
    ("spec", "path", "told"),
    [
        ("NO", (), "no such status code"),
        ({"code": "NO"}, ("code",), "no such status code"),
        ({"code": "ABORTED", "message": "{{ nobody }}"}, ("message",), "nobody"),
        ({"code": "ABORTED", "details": {"Nothing": {}}}, ("details",), "no such message: google.rpc.Nothing"),
        ({"code": "ABORTED", "details": {"ErrorInfo": {"reasn": "x"}}}, ("details",), "did you mean reason?"),
        ({"code": "ABORTED", "details": {"RetryInfo": {"retry_delay": "2"}}}, ("details",), "needs a unit"),
        ({"code": "ABORTED", "details": {"RetryInfo": {"retry_delay": 2}}}, ("details",), "needs a unit"),
    ],
)
def test_what_is_wrong_is_told_where_it_stands(spec: Any, path: tuple[str, ...], told: str) -> None:
    _, ((where, text),) = compiled(spec)
    assert where == path
    assert told in text
