"""What verification holds against what happened, and how it tells what is wrong."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest
from msgspec import Struct

from emulator.calls import METHODS_BY_CALL
from emulator.engine.book import Book, load
from emulator.engine.choose import State, apply, choose
from emulator.engine.explain import short
from emulator.engine.verify import CHECKS, MOST_DETAILS, Problem, Report, Tally, unmet, verify, wanted
from emulator.errors import UsageError
from emulator.journal import Entry, Journal
from emulator.replies.timeline import Moment
from emulator.rules.model import Expect
from emulator.rules.subject import Subject
from emulator.seed import Seed

from .asked import asked, drawn, rules

HELLO = {"question": {"contains": "привет"}}
GREETING = {"name": "greeting", "when": HELLO, "reply": {"text": "Привет!"}}


class Operation(Struct):
    """An operation, as far as verification looks at it."""

    id: str
    call: str = "completion_async"
    rule: str = "greeting"
    fetched: bool = False
    ended: Moment | None = None


class Run:
    """Calls one after another, each journalled and counted."""

    def __init__(self, book: Book, limit: int = 1000, strict: bool = False) -> None:
        self.book, self.state, self.strict = book, State(), strict
        self.tally, self.journal = Tally(), Journal(limit)
        self.operations: list[Operation] = []
        self.n = 0

    def begin(self, subject: Subject) -> Entry:
        self.n += 1
        entry = Entry(f"c{self.n}", METHODS_BY_CALL[subject.call], subject.call, subject.raw, (), "peer", 0)
        self.journal.add(entry)
        play, delta = choose(self.book, self.state, subject, Seed(0))
        entry.unmatched, entry.spent = play.unmatched, play.spent
        if play.unmatched and self.strict:
            entry.story, entry.message = "…", short(self.book, self.state, subject, entry.id)
            return entry
        apply(self.state, delta)
        entry.rule, entry.play = play.rule, play
        return entry

    def end(self, entry: Entry, code: str = "OK", whole: bool = True) -> None:
        entry.code, entry.whole = code, whole
        self.tally.closed(entry)
        self.journal.close(entry)

    def ask(self, *questions: str) -> Run:
        for question in questions:
            self.end(self.begin(asked(question)))
        return self

    def verify(self, *checks: str) -> Report:
        operations: Any = self.operations
        return verify(self.book, self.state, self.tally, operations, self.journal, checks)

    def problems(self, *checks: str) -> list[str]:
        return [problem.text for problem in self.verify(*checks).problems]


# -- expect


@pytest.mark.parametrize(
    ("expect", "words"),
    [
        (Expect(at_least=1), "at least 1"),
        (Expect(exactly=2), "exactly 2"),
        (Expect(at_least=1, at_most=3), "1 to 3"),
        (Expect(at_most=3), "at most 3"),
        (Expect(at_least=2, at_most=2), "exactly 2"),
        (Expect(exactly=0), "exactly 0"),
    ],
)
def test_an_expectation_is_told_in_words(expect: Expect, words: str) -> None:
    assert wanted(expect) == words


@pytest.mark.parametrize(
    ("expect", "met"), [(0, False), (1, False), (2, True), ({"at_least": 3}, False), ({"at_most": 2}, True)]
)
def test_a_rule_must_be_chosen_as_often_as_it_expects(expect: Any, met: bool) -> None:
    run = Run(rules({**GREETING, "expect": expect})).ask("Привет", "привет!", "пока")
    report = run.verify("expect")
    assert bool(report.problems) is not met
    assert bool(report.held) is met
    assert [p.subject for p in unmet(run.book, run.state)] == [p.subject for p in report.problems]
    assert all("greeting (fixtures[1] rules[0]): chosen 2 times" in text for text in run.problems("expect"))


def test_of_a_rule_that_was_never_chosen_the_nearest_call_is_shown() -> None:
    near = {**GREETING, "when": {**HELLO, "folder": "b1gtest"}, "expect": {"at_least": 1}}
    run = Run(rules(near)).ask("Здравствуйте", "Прювет!")
    run.end(run.begin(drawn("привет")))
    run.end(run.begin(asked("Пока", model="gpt://b1gother/yandexgpt/latest")))
    (told,) = run.problems("expect")
    first, second = told.splitlines()
    assert first == "greeting (fixtures[1] rules[0]): chosen 0 times, expected at least 1"
    assert second.startswith('the nearest call, c2 completion "Прювет!", differs: question: ')
    assert "привет" in second


def test_where_another_rule_took_the_call_that_is_what_is_told() -> None:
    run = Run(rules({"name": "all", "reply": {"text": "да"}}, {**GREETING, "expect": {"at_least": 1}})).ask("привет")
    (told,) = run.problems("expect")
    assert told.endswith('the nearest call, c1 completion "привет", meets the conditions, but all answered it')


def test_where_no_such_call_came_that_is_what_is_told() -> None:
    run = Run(rules({**GREETING, "call": "completion", "expect": 1}))
    run.end(run.begin(drawn("привет")))
    (told,) = run.problems("expect")
    assert told.endswith("expected exactly 1\nno completion came")


# -- times and unmatched


def test_a_call_that_came_when_times_were_used_up_is_told_with_the_rule() -> None:
    run = Run(rules({**GREETING, "times": 1})).ask("привет")
    assert run.verify("times").held == ("times: no call came to a rule whose times were used up",)
    run.ask("привет ещё")
    (problem,) = run.verify("times").problems
    assert problem.subject == "c2"
    assert problem.text == (
        'c2 completion "привет ещё": greeting (fixtures[1] rules[0]) has answered all its times, '
        "and no other rule answers"
    )


def test_times_are_no_problem_where_another_rule_goes_on() -> None:
    run = Run(rules({**GREETING, "times": 1}, {"reply": {"text": "ещё"}})).ask("привет", "привет")
    assert run.problems("times", "unmatched") == []


def test_a_rule_that_would_not_have_answered_anyway_is_not_used_up() -> None:
    run = Run(rules({**GREETING, "times": 1})).ask("привет", "пока")
    assert run.problems("times") == []


@pytest.mark.parametrize("strict", [False, True])
def test_a_call_that_no_rule_answered_is_told_with_the_nearest_rules_difference(strict: bool) -> None:
    run = Run(rules(GREETING), strict=strict).ask("Пока", "привет")
    (problem,) = run.verify("unmatched").problems
    assert problem.subject == "c1"
    assert 'c1 completion "Пока": no rule matches this completion; the nearest is greeting' in problem.text
    assert "привет" in problem.text
    assert "fm-emulator explain" not in problem.text


def test_eviction_from_the_journal_loses_nothing_of_the_verdict() -> None:
    run = Run(rules(GREETING), limit=1).ask("Пока", *["привет"] * 5)
    report = run.verify("unmatched")
    assert [problem.subject for problem in report.problems] == ["c1"]
    assert report.evicted == 5
    assert "5 calls were dropped from the journal" in report.text()


def test_beyond_a_hundred_details_calls_are_counted() -> None:
    run = Run(rules(GREETING)).ask(*["Пока"] * (MOST_DETAILS + 7))
    told = run.problems("unmatched")
    assert len(told) == MOST_DETAILS + 1
    assert told[-1] == "and 7 more calls that no rule matched"


def test_a_tally_that_was_cleared_begins_again() -> None:
    run = Run(rules({**GREETING, "times": 1})).ask("привет", "привет")
    run.tally.clear()
    assert run.problems("times", "unmatched", "unread") == []


# -- streams


def test_a_stream_that_its_client_left_is_told_of() -> None:
    run = Run(load(()))
    left = run.begin(asked("длинная история", stream=True))
    left.sent_at.extend([1, 2])
    run.end(left, "CANCELLED", whole=False)
    assert run.problems("unread") == [
        'c1 completion "длинная история": the client left after 2 messages, before the end'
    ]


def test_a_stream_that_is_still_open_is_told_of() -> None:
    run = Run(load(()))
    run.begin(asked("длинная история", stream=True))
    assert run.problems("unread") == ['c1 completion "длинная история": still open, 0 messages sent so far']


def test_streams_that_ended_and_calls_that_are_no_streams_are_read() -> None:
    run = Run(load(()))
    run.end(run.begin(asked("a", stream=True)))
    run.end(run.begin(asked("b", stream=True)), "CANCELLED")
    run.end(run.begin(asked("c")), "CANCELLED", whole=False)
    assert run.verify("unread").held == ("unread: every stream was read to its end",)


# -- operations


def test_an_operation_whose_end_no_get_has_told_is_told_with_its_call() -> None:
    run = Run(rules(GREETING))
    call = run.begin(asked("привет", call="completion_async"))
    call.operation_id = "d7q1"
    run.end(call)
    run.operations = [
        Operation("d7q1"),
        Operation("d7q2", fetched=True),
        Operation("d7q3", ended=Moment("CANCELED", True)),
        Operation("d7q4", ended=Moment("COMPLETED", True)),
    ]
    assert run.problems("unfetched") == [
        'd7q1, begun by c1 completion_async "привет" (rule: greeting): no Get has told its end',
        "d7q4, begun by completion_async (rule: greeting): no Get has told its end",
    ]


# -- the report


def test_only_what_is_asked_is_checked_in_a_steady_order() -> None:
    run = Run(rules({**GREETING, "expect": 0})).ask("Пока")
    assert run.verify().problems == ()
    assert [line.partition(":")[0] for line in run.verify(*reversed(CHECKS)).held][1:] == [
        "times",
        "unread",
        "unfetched",
    ]


def test_an_unknown_check_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(UsageError, match="checks: no such check: all; there are expect, times, "):
        Run(load(())).verify("all")


REPORT = Report(
    (
        Problem("expect", "greeting (a.yaml:3)", "chosen 0 times\nthe nearest < call\x00\ud800"),
        Problem("times", "", "x"),
    ),
    ("unread: every stream was read to its end",),
)


def test_the_text_lists_every_problem_and_what_was_held() -> None:
    assert REPORT.text().splitlines() == [
        "2 problems",
        "✗ expect: chosen 0 times",
        "    the nearest < call\x00\ud800",
        "✗ times: x",
        "✓ unread: every stream was read to its end",
    ]
    assert Report().text() == "everything is as expected"


def test_junit_has_a_case_for_each_and_is_sound_whatever_was_asked() -> None:
    suite = ElementTree.fromstring(REPORT.junit().encode())
    assert (suite.get("tests"), suite.get("failures")) == ("3", "2")
    cases = list(suite.iter("testcase"))
    assert [case.get("classname") for case in cases] == ["verify.expect", "verify.times", "verify.unread"]
    failure = cases[0].find("failure")
    assert failure is not None
    assert failure.text == "chosen 0 times\nthe nearest < call\ufffd\ufffd"
    assert cases[2].find("failure") is None


def test_junit_says_what_the_journal_dropped() -> None:
    suite = ElementTree.fromstring(Report(evicted=1).junit())
    assert (suite.findtext("system-out") or "").startswith("1 call was dropped")
