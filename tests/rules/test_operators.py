"""Conditions on one value: what matches, what is said when it doesn't, what is refused at load."""

import subprocess
import sys
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.rules import patterns
from emulator.rules.implication import implies
from emulator.rules.model import Condition, Operators
from emulator.rules.operators import Difference, Kind, Matcher, Model, compile_condition
from emulator.rules.text import Text


def compiled(spec: Condition, kind: Kind = "text") -> Matcher:
    mistakes: list[Any] = []
    matcher = compile_condition(spec, kind, lambda path, text: mistakes.append((path, text)))
    assert mistakes == []
    assert matcher is not None
    return matcher


def mistakes(spec: Condition, kind: Kind = "text") -> dict[tuple[str | int, ...], str]:
    found: dict[tuple[str | int, ...], str] = {}
    assert compile_condition(spec, kind, found.__setitem__) is None
    assert found
    return found


def fits(spec: Condition, actual: Any, kind: Kind = "text") -> bool:
    matcher = compiled(spec, kind)
    actual = Text(actual) if isinstance(actual, str) else actual
    differences = matcher.check(actual)
    assert matcher.holds(actual) is (differences == ())
    return not differences


def told(spec: Condition, actual: Any, kind: Kind = "text") -> str:
    (difference,) = compiled(spec, kind).check(Text(actual) if isinstance(actual, str) else actual)
    difference.path = "question"
    return difference.text()


def op(**operators: Any) -> Operators:
    return Operators(**operators)


# -- texts


@pytest.mark.parametrize(
    ("spec", "actual"),
    [
        ("Привет", "Привет"),
        (["Привет", "Пока"], "Пока"),
        (op(equals=""), ""),
        (op(contains="ПРИВЕТ"), "ну привет!"),
        (op(contains=["нет", "ещё"]), "Еще\n  раз"),
        (op(word=["погод*"]), "О погоде"),
        (op(matches=r"\bпогод\w+$"), "о погоде"),
        (op(matches=["x", "^о"]), "о погоде"),
        (op(glob="о*"), "о погоде"),
        (op(one_of=["a", "b"]), "b"),
        (op(present=True), ""),
        (op(present=False), None),
        (op(not_="a"), None),
        (op(not_=op(contains="a")), "b"),
        (op(all=[op(contains="a"), op(contains="b")]), "ab"),
        (op(any=["x", op(word="b")]), "a b"),
        (op(contains="a", not_=op(contains="b")), "ac"),
    ],
)
def test_a_text_that_is_as_wanted_matches(spec: Condition, actual: str | None) -> None:
    assert fits(spec, actual)


@pytest.mark.parametrize(
    ("spec", "actual"),
    [
        ("Привет", "привет"),
        ("Привет", None),
        (["a", "b"], "c"),
        (op(contains="a"), None),
        (op(glob="При*"), "привет"),
        (op(matches="a"), None),
        (op(present=True), None),
        (op(present=False), ""),
        (op(not_="a"), "a"),
        (op(all=[op(contains="a"), op(contains="b")]), "a"),
        (op(contains="a", not_=op(contains="b")), "ab"),
        (op(any=["x", "y"]), None),
    ],
)
def test_a_text_that_is_not_as_wanted_does_not(spec: Condition, actual: str | None) -> None:
    assert not fits(spec, actual)


@given(st.text())
def test_equality_is_reflexive(text: str) -> None:
    assert fits(text, text)
    assert fits([text, "other"], text)


SPECS: list[Condition] = [
    "Привет, как дела?",
    op(contains=["погода", "cлово"]),
    op(word=["погод*", "новый год"]),
    op(glob="*а?б*"),
    op(matches=[r"^\w+$", "а.б"]),
    op(one_of=["a", "b*"]),
    op(any=[op(contains="a"), op(not_=op(word="b"))]),
    op(not_=op(present=True)),
]


@given(st.sampled_from(SPECS), st.text(max_size=60) | st.text("абпогдaceo -*ёЁ\n", max_size=30))
def test_no_text_makes_a_check_or_its_explanation_raise(spec: Condition, text: str) -> None:
    for difference in compiled(spec).check(Text(text)):
        assert "failed" in difference.text()
        assert isinstance(difference.hint(), str)


@given(
    st.sampled_from(["x", "12", op(at_least=2), op(contains="a"), op(matches="."), op(present=False), op(not_="1")]),
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5).map(Text),
)
def test_a_value_of_any_type_can_be_compared(spec: Condition, value: Any) -> None:
    matcher = compiled(spec, "value")
    for actual in (value, (value,), (), (value, None)):
        assert matcher.holds(actual) is (matcher.check(actual) == ())
        for difference in matcher.check(actual):
            assert difference.text()


