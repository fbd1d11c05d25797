"""Which calls of the journal a question finds, and how the others differ."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.calls import METHODS_BY_CALL
from emulator.engine.query import compile_query, counted, subject_of
from emulator.errors import Code, UsageError
from emulator.journal import Entry
from emulator.rules.subject import Subject

from .asked import asked, batched, drawn

HELLO = {"question": {"contains": "привет"}}


def entry(subject: Subject, n: int = 1, **more: Any) -> Entry:
    """The journal's entry of that request."""
    metadata = tuple(subject.headers.items())
    more = {"code": "OK", "rule": "default", **more}
    return Entry(f"c{n}", METHODS_BY_CALL[subject.call], subject.call, subject.raw, metadata, "peer", 0, **more)


GET = Entry("c9", "/yandex.cloud.operation.OperationService/Get", "", b"", (), "peer", 0, code="NOT_FOUND")


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"kind": "completion"},
        {"method": METHODS_BY_CALL["completion"]},
        {"method": "TextGenerationService/Completion"},
        {"method": "Completion"},
        {"rule": "greeting"},
        {"code": "OK"},
        {"code": Code.OK},
        {"when": HELLO},
        {"when": "question: {contains: привет}"},
        {"when": "metadata: {x-folder-id: b1g}\nmodel: yandexgpt"},
        {"kind": "completion", "code": "OK", "when": {"turn": 1}, "rule": None, "unmatched": False},
    ],
)
def test_a_question_finds_the_calls_that_are_as_it_says(fields: dict[str, Any]) -> None:
    call = entry(asked("Привет!", metadata={"x-folder-id": "b1g"}), rule="greeting")
    query = compile_query(**fields)
    assert query.fits(call, {})
    assert query.differences(call, {}) == ()


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"kind": "generate_image"}, "kind"),
        ({"method": "OperationService/Get"}, "method"),
        ({"method": "ompletion"}, "method"),
        ({"rule": "greet"}, "rule"),
        ({"code": "NOT_FOUND"}, "code"),
        ({"unmatched": True}, "unmatched"),
        ({"when": HELLO}, "question"),
        ({"when": {"prompt": "кот"}}, "prompt"),
        ({"when": {"state": {"step": "two"}}}, "state.step"),
    ],
)
def test_of_another_call_it_tells_what_differs(fields: dict[str, Any], path: str) -> None:
    call = entry(asked("Пока"), rule="greeting")
    query = compile_query(**fields)
    assert not query.fits(call, {"step": "one"})
    assert [difference.path for difference in query.differences(call, {"step": "one"})] == [path]


def test_conditions_find_no_call_that_rules_are_not_asked_about() -> None:
    (difference,) = compile_query(when=HELLO).differences(GET, {})
    assert "a call that rules answer" in difference.text()


def test_a_request_that_can_not_be_read_is_no_subject() -> None:
    broken = Entry("c1", METHODS_BY_CALL["completion"], "", b"\xff\xff", (), "peer", 0)
    assert subject_of(broken, {}) is None
    assert subject_of(GET, {}) is None
    assert not compile_query(when=HELLO).fits(broken, {})


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"kind": "complation"}, r"kind: no such call: complation; there are completion, "),
        ({"code": "NOTFOUND"}, r"code: no such status: NOTFOUND; there are OK, "),
        ({"question": "?"}, r"question: no such question about calls; there are kind, "),
        ({"when": {"qestion": "?"}}, r"when: .*qestion.*question"),
        ({"when": {"question": {"contans": "?"}}}, r"when: question.*contans.*contains"),
        ({"when": {"question": {"matches": "("}}}, r"when: question"),
        ({"when": "question: [a"}, r"when: "),
        ({"when": "- question: a"}, r"when: "),
        ({"when": "# ничего"}, r"when: there are no conditions in it"),
        ({"when": {"question": "a", "qestion": "b", "trn": 1}}, r"when: .*qestion.*; .*trn"),
        ({"when": "question: a\ntrn: 1"}, r"when: line 2: trn"),
        ({"when": {"question": "{{ vars.x }}"}}, r"when: question: .*vars"),
        ({"when": {1j: 2}}, r"when: complex has no place"),
        ({"when": 5}, r"when: int is neither a mapping of conditions nor YAML text"),
        ({"when": {"prompt": "кот", "question": "?"}}, r"when: no call has everything"),
        ({"when": {"row": 1}}, r"when: no call has everything"),
        ({"kind": "generate_image", "when": HELLO}, r"when: generate_image does not have .* they fit completion, "),
    ],
)
def test_a_question_that_can_not_be_meant_is_refused_with_the_remedy(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        compile_query(**fields)


def test_an_assertions_text_tells_what_was_asked_how_many_fit_and_the_nearest() -> None:
    calls = [entry(asked("Привет!"), 1), entry(asked("Пока"), 2), entry(drawn("кот"), 3), entry(batched(), 4)]
    lines = counted(calls, compile_query(kind="completion", when=HELLO), 2).splitlines()
    assert lines[0] == 'expected exactly 2 of: kind completion, when {"question": {"contains": "привет"}}'
    assert lines[1] == "1 of 4 calls fits"
    assert lines[2] == '  ✓ c1 completion "Привет!"'
    assert lines[3] == '  ✗ c2 completion "Пока"'
    assert lines[4].startswith("      question: ")
    assert "привет" in lines[4]
    assert [line.split()[1] for line in lines if "✗" in line] == ["c2", "c4", "c3"]


def test_an_assertions_text_shows_no_more_than_three_of_each() -> None:
    text = counted([entry(asked(f"Привет {n}"), n) for n in range(9)], compile_query(when=HELLO), "at most 1")
    assert text.startswith("expected at most 1 of: ")
    assert text.count("✓") == 3
    assert text.endswith("… and 6 more")
    text = counted([entry(asked(f"Пока {n}"), n) for n in range(9)], compile_query(when=HELLO), 1)
    assert text.count("✗") == 3


def test_an_assertions_text_says_that_nothing_came() -> None:
    assert counted([], compile_query(), 1) == "expected exactly 1 of: any call\nno call came"
