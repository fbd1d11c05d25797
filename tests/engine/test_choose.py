"""Which rule answers, which reply of it is due, and what that changes."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import pytest

from emulator.engine.book import load
from emulator.engine.choose import State, apply, choose, differences
from emulator.rules.subject import Context, Subject
from emulator.seed import Seed

from .asked import Session, asked, batched, drawn, returned, rules, said

HELLO = {"question": {"contains": "привет"}}


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"reply": {"text": text}, **more}


# -- order


def test_the_first_rule_that_matches_answers_whatever_follows() -> None:
    book = rules(says("нет", when={"question": "пока"}), says("первое", when=HELLO), says("второе", when=HELLO))
    assert Session(book).ask("Привет!", "пока") == ["первое", "нет"]


@pytest.mark.parametrize("reply", [{"text": "Да."}, {"json": {"a": 1}}, {"text": "Да.", "model_version": "1"}])
@pytest.mark.parametrize("more", [{}, {"max_tokens": 1}, {"stream": True}])
def test_what_is_answered_at_once_is_what_is_played(reply: dict[str, Any], more: dict[str, Any]) -> None:
    (rule,) = rules({"reply": reply, "name": "one"}).rules
    (recipe,) = rule.recipes
    subject = asked("Что?", **more)
    played, at_once = recipe.play("one", subject, Context(subject, {}, 1), Seed(0)), recipe.at_once("one", subject)
    assert (at_once is None) == ("stream" in more)
    if at_once is not None:
        assert at_once.at_once
        assert played.at_once
        assert at_once.final() == played.final()
        assert (at_once.rule, at_once.notes) == (played.rule, played.notes)


@pytest.mark.parametrize(
    "more",
    [{"delay": "1s"}, {"headers": {"x-a": "b"}}, {"trailers": {"x-a": "{{ question }}"}}, {"text": "{{ question }}"}],
)
def test_what_is_drawn_rendered_or_sent_apart_is_not_at_once(more: dict[str, Any]) -> None:
    (rule,) = rules({"reply": {"text": "Да.", **more}}).rules
    assert rule.recipes[0].at_once("one", asked("Что?")) is None


def test_a_higher_priority_is_tried_first_and_equal_ones_in_their_order() -> None:
    book = rules(says("a"), says("b", priority=5), says("c", priority=5), says("d", priority=-1))
    assert [rule.recipes[0].reply.text for rule in book.rules] == ["b", "c", "a", "d"]
    assert Session(book).ask("?") == ["b"]


def test_rules_of_an_earlier_file_come_first_and_priority_holds_across_files() -> None:
    first, second = {"rules": [says("раз")]}, {"rules": [says("два")]}
    assert Session(load([first, second])).ask("?") == ["раз"]
    second["rules"][0]["priority"] = 1
    assert Session(load([first, second])).ask("?") == ["два"]


def test_a_rule_for_another_call_is_not_asked() -> None:
    book = rules(says("в фоне", call="completion_async"), says("сразу"))
    assert Session(book).ask("?") == ["сразу"]
    assert Session(book).answers(asked("?", call="completion_async")) == ["в фоне"]


# -- sequences

SEQUENCE = [{"text": "a", "repeat": 2}, {"text": "b"}]


@pytest.mark.parametrize(
    ("after_last", "expected"),
    [
        ("repeat", ["a", "a", "b", "b", "b"]),
        ("cycle", ["a", "a", "b", "a", "a"]),
        ("pass", ["a", "a", "b", "дальше", "дальше"]),
        ("error", ["a", "a", "b", "FAILED_PRECONDITION", "FAILED_PRECONDITION"]),
    ],
)
def test_a_sequence_is_given_in_order_and_ends_as_it_says(after_last: str, expected: list[str]) -> None:
    book = rules({"replies": SEQUENCE, "after_last": after_last}, says("дальше"))
    assert Session(book).ask(*"12345") == expected


def test_the_error_of_an_ended_sequence_names_the_rule() -> None:
    session = Session(rules({"name": "once", "replies": [{"text": "a"}], "after_last": "error"}))
    session.ask("1")
    failure = session.play(asked("2")).failure
    assert failure is not None
    assert "once" in failure.message


def key(value: str) -> dict[str, Any]:
    return {"metadata": {"idempotency-key": value}}


@pytest.mark.parametrize(
    ("per", "calls", "expected"),
    [
        ("session", [asked("x"), asked("y"), asked("x", model="gpt://b1gother/yandexgpt")], "abc"),
        (
            "folder",
            [asked("x"), asked("y"), asked("x", model="gpt://b1gother/yandexgpt"), asked("z")],
            "abac",
        ),
        ("question", [asked("x"), asked("y"), asked("x", max_tokens=7), asked("0", "и", "x")], "aabc"),
        ("request", [asked("x"), asked("x", max_tokens=7), asked("x"), asked("y")], "aaba"),
        (
            "idempotency-key",
            [asked("x", **key("1")), asked("x", **key("2")), asked("y", **key("1")), asked("x"), asked("y")],
            "aabab",
        ),
    ],
)
def test_a_sequence_counts_by_what_it_says(per: str, calls: Sequence[Subject], expected: str) -> None:
    book = rules({"replies": [{"text": letter} for letter in "abc"], "per": per})
    assert Session(book).answers(*calls) == list(expected)


def test_folder_may_come_from_the_header() -> None:
    book = rules({"replies": [{"text": "a"}, {"text": "b"}], "per": "folder"})
    calls = [asked("?", model="yandexgpt", metadata={"x-folder-id": folder}) for folder in ("b1g1", "b1g2", "b1g1")]
    assert Session(book).answers(*calls) == ["a", "a", "b"]


def test_pictures_and_batches_count_by_the_whole_request_where_there_is_no_question() -> None:
    book = rules({"call": ["generate_image", "completion_batch"], "per": "question", "replies": [{"error": "ABORTED"}]})
    session = Session(book)
    for subject in (drawn("кот"), drawn("пёс"), drawn("кот"), batched()):
        session.play(subject)
    assert sorted(session.state.given.values()) == [1, 1, 2]


def test_a_sequence_that_passes_does_not_count_what_others_answer() -> None:
    session = Session(rules({"name": "once", "replies": [{"text": "a"}], "after_last": "pass"}, says("b", name="b")))
    session.ask("1", "2", "3")
    assert session.state.chosen == {"once": 1, "b": 2}


# -- times, states


def test_a_rule_retires_after_so_many_times() -> None:
    assert Session(rules(says("дважды", times=2), says("потом"))).ask(*"1234") == ["дважды", "дважды", "потом", "потом"]


def test_times_ends_a_sequence_early() -> None:
    book = rules({"replies": SEQUENCE, "times": 2}, says("потом"))
    assert Session(book).ask("1", "2", "3") == ["a", "a", "потом"]


def test_states_move_when_a_rule_is_chosen_and_later_calls_see_them() -> None:
    book = rules(
        says("отправлен", when={"state": {"order": "paid"}}, then={"state": {"order": "shipped"}}),
        says("оплачен", when={"question": "плачу"}, then={"state": {"order": "paid"}}),
        says("{{ state.order }}", when={"state": {"order": {"present": True}}}),
        says("нет заказа"),
    )
    session = Session(book)
    assert session.ask("где?", "плачу", "где?", "где?") == ["нет заказа", "оплачен", "отправлен", "shipped"]
    assert session.state.scenario == {"order": "shipped"}


def test_states_of_other_names_stay_as_they_are() -> None:
    book = rules(
        says("a", when={"question": "a"}, then={"state": {"one": "1"}}),
        says("b", when={"question": "b"}, then={"state": {"two": "2"}}),
    )
    session = Session(book)
    session.ask("a", "b")
    assert session.state.scenario == {"one": "1", "two": "2"}


# -- tools

CALLS_WEATHER: dict[str, Any] = {"reply": {"tool_calls": [{"get_weather": {}}]}}


def test_tool_calls_are_passed_over_once_the_conversation_ends_in_results() -> None:
    session = Session(rules(CALLS_WEATHER, says("тепло")))
    assert session.answers(asked("погода?"), returned("погода?", get_weather="+20")) == ["get_weather", "тепло"]


def test_tool_calls_are_made_again_when_the_user_has_asked_again() -> None:
    again = returned("погода?", get_weather="+20")
    again.request.messages.add(role="user", text="а завтра?")
    assert Session(rules(CALLS_WEATHER, says("тепло"))).answers(again) == ["get_weather"]


@pytest.mark.parametrize(
    "when",
    [
        {"tool_results": {"get_weather": {"present": True}}},
        {"any": [{"tool_results": {"get_weather": {"present": True}}}, {"question": "нет"}]},
        {"not": {"tool_results": {"get_time": {"present": True}}}},
    ],
)
def test_a_rule_that_looks_at_results_may_call_another_tool(when: dict[str, Any]) -> None:
    book = rules({"when": when, "reply": {"tool_calls": ["get_time"]}}, says("тепло"))
    assert Session(book).answers(returned("погода?", get_weather="+20")) == ["get_time"]


def test_only_the_reply_that_is_due_decides_whether_a_sequence_is_passed_over() -> None:
    book = rules({"replies": [{"tool_calls": ["get_weather"]}, {"text": "тепло"}]}, says("дальше"))
    session = Session(book)
    results = returned("погода?", get_weather="+20")
    assert session.answers(results, asked("погода?"), results) == ["дальше", "get_weather", "тепло"]


# -- nothing matches


def test_the_fallback_answers_what_no_rule_does_and_says_that_none_did() -> None:
    session = Session(rules(says("да", when=HELLO), fallback={"text": "Не понял «{{ question }}» ({{ call }})."}))
    play = session.play(asked("эй"))
    assert (play.rule, play.unmatched) == ("fallback", True)
    assert said(play) == "Не понял «эй» (1)."
    assert session.ask("ау", "привет") == ["Не понял «ау» (2).", "да"]


def test_a_fallback_that_does_not_fit_the_call_leaves_it_to_the_defaults() -> None:
    session = Session(rules(fallback={"text": "Не понял."}))
    play = session.play(drawn())
    assert (play.rule, play.unmatched) == ("default", True)
    assert play.final().image.startswith(b"\xff\xd8")


@pytest.mark.parametrize(
    "subject", [asked("?"), asked("?", call="completion_async"), drawn(), batched()], ids=lambda s: s.call
)
def test_with_no_rules_every_call_gets_a_default_play(subject: Subject) -> None:
    play = Session(load(())).play(subject)
    assert (play.rule, play.unmatched, play.failure) == ("default", True, None)
    assert (play.timeline is None) == (subject.call == "completion")


def test_a_rule_that_answers_is_no_unmatched_call() -> None:
    assert not Session(rules(says("да"))).play(asked("?")).unmatched


# -- pure, then committed


def test_choosing_alone_changes_nothing_and_gives_the_same_again() -> None:
    book = rules({"name": "s", "replies": SEQUENCE, "then": {"state": {"x": "1"}}})
    state, seed = State(), Seed(3)
    before = copy.deepcopy(state)
    subject = asked("?")
    (one, delta), (two, same) = choose(book, state, subject, seed), choose(book, state, subject, seed)
    assert state == before
    assert delta == same
    assert one.final() == two.final()
    apply(state, delta)
    assert state == State({"s": 1}, {("s", "session"): 1}, {"x": "1"})


def test_what_happens_to_another_rule_does_not_change_what_this_one_draws() -> None:
    slow = {"name": "slow", "when": {"question": "x"}, "reply": {"text": "a", "delay": {"p50": "1s", "p95": "5s"}}}
    alone = Session(rules(slow))
    busy = Session(rules(says("b", when={"question": "y"}), slow))
    busy.ask("y", "y", "y")
    delays = [alone.play(asked("x")).delay for _ in range(5)]
    assert [busy.play(asked("x")).delay for _ in range(5)] == delays
    assert len(set(delays)) == 5
    assert [Session(rules(slow), seed=1).play(asked("x")).delay] != delays[:1]


def test_differences_are_empty_exactly_where_the_rule_would_answer() -> None:
    book = rules(says("a", when=HELLO, times=1), says("b"))
    state, (first, second) = State(), book.rules
    hello, other = asked("привет"), asked("пока")
    assert differences(first, state, hello) == ()
    (missing,) = differences(first, state, other)
    assert missing.path == "question"
    apply(state, choose(book, state, hello, Seed(0))[1])
    (retired,) = differences(first, state, hello)
    assert "answered 1 times already" in retired.text()
    assert differences(second, state, hello) == ()


# -- what is in the play


def test_the_number_of_the_call_is_the_rules_own() -> None:
    session = Session(rules(says("a{{ call }}", when={"question": "x"}), says("b{{ call }}")))
    assert session.ask("x", "y", "x", "y") == ["a1", "b1", "a2", "b2"]


def test_a_template_that_fails_ends_the_call_and_names_the_rule() -> None:
    book = rules(says("{{ question | int / 0 }}", name="sums"))
    failure = Session(book).play(asked("5")).failure
    assert failure is not None
    assert failure.code.name == "FAILED_PRECONDITION"
    assert "sums (fixtures[1] rules[0]): the reply can't be made" in failure.message


def test_a_stream_that_breaks_off_fails_the_operation_of_a_call_that_does_not_stream() -> None:
    reply = {"text": "раз два три", "stream": {"words": 1, "stop": {"after": 1, "error": "ABORTED"}}}
    timeline = Session(rules({"reply": reply})).play(asked("?", call="completion_async")).timeline
    assert timeline is not None
    moment = timeline.at(10**12, 0, {})
    assert moment.done
    assert moment.error is not None
    assert moment.error.code.name == "ABORTED"


def test_an_operations_error_is_worded_for_the_call_that_began_it() -> None:
    error = {"code": "INTERNAL", "message": "{{ question }} в {{ folder }}"}
    book = rules({"call": "completion_async", "operation": {"done_after": "1s", "error": error}})
    timeline = Session(book).play(asked("сбой", call="completion_async")).timeline
    assert timeline is not None
    ended = timeline.at(10**12, 0, {}).error
    assert ended is not None
    assert ended.message == "сбой в b1gtest"


def test_a_fallback_does_not_send_an_agent_back_to_its_tools() -> None:
    book = load([{"rules": [{"when": {"question": "x"}, "reply": {"text": "y"}}], "fallback": {"tool_calls": ["f"]}}])
    state = State()
    assert choose(book, state, asked("погода?"), Seed(0))[0].rule == "fallback"
    assert choose(book, state, returned("погода?", f="+20"), Seed(0))[0].rule == "default"


def test_a_rule_may_be_called_fallback_without_sharing_its_counter() -> None:
    rule = {"name": "fallback", "when": {"question": "a"}, "reply": {"text": "rule"}, "times": 1}
    book = load([{"rules": [rule], "fallback": {"text": "fall"}}])
    state = State()
    apply(state, choose(book, state, asked("b"), Seed(0))[1])
    assert not choose(book, state, asked("a"), Seed(0))[0].unmatched


@pytest.mark.parametrize(
    ("path", "condition"),
    [("enum", {"present": True}), ("enum.*", "да"), ("enum.1", {"present": False}), ("anyOf", {"present": True})],
)
def test_a_schema_may_hold_null_in_a_list(path: str, condition: Any) -> None:
    book = rules({"when": {"request": {f"json_schema.schema.{path}": condition}}, "reply": {"text": "да"}})
    subject = asked("?")
    subject.request.json_schema.schema.update({"enum": ["да", None], "anyOf": [[None], {"const": None}]})
    assert not choose(book, State(), subject, Seed(0))[0].unmatched