def test_a_pattern_that_never_ends_is_given_up_and_said_so() -> None:
    began = time.monotonic()
    assert "took more than 0.1 s" in told(op(matches=r"(?:a|a)+(?:b|c)+(\w+\w+)+!$"), "ab" * 3000)
    assert time.monotonic() - began < 3


# -- what is said


@pytest.mark.parametrize(
    ("spec", "actual", "said"),
    [
        (
            "Привет",
            "Привет!",
            'question: equals "Привет" failed, it is "Привет!"; it contains it: use contains',
        ),
        ("Привет", "привет", "differs only in case: contains overlooks that"),
        ("Ещё", "Еще", "differs only in ё: contains overlooks that"),
        ("a b", "a  b", "differs only in white space: contains overlooks that"),
        ("й", "и\u0306", "how its letters are composed"),
        ("сор", "cop", 'the request has a Latin "c"'),
        ("погода", "пагода", "it is one letter away"),
        ("при*", "привет", "use glob"),
        (op(contains="погода"), "о погоде", 'it has "погоде": word "погод*" matches both'),
        (op(contains="превет"), "Привет!", 'it has "Привет", one letter away'),
        (op(contains="cлово"), "это слово", 'the rule has a Latin "c"'),
        (op(contains="да, нет"), "да нет", "other punctuation"),
        (op(word="погод"), "погода", 'write "погод*"'),
        (op(word="погода"), "непогода", "use contains"),
        (op(matches="^о погоде$"), "расскажи о погоде", "without ^ and $"),
        (op(matches="привет"), "Привет", "(?i)"),
        (op(matches="a.b"), "a\nb", "(?s)"),
        (op(glob="при*"), "о, привет", 'write "*при*"'),
        (op(glob="При*"), "привет", "case"),
        (op(any=[op(contains="a"), "Б"]), "б", 'any of (contains "a" | equals "Б")'),
        (op(not_=op(contains="б")), "Б", 'not (contains "б") failed, it is "Б"'),
        ("a", None, 'equals "a" failed, it is absent'),
    ],
)
def test_a_difference_says_what_would_have_matched(spec: Condition, actual: str | None, said: str) -> None:
    assert said in told(spec, actual)


def test_a_long_text_is_shown_around_the_interesting_place() -> None:
    text = told(op(contains="погода"), "слово " * 500 + "о погоде сегодня" + " слово" * 500)
    assert "о погоде сегодня" in text
    assert len(text) < 300


def test_a_long_wish_is_cut_too() -> None:
    assert len(told("ж" * 5000, "щ" * 5000)) < 300
    assert len(told([f"слово{i}" for i in range(1000)], "x")) < 400


def test_several_operators_each_say_what_differs() -> None:
    found = compiled(op(contains="a", word="b")).check(Text("c"))
    assert [difference.operator for difference in found] == ["contains", "word"]


def test_a_difference_can_be_stated_in_words() -> None:
    assert Difference("not", "not", "one of them to fail", "all hold").text() == (
        "not: expected one of them to fail, but all hold"
    )
    assert Difference("", "", "", "its replies are used up").text() == "its replies are used up"


# -- numbers, booleans


@pytest.mark.parametrize(
    ("spec", "actual"),
    [
        ("12", 12),
        ("+20", 20),
        ("0.5", 0.5),
        ("1e3", 1000),
        (["1", "2"], 2),
        (op(at_least=2, at_most=3), 2.5),
        (op(not_=op(at_most=3)), 4),
        (op(present=False), None),
    ],
)
def test_numbers_compare_by_value(spec: Condition, actual: float | None) -> None:
    assert fits(spec, actual, "number")
    assert fits(spec, actual, "value")


@pytest.mark.parametrize("spec", ["12", op(at_least=0), op(at_most=100), op(not_=op(present=False))])
def test_an_absent_number_is_neither_small_nor_large(spec: Condition) -> None:
    assert not fits(spec, None, "number")


def test_true_is_no_number_and_one_no_boolean() -> None:
    assert fits("true", True, "boolean")
    assert not fits("true", False, "boolean")
    assert fits("True", True, "value")
    assert not fits("1", True, "value")
    assert not fits("true", 1, "value")
    assert not fits(op(at_least=1), True, "value")


def test_a_number_is_told_from_a_text() -> None:
    assert fits("42", "42", "value")
    assert not fits("42.0", "42", "value")
    assert "compares texts" in told(op(contains="4"), 42, "value")
    assert "compares numbers" in told(op(at_least=4), "много", "value")


