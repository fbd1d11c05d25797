"""Which rules are said never to be reached: plain cases only, and never a wrong one."""

from __future__ import annotations

from typing import Any

import pytest

from emulator.engine.book import load
from emulator.engine.reach import MOST_RULES, unreachable, warnings

from .asked import rules

SAYS = {"reply": {"text": "a"}}
CALLS = {"reply": {"tool_calls": ["get_weather"]}}


def when(**conditions: Any) -> dict[str, Any]:
    return {"when": conditions, **SAYS}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (SAYS, SAYS),
        (SAYS, when(question="x")),
        (when(question={"contains": "привет"}), when(question={"contains": "приветик"})),
        (when(question={"contains": "привет"}), when(question="Привет, мир")),
        (when(question=["a", "b", "c"]), when(question=["a", "b"])),
        (when(turn={"at_least": 2}), when(turn=3)),
        (when(folder="b1g1"), when(folder="b1g1", question="x")),
        (when(tools=["a"]), when(tools=["a", "b"])),
        (when(metadata={"x-shard": "1"}), when(metadata={"x-shard": "1", "x-other": "2"})),
        ({"priority": 1, **SAYS}, {"when": {"question": "x"}, **SAYS}),
        ({"replies": [{"text": "a"}], "after_last": "cycle"}, SAYS),
        (SAYS, {"times": 1, **SAYS}),
        (SAYS, when(state={"x": "1"})),
        ({"when": {"tool_results": {"a": {"present": True}}}, **CALLS}, when(tool_results={"a": {"present": True}})),
        (SAYS, {"call": "completion_async", **SAYS}),
    ],
)
def test_a_rule_is_never_reached_where_an_earlier_one_takes_everything(
    first: dict[str, Any], second: dict[str, Any]
) -> None:
    (warning,) = unreachable(rules({"name": "first", **first}, {"name": "second", **second}))
    assert "never reached: first (fixtures[1] rules[0]) comes before and takes everything it would" in warning.text
    assert warning.text.startswith("second")


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (when(question="x"), SAYS),
        (when(question={"contains": "приветик"}), when(question={"contains": "привет"})),
        (when(question="x"), when(question="y")),
        (when(folder="b1g1", question="x"), when(folder="b1g1")),
        (when(metadata={"x-shard": "1"}), when(metadata={"x-shard": "2"})),
        (when(question="x"), {"priority": 1, **when(question="y")}),
        ({"times": 3, **SAYS}, SAYS),
        (when(state={"x": "1"}), when(state={"x": "1"})),
        ({"replies": [{"text": "a"}], "after_last": "pass"}, SAYS),
        (CALLS, SAYS),
        ({"replies": [{"text": "a"}, {"tool_calls": ["f"]}]}, SAYS),
        ({"call": "completion", **SAYS}, {"call": ["completion", "completion_async"], **SAYS}),
        ({"call": "completion_async", **SAYS}, {"call": "completion", **SAYS}),
        (when(**{"not": {"question": "x"}}), SAYS),
        (when(any=[{"question": "x"}]), when(question="x")),
    ],
)
def test_nothing_is_said_of_a_rule_that_may_be_reached(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert list(unreachable(rules(first, second))) == []


def test_the_nearest_taker_in_the_order_of_trying_is_named_and_each_rule_is_told_of_once() -> None:
    book = rules({"name": "a", **SAYS}, {"name": "b", **SAYS}, {"name": "c", **SAYS})
    assert [w.text.partition("reached: ")[2].split()[0] for w in unreachable(book)] == ["a", "a"]


def test_beyond_a_thousand_rules_nothing_is_said() -> None:
    few = [dict(SAYS) for _ in range(2)]
    assert list(unreachable(rules(*few)))
    assert not list(unreachable(rules(*few * (MOST_RULES // 2), SAYS)))


def test_warnings_are_those_of_loading_too_each_once_and_in_order(tmp_path: Any) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text("rules:\n- reply: {text: a}\n- when: {question: 'привет*'}\n  reply: {text: b}\n", "utf-8")
    told = warnings(load([file]))
    assert told == sorted(told)
    assert [(w.line, w.text.split(": ")[0]) for w in told] == [(3, "never reached"), (3, "when.question")]


def test_a_rule_that_names_rows_is_reached_by_them_wherever_it_stands() -> None:
    row = {"call": "batch_row", **SAYS}
    assert not list(unreachable(rules(SAYS, row)))
    assert list(unreachable(rules({"priority": 1, **SAYS}, row)))
    assert list(unreachable(rules(row, {"call": "batch_row", **when(row=1)})))
