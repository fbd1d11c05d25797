"""Answers that are kept: which ones, and for how long; `properties/test_recall.py` holds that nothing else differs."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.engine.choose import State, choose
from emulator.engine.lasting import Kept, Lasting, lasting_of
from emulator.replies.play import Play
from emulator.rules.subject import Subject
from emulator.seed import Seed

from .asked import asked, rules

SAYS = {"reply": {"text": "да"}}


def lasts(subject: Subject, *given: Any, **file: Any) -> bool:
    play, _ = choose(rules(*given, **file), State(), subject, Seed(0))
    return play.lasting is not None


@pytest.mark.parametrize(
    "rule",
    [
        {"when": {"question": {"contains": "привет"}}, **SAYS},
        {"when": {"model": "yandexgpt", "folder": "b1gtest"}, **SAYS},
        {"when": {"question": {"word": "привет"}}, "then": {"state": {"ход": "начат"}}, **SAYS},
        {"reply": {"text": "{{ question }}, {{ turn }}"}},
        {"reply": {"tool_calls": [{"get_weather": {"city": "Москва"}}]}},
        {"reply": {"json": {"a": 1}, "headers": {"x-a": "{{ model }}"}}},
        {"expect": 2, **SAYS},
    ],
)
def test_what_only_the_request_decides_lasts(rule: dict[str, Any]) -> None:
    assert lasts(asked("Привет!"), rule)


@pytest.mark.parametrize(
    "rule",
    [
        {"when": {"metadata": {"x-a": {"present": False}}}, **SAYS},
        {"when": {"state": {"ход": {"present": False}}}, **SAYS},
        {"when": {"attempt": 1}, **SAYS},
        {"times": 2, **SAYS},
        {"replies": [{"text": "а"}, {"text": "б"}]},
        {"chaos": {"share": 0.5, "error": "UNAVAILABLE"}, **SAYS},
        {"reply": {"text": "{{ call }}"}},
        {"reply": {"text": "{{ state }}"}},
        {"reply": {"text": "{{ metadata['x-a'] }}"}},
        {"reply": {"text": "да", "delay": {"min": "0s", "max": "1ms"}}},
        {"reply": {"error": "UNAVAILABLE"}},
    ],
)
def test_what_may_be_otherwise_next_time_does_not(rule: dict[str, Any]) -> None:
    assert not lasts(asked("Привет!"), rule)


@pytest.mark.parametrize("first", [{"when": {"metadata": {"x-a": "б"}}}, {"times": 1}, {"when": {"attempt": 2}}])
def test_a_rule_that_was_asked_before_counts_as_well(first: dict[str, Any]) -> None:
    before = {**first, "when": {"question": "Привет!", **first.get("when", {})}, **SAYS}
    assert not lasts(asked("Привет!"), before, {"when": {"question": "Привет!"}, **SAYS})
    assert lasts(asked("Пока!"), before, {"when": {"question": "Пока!"}, **SAYS})


@pytest.mark.parametrize("condition", [{"metadata": {"x-a": "б"}}, {"state": {"ход": "а"}}, {"attempt": 2}])
def test_of_many_rules_only_those_before_count(condition: dict[str, Any]) -> None:
    plain = [{"when": {"question": f"вопрос {n}"}, **SAYS} for n in range(40)]
    beyond = {"when": condition, **SAYS}
    assert lasts(asked("вопрос 7"), *plain, beyond)
    assert not lasts(asked("вопрос 7"), beyond, *plain)
    assert not lasts(asked("вопрос 7"), *plain[:7], beyond, *plain[7:])
    assert lasts(asked("вопрос 6"), *plain[:7], beyond, *plain[7:])
    assert not lasts(asked("иное"), *plain, beyond)
    assert lasts(asked("вопрос 7"), {"when": {"question": "иное", **condition}, **SAYS}, *plain)


def test_the_default_reply_lasts_unless_it_is_drawn() -> None:
    assert lasts(asked("Привет!"))
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    with_schema = asked("Привет!")
    with_schema.request.json_schema.schema.update(schema)
    assert not lasts(with_schema)


def answer(request: bytes, size: int = 1) -> Lasting:
    lasting = lasting_of("completion", Play("r", lasting=object()), request, (bytes(size),), False)
    assert lasting is not None
    return lasting


def test_only_so_much_is_kept_and_the_oldest_goes_first() -> None:
    kept, book, other = Kept(most=3), rules(SAYS), rules()
    for n in range(2):
        kept.keep(kept.of(book), "/m", answer(b"%d" % n))
        kept.keep(kept.of(other), "/m", answer(b"%d" % n))
    assert list(kept.of(book)) == [("/m", b"1")]
    assert list(kept.of(other)) == [("/m", b"0"), ("/m", b"1")]
    kept.keep(kept.of(other), "/m", answer(b"1"))
    assert len(kept) == 3


def test_what_is_large_is_not_kept_and_bytes_are_counted() -> None:
    kept, book = Kept(most_bytes=100_000), rules(SAYS)
    for n, size in enumerate((200_000, 30_000, 30_000, 30_000, 30_000)):
        kept.keep(kept.of(book), "/m", answer(b"%d" % n, size))
    assert list(kept.of(book)) == [("/m", b"2"), ("/m", b"3"), ("/m", b"4")]


def test_the_answers_of_rules_that_are_gone_are_found_by_nobody() -> None:
    kept = Kept()
    for _ in range(50):
        book = rules(SAYS)
        assert not kept.of(book)
        kept.keep(kept.of(book), "/m", answer(b""))
        del book