# -- several values


def test_one_of_several_texts_is_enough() -> None:
    texts = (Text("раз"), Text("два"))
    assert fits(op(contains="два"), texts, "texts")
    assert fits(op(contains="раз"), texts, "value")
    assert not fits(op(all=[op(contains="раз"), op(contains="два")]), texts, "texts")


def test_no_texts_at_all_are_an_absent_value() -> None:
    assert fits(op(present=False), (), "texts")
    assert not fits(op(contains="a"), (), "texts")
    assert "it is absent" in told(op(contains="a"), (), "texts")


def test_the_nearest_of_several_texts_is_shown() -> None:
    assert '"два"' in told(op(contains="раз", not_=op(contains="ъ")), (Text("ъ"), Text("два")), "texts")


# -- lists

TOOLS = ("get_weather", "get_time")


@pytest.mark.parametrize(
    "spec",
    [
        ["get_weather"],
        ["get_time", "get_weather"],
        "get_time",
        op(equals=["get_time", "get_weather"]),
        op(contains="GET_TIME"),
        op(contains=["nothing", "get_time"]),
        op(one_of=["nothing", "get_time"]),
        op(glob="*weather"),
        op(matches="^get_t"),
        op(word="weather"),
        op(at_least=2, at_most=2),
        op(present=True),
        op(not_=["get_weather", "delete"]),
    ],
)
def test_a_list_is_asked_for_its_members(spec: Condition) -> None:
    assert fits(spec, TOOLS, "list")


@pytest.mark.parametrize(
    "spec",
    [
        ["get_weather", "delete"],
        "get",
        op(equals=["get_time"]),
        op(equals=["get_time", "get_weather", "get_time"]),
        op(equals="get_time"),
        op(contains="get"),
        op(one_of=["delete"]),
        op(at_least=3),
        op(present=False),
    ],
)
def test_a_list_without_them_does_not_match(spec: Condition) -> None:
    assert not fits(spec, TOOLS, "list")


def test_members_may_be_numbers() -> None:
    assert fits(["1", "0.5"], (0.5, 1.0, 2.0), "list")
    assert not fits(op(equals=["1", "1"]), (1, 2), "list")


def test_an_empty_list_is_absent() -> None:
    assert fits(op(present=False), (), "list")
    assert fits(op(at_most=0), (), "list")
    assert not fits("a", None, "list")


def test_a_list_says_what_it_lacks_and_what_it_has_instead() -> None:
    assert 'it lacks "get_wether", but "get_weather"' in told(["get_wether"], TOOLS, "list")
    assert 'it also has ["get_weather"]' in told(op(equals=["get_time"]), TOOLS, "list")
    assert 'use glob "*weather*"' in told(op(contains="weather"), TOOLS, "list")


# -- models


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("gpt://b1g/yandexgpt/rc", ("b1g", "yandexgpt", "rc")),
        ("gpt://b1g/yandexgpt", ("b1g", "yandexgpt", "latest")),
        ("gpt://b1g/yandexgpt/", ("b1g", "yandexgpt", "latest")),
        ("gpt://b1g/base/v1@suffix", ("b1g", "base", "v1@suffix")),
        ("ds://b1g/bt1abc", ("b1g", "bt1abc", "latest")),
        ("yandexgpt/rc", ("", "yandexgpt", "rc")),
        ("gpt://", ("", "", "latest")),
        ("", ("", "", "latest")),
    ],
)
def test_a_uri_has_folder_name_and_branch(uri: str, parts: tuple[str, str, str]) -> None:
    model = Model.parse(uri)
    assert (model.folder, model.name, model.branch) == parts
    assert model.uri == uri


@given(st.text())
def test_any_text_can_be_parsed_as_a_model_uri(uri: str) -> None:
    model = Model.parse(uri)
    assert not fits("yandexgpt/none", model, "model")
    assert model.label.raw


