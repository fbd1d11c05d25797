"""Why a call was answered as it was, and the rule that would have matched it."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from emulator.engine.book import load
from emulator.engine.choose import State, choose
from emulator.engine.explain import MOST_RULES, nearest, paste, short, story, verdicts
from emulator.rules.subject import Subject
from emulator.seed import Seed

from .asked import asked, batched, drawn, returned, rules

SAYS = {"reply": {"text": "a"}}
WHEN = {"question": {"contains": "погода"}, "folder": "b1gtest", "model": "yandexgpt"}
NEAR = {"name": "near", "when": WHEN, **SAYS}
FAR = {"name": "far", "when": {"question": "пока", "folder": "b1gother"}, **SAYS}


def test_every_rule_for_the_call_gets_a_verdict_in_the_order_of_trying() -> None:
    book = rules(FAR, NEAR, {"call": "generate_image", "reply": {"error": "ABORTED"}})
    found = verdicts(book, State(), asked("погода"))
    assert [verdict.rule.name for verdict in found] == ["far", "near"]
    assert [len(verdict.differences) for verdict in found] == [2, 0]
    assert [verdict.share for verdict in found] == [0, 1]


def test_the_nearest_is_the_one_most_of_whose_conditions_hold() -> None:
    book = rules(FAR, NEAR, {"name": "half", "when": {"question": "нет", "folder": "b1gtest"}, **SAYS})
    assert [verdict.rule.name for verdict in nearest(book, State(), asked("привет"))] == ["near", "half", "far"]


def test_the_short_form_names_the_nearest_rule_what_failed_and_the_call() -> None:
    told = short(rules(FAR, NEAR), State(), asked("привет"), "c7")
    assert "no rule matches this completion" in told
    assert "the nearest is near (fixtures[1] rules[1]): " in told
    assert "question" in told
    assert "погода" in told
    assert "`fm-emulator explain c7` tells all" in told


def test_the_short_form_says_where_there_is_no_rule_for_the_call() -> None:
    assert "there is no rule for it;" in short(load(()), State(), asked("?"), "c1")
    one, two = {"call": "generate_image", "reply": {"error": "ABORTED"}}, {"call": "completion_async", **SAYS}
    assert "the 1 rule there is for other calls" in short(rules(one), State(), asked("?"), "c1")
    assert "the 2 rules there are for other calls" in short(rules(one, two), State(), asked("?"), "c1")


def test_the_short_form_stays_short_whatever_was_asked() -> None:
    book = rules({"name": "long", "when": {"question": "ж" * 50_000, "system": "ф" * 50_000}, **SAYS})
    assert len(short(book, State(), asked("щ" * 50_000), "c1")) < 1000


def test_the_story_ticks_and_crosses_every_condition() -> None:
    lines = story(rules(FAR, NEAR), State(), asked("привет")).splitlines()
    assert lines[:2] == ['completion: question "привет", model yandexgpt', "no rule matches"]
    assert lines[2].startswith("✗ near")
    conditions = [line.split(":")[0] for line in lines if line.startswith("    ")]
    assert conditions == ["    ✗ question", "    ✓ model", "    ✓ folder", "    ✗ question", "    ✗ folder"]


def test_the_story_of_an_answered_call_tells_the_winner_and_those_before_it_alone() -> None:
    told = story(rules(FAR, NEAR, {"name": "later", "when": {"question": "y"}, **SAYS}), State(), asked("погода"))
    assert "✓ near (fixtures[1] rules[1]) answers" in told
    assert "✗ far" in told
    assert "later" not in told


def test_the_story_tells_why_a_rule_passes_though_its_conditions_hold() -> None:
    book = rules({"name": "once", "times": 1, **SAYS})
    told = story(book, State({"once": 1}), asked("?"))
    assert "✗ once" in told
    assert "    ✗ it has answered 1 times already (times)" in told


def test_the_story_stops_at_the_nearest_and_says_how_many_there_are_besides() -> None:
    book = rules(*({"name": f"r{i}", "when": {"question": str(i)}, **SAYS} for i in range(MOST_RULES + 3)))
    told = story(book, State(), asked("привет"))
    assert told.count("✗ r") == MOST_RULES
    assert "… and 3 more that are further off" in told


@pytest.mark.parametrize(
    ("subject", "line"),
    [
        (asked("раз\n  два"), 'completion: question "раз два", model yandexgpt'),
        (drawn("кот"), 'generate_image: prompt "кот"'),
        (batched("fds7"), 'completion_batch: dataset "fds7", model qwen2.5-7b-instruct'),
        (asked(), "completion: question (none), model yandexgpt"),
    ],
)
def test_the_story_begins_with_what_was_asked(subject: Subject, line: str) -> None:
    assert story(load(()), State(), subject).splitlines() == [line, f"there is no rule for {subject.call}"]


def matches_once_loaded(pasted: str, subject: Subject, tmp_path: Any) -> bool:
    file = tmp_path / "pasted.yaml"
    file.write_text(pasted, "utf-8")
    return not choose(load([file]), State(), subject, Seed(0))[0].unmatched


@pytest.mark.parametrize(
    "subject",
    [
        asked("Какая погода в Москве?"),
        asked("Какая погода?", call="completion_async"),
        asked("раз", "два", "три"),
        asked("да"),
        asked("12:30"),
        asked("{{ vars.name }} и {{ question }}"),
        asked("{{ vars.x }}" + "щ" * 1000),
        asked("*"),
        asked("# не комментарий: правда"),
        asked("две\nстроки\r\nи третья  "),
        asked("раз\x85два\u2028три\u2029четыре\x85"),
        asked(),
        returned("погода?", get_weather="+20", get_time="12:30"),
        drawn("рыжий кот"),
        batched("fds1"),
    ],
    ids=[
        "question",
        "async",
        "turn",
        "yes",
        "time",
        "template",
        "long",
        "star",
        "comment",
        "lines",
        "breaks",
        "nothing",
        "results",
        "picture",
        "batch",
    ],
)
def test_the_rule_to_paste_matches_the_request_it_was_made_of(subject: Subject, tmp_path: Any) -> None:
    assert matches_once_loaded(paste(subject), subject, tmp_path)


@given(st.text(min_size=1, max_size=60).filter(str.strip))
def test_the_rule_to_paste_matches_whatever_the_question(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    subject = asked(text)
    assert matches_once_loaded(paste(subject), subject, tmp_path_factory.getbasetemp())


def test_the_rule_to_paste_names_the_call_unless_it_is_a_completion() -> None:
    made = {s.call: yaml.safe_load(paste(s))["rules"][0].get("call") for s in (asked("?"), drawn(), batched())}
    assert made == {"completion": None, "generate_image": "generate_image", "completion_batch": "completion_batch"}