@pytest.mark.parametrize(
    ("spec", "uris"),
    [
        ("yandexgpt", "12"),
        ("yandexgpt/latest", "12"),
        ("yandexgpt/rc", "3"),
        ("yandexgpt/*", "123"),
        ("yandexgpt*", "124"),
        ("yandexgpt*/*", "1234"),
        ("*", "124"),
        ("gpt://b1g/yandexgpt", "12"),
        ("gpt://b1g/yandexgpt/latest", "12"),
        ("gpt://*/yandexgpt/*", "123"),
        ("*://b1g/*/*", "12345"),
        ("base/v1@*", "5"),
        (["yandexgpt/rc", "base/*"], "35"),
        (op(equals="yandexgpt"), "12"),
        (op(equals="yandexgpt*"), ""),
        (op(glob="yandexgpt*"), "124"),
        (op(one_of=["yandexgpt", "yandexgpt-lite"]), "124"),
        (op(contains="LITE"), "4"),
        (op(contains="gpt://B1G"), "12345"),
        (op(matches="/rc$"), "3"),
        (op(not_="yandexgpt"), "345"),
        (op(present=True), "12345"),
    ],
)
def test_a_model_is_named_by_name_branch_or_uri(spec: Condition, uris: str) -> None:
    models = {
        "1": "gpt://b1g/yandexgpt",
        "2": "gpt://b1g/yandexgpt/latest",
        "3": "gpt://b1g/yandexgpt/rc",
        "4": "gpt://b1g/yandexgpt-lite",
        "5": "gpt://b1g/base/v1@suffix",
    }
    assert "".join(key for key, uri in models.items() if fits(spec, Model.parse(uri), "model")) == uris


def test_a_model_of_another_branch_is_told_how_to_be_named() -> None:
    said = told("yandexgpt", Model.parse("gpt://b1g/yandexgpt/rc"), "model")
    assert 'its branch is rc, not latest: write "yandexgpt/rc" or "yandexgpt/*"' in said
    assert 'its folder is "b1g"' in told("gpt://other/yandexgpt", Model.parse("gpt://b1g/yandexgpt"), "model")


# -- mistakes


@pytest.mark.parametrize(
    ("spec", "kind", "path", "text"),
    [
        (op(), "text", (), "no operator"),
        ([], "text", (), "present: false"),
        (op(one_of=[]), "text", ("one_of",), "empty list"),
        (op(any=[]), "text", ("any",), "empty list"),
        (op(contains=""), "text", ("contains",), "present: true"),
        (op(contains=["a", " "]), "text", ("contains", 1), "present: true"),
        (op(matches="при(вет"), "text", ("matches",), "not a regular expression: missing )"),
        (op(matches=["a", "[z-a]"]), "text", ("matches", 1), "not a regular expression"),
        (op(word="по*да"), "text", ("word",), "at the end"),
        (op(at_least=1), "text", ("at_least",), "does not compare a text"),
        (op(equals=["a", "b"]), "text", ("equals",), "one_of"),
        (op(present=False, contains="a"), "text", ("present",), "absent"),
        (op(any=["a", op(contains="")]), "text", ("any", 1, "contains"), "present: true"),
        (op(not_=op(all=[op(word="*a")])), "text", ("not", "all", 0, "word"), "at the end"),
        ("много", "number", (), '"много" is not a number'),
        (["1", "два"], "number", (1,), '"два" is not a number'),
        (op(equals="9e999"), "number", ("equals",), "not a number"),
        (op(contains="1"), "number", ("contains",), "does not compare a number"),
        (op(at_least=3, at_most=2), "number", ("at_most",), "swap"),
        (op(at_least=float("nan")), "number", ("at_least",), "nan"),
        ("да", "boolean", (), "neither true nor false"),
        ("a/b/c", "model", (), "name/branch"),
        ("yandexgpt/", "model", (), "name/branch"),
        ([], "list", (), "present: false"),
    ],
)
def test_a_mistake_is_told_at_its_place(spec: Condition, kind: Kind, path: tuple[str | int, ...], text: str) -> None:
    assert text in mistakes(spec, kind)[path]


def test_all_mistakes_are_told_at_once() -> None:
    assert len(mistakes(op(contains="", matches="(", any=[op(word="*"), op(at_least=1)]))) == 4


@given(st.text(max_size=12) | st.text(r"()[]{}\?*+|^$.&&~~--abp<>P=!:#,0123456789", max_size=14))
def test_any_text_either_is_a_pattern_or_is_told_of(pattern: str) -> None:
    found: list[str] = []
    matcher = compile_condition(op(matches=pattern), "text", lambda path, text: found.append(text))
    assert (matcher is None) is bool(found)


def test_regular_expressions_cost_nothing_until_one_is_used() -> None:
    code = (
        "import sys, emulator.rules.operators, emulator.rules.template; print({'regex', 'jinja2'} & set(sys.modules))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


# -- what covers what


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a", "a"),
        ("a", ["a", "b"]),
        ("a", op(one_of=["a", "b"])),
        (["a", "b"], ["c", "b", "a"]),
        ("Привет, мир", op(contains="привет")),
        ("Привет, мир", op(word="мир*")),
        (op(contains="привет всем"), op(contains=["пока", "привет"])),
        (op(word="погода"), op(word="погод*")),
        (op(word="погода"), op(contains="пого")),
        (op(contains=["a", "b"]), op(contains=["b", "a", "c"])),
        (op(contains="a", word="b"), op(word="b")),
        (op(any=["a", "b"]), ["a", "b"]),
        ("a", op(any=["a", op(contains="b")])),
        (op(contains="a"), op(present=True)),
        (op(not_=op(contains="a")), op(not_=op(contains="ab"))),
        (op(all=["a", op(contains="b")]), "a"),
    ],
)
def test_a_narrower_condition_implies_a_wider_one(a: Condition, b: Condition) -> None:
    assert implies(a, b, "text")


@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        (["a", "b"], "a", "text"),
        (op(contains="a"), "a", "text"),
        (op(contains="a"), op(contains="ab"), "text"),
        (op(contains="a"), op(word="a"), "text"),
        (op(not_="a"), op(present=True), "text"),
        (["a"], ["a", "b"], "list"),
        ("12", op(contains="1"), "value"),
        ("Привет, мир", op(contains="привет"), None),
        (op(at_least=1), op(at_least=2), "number"),
        (op(at_most=1), op(present=True), "list"),
        ("yandexgpt*", op(equals="yandexgpt*"), "model"),
    ],
)
def test_nothing_is_implied_without_a_proof(a: Condition, b: Condition, kind: str | None) -> None:
    assert not implies(a, b, kind)


def test_implication_knows_numbers_and_lists() -> None:
    assert implies("5", op(at_least=3), "number")
    assert implies(op(at_least=3), op(at_least=2), "number")
    assert implies(["a", "b"], ["b"], "list")
    assert implies(op(equals=["a", "b"]), op(contains="a"), "list")
    assert implies("a", "a", None)


WORDS = st.sampled_from(["a", "b", "ab", "a b", "A", "1", "true", "ё", "a-b", "a*"])
LEAVES = st.one_of(
    WORDS,
    st.lists(WORDS, min_size=1, max_size=2),
    WORDS.map(lambda w: op(contains=w)),
    WORDS.map(lambda w: op(word=w)),
    WORDS.map(lambda w: op(equals=w)),
    st.lists(WORDS, min_size=1, max_size=2).map(lambda w: op(one_of=w)),
    st.booleans().map(lambda b: op(present=b)),
    st.integers(0, 2).map(lambda n: op(at_least=n)),
    st.integers(0, 2).map(lambda n: op(at_most=n)),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda c: op(not_=c)),
        st.lists(inner, min_size=1, max_size=2).map(lambda c: op(any=c)),
        st.lists(inner, min_size=1, max_size=2).map(lambda c: op(all=c)),
    ),
    max_leaves=3,
)
ACTUALS: dict[str, list[Any]] = {
    "text": [None, *map(Text, ["", "a", "b", "ab", "a b", "A", "1", "e", "a-b", "true", "a*"])],
    "value": [None, 0, 1, 2, True, False, (), (1, Text("a")), *map(Text, ["a", "b", "1", "true", "a b"])],
    "number": [None, 0, 1, 2, 1.5],
    "list": [(), ("a",), ("a", "b"), ("b", "b"), ("1",), (1,), ("A",), ("a-b", "ab")],
    "model": [Model.parse(u) for u in ("gpt://f/a", "gpt://f/b/rc", "gpt://f/ab", "gpt://f/a-b", "gpt://f/1", "")],
}


@given(CONDITIONS, CONDITIONS, st.sampled_from(sorted(ACTUALS)))
def test_what_is_said_to_be_implied_is_so(a: Condition, b: Condition, kind: Any) -> None:
    if not implies(a, b, kind):
        return
    one, other = (compile_condition(spec, kind, lambda path, text: None) for spec in (a, b))
    if one is None or other is None:
        return
    for actual in ACTUALS[kind]:
        if one.holds(actual):
            assert other.holds(actual)


@pytest.mark.parametrize("pattern", [r"(?i)заказ \d+\b", "привет|пока", r"^\w{3,}!", "[a-f]*x", r"(а|б)в", "a.?b"])
def test_quick_patterns_are_searched_without_a_look_at_the_clock(pattern: str) -> None:
    assert patterns.quick(pattern)


@pytest.mark.parametrize(
    "pattern",
    ["(a|a)*b", r"(\w+)+!", ".*x.*y", r"(a)\1", "(?=a+)b", "(?:ab)+", "(?:дом){e<=1}", "a++b", "(?x) a", "(?R)?x"],
)
def test_patterns_that_may_take_long_are_watched(pattern: str) -> None:
    assert not patterns.quick(pattern)
