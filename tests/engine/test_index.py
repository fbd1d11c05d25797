"""The index spares work and decides nothing: with it and without it the same rule answers."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.engine import choose as choosing
from emulator.engine import index as indexing
from emulator.engine.book import Book, Rule, load
from emulator.engine.choose import State, choose
from emulator.engine.index import Index
from emulator.errors import FixtureError
from emulator.rules import literals
from emulator.rules.conditions import all_hold
from emulator.rules.subject import Subject
from emulator.seed import Seed

from .asked import asked, drawn, rules

# Few letters, so that texts and patterns meet often, and those of which several look alike to one comparison or other.
LETTERS = "аАеЕёЁиИйЙ\u0306\u0308\u0301оО kK\u212asSſßiIıİ1-.,'\n\u00a0\u2011ᲂᾳ\u0345😊₽—µ"
NARROW = "аАеЕёЁиЙоО kKsSI1-.,'\n\u00a0😊₽—"
texts = st.one_of(st.text(LETTERS, min_size=1, max_size=12), st.text(NARROW, min_size=1, max_size=12))
words = st.text("аеёийоkKsß1-", min_size=1, max_size=4)


@st.composite
def patterns(draw: st.DrawFn) -> str:
    """Regular expressions of literals, with what may stand between them."""
    literal = st.text("аеёиЙоkSß1- i", min_size=1, max_size=4).map(lambda text: regex.escape(text, special_only=True))
    piece = st.one_of(
        literal,
        st.sampled_from([".", ".*", r"\b", r"\w", r"\s+", "[аб]", "[^и]", "^", "$", "(?:)"]),
        st.tuples(literal, st.sampled_from(["?", "*", "+", "{0,2}", "{2}", "{1,}"])).map(lambda p: f"(?:{p[0]}){p[1]}"),
        st.lists(literal, min_size=2, max_size=3).map(lambda among: f"({'|'.join(among)})"),
        literal.map(lambda text: f"(?={text})"),
        literal.map(lambda text: f"(?!{text})"),
    )
    flags = draw(st.sampled_from(["", "", "(?i)", "(?if)", "(?s)"]))
    return flags + "".join(draw(st.lists(piece, min_size=1, max_size=4)))


def several(one: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.one_of(one, st.lists(one, min_size=1, max_size=3))


comparisons = st.one_of(
    texts,
    st.fixed_dictionaries({"equals": texts}),
    st.fixed_dictionaries({"contains": several(texts)}),
    st.fixed_dictionaries({"word": several(words)}),
    st.fixed_dictionaries({"word": words.map(lambda word: f"{word}*")}),
    st.fixed_dictionaries({"glob": several(st.text(LETTERS + "*?", min_size=1, max_size=6))}),
    st.fixed_dictionaries({"matches": several(patterns())}),
    st.fixed_dictionaries({"one_of": st.lists(texts, min_size=1, max_size=3)}),
    st.fixed_dictionaries({"not": st.fixed_dictionaries({"contains": texts})}),
    st.fixed_dictionaries({"present": st.booleans()}),
)
comparisons = st.one_of(
    comparisons,
    st.fixed_dictionaries({"any": st.lists(comparisons, min_size=1, max_size=2)}),
    st.fixed_dictionaries({"all": st.lists(comparisons, min_size=1, max_size=2)}),
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "question": comparisons,
        "any_message": comparisons,
        "message": comparisons,
        "model": st.sampled_from(["yandexgpt", "yandexgpt/rc", "yandex*", {"contains": "gpt"}, "gpt://f/yandexgpt"]),
        "turn": st.sampled_from([1, 2, {"at_least": 2}, {"one_of": [1, 3]}, "1"]),
        "stream": st.booleans(),
        "tools": st.sampled_from(["a", ["a", "b"], {"contains": "A"}, {"equals": ["a"]}, {"at_least": 1}]),
        "metadata": st.dictionaries(st.sampled_from(["x-one", "x-two"]), texts, max_size=1),
        "options": st.sampled_from([{"temperature": 0.5}, {"max_tokens": 100}, {"max_tokens": {"at_least": 5}}]),
        "tool_results": st.dictionaries(st.sampled_from(["a", "*"]), comparisons, max_size=1),
    },
)
whens = st.one_of(
    conditions,
    st.tuples(conditions, st.lists(conditions, max_size=2)).map(lambda pair: {**pair[0], "any": pair[1] or [{}]}),
    st.tuples(conditions, conditions).map(lambda pair: {**pair[0], "not": pair[1]}),
    st.lists(conditions, min_size=1, max_size=2).map(lambda inner: {"all": inner}),
)


@st.composite
def requests(draw: st.DrawFn) -> Subject:
    """Conversations about the same few letters."""
    turns = draw(st.lists(texts, min_size=1, max_size=3))
    subject = asked(*turns, metadata=draw(st.dictionaries(st.sampled_from(["x-one", "x-two"]), texts, max_size=2)))
    request = subject.request
    request.model_uri = draw(st.sampled_from(["gpt://f/yandexgpt", "gpt://f/yandexgpt/rc", "gpt://g/llama/latest"]))
    request.completion_options.stream = draw(st.booleans())
    if draw(st.booleans()):
        request.completion_options.max_tokens.value = draw(st.sampled_from([1, 100]))
    for name in draw(st.lists(st.sampled_from(["a", "b"]), unique=True)):
        request.tools.add().function.name = name
    return Subject("completion", request, request.SerializeToString(), subject.headers)


def book_of(several: Sequence[Mapping[str, Any]]) -> Book:
    """The book of rules with these conditions, without those that can't be."""
    sound = []
    for i, when in enumerate(several):
        rule = {"name": f"r{i}", "call": "completion", "when": when, "reply": {"text": f"{i}"}}
        try:
            load([{"rules": [rule]}])
        except FixtureError:
            continue
        sound.append(rule)
    return load([{"rules": sound}])


def plainly(rules: Sequence[Rule], subject: Subject) -> list[str]:
    """The names of the rules that match, found by trying each."""
    return [rule.name for rule in rules if all_hold(rule.when.checks, subject)]


@pytest.fixture(params=[0, indexing.FEW_LITERALS], ids=["automaton", "one by one"])
def small(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rules have an index, too."""
    monkeypatch.setattr(indexing, "FEWEST", 1)
    monkeypatch.setattr(indexing, "FEW_LITERALS", request.param)


@pytest.mark.usefixtures("small")
def test_every_rule_that_matches_is_among_those_to_try_and_in_order() -> None:
    @settings(max_examples=400, deadline=None)
    @given(st.lists(whens, min_size=1, max_size=6), st.lists(requests(), min_size=1, max_size=4))
    def compare(several: list[Mapping[str, Any]], subjects: list[Subject]) -> None:
        rules = book_of(several).by_call["completion"]
        index = Index(rules)
        for subject in subjects:
            tried = list(index.among(subject))
            assert tried == sorted(tried, key=rules.index)
            assert plainly(tried, subject) == plainly(rules, subject)

    compare()


@pytest.mark.usefixtures("small")
def test_a_literal_of_a_pattern_stands_in_every_text_that_it_is_found_in() -> None:
    @settings(max_examples=1500, deadline=None)
    @given(patterns(), texts)
    def hold(pattern: str, text: str) -> None:
        if regex.search(pattern, text):
            searched = literals.folded(text)
            for needed in literals.of_pattern(pattern):
                assert any(literal in searched for literal in needed), (pattern, needed, searched)

    hold()


def test_a_character_of_a_literal_is_found_only_in_what_is_searched_as_the_same() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    for character in literals.SAFE:
        for form in {character, character.upper()}:
            for flags in ("", "(?i)", "(?if)"):
                found = regex.findall(flags + regex.escape(form), every)
                assert all(character in literals.folded(text) for text in found), (flags, form, found)


@pytest.mark.parametrize("pattern", ["(?i)istanbul", "(?i)İstanbul", "(?i:ist)anbul", "İs", "x\u0307y", "ẋy!"])
@pytest.mark.parametrize("text", ["İstanbul", "istanbul", "ıstanbul", "ISTANBUL", "x\u0307y", "ẋy!", "a İstanbul, b"])
def test_a_letter_that_folds_to_two_is_found_as_one(pattern: str, text: str) -> None:
    if regex.search(pattern, text):
        assert all(any(one in literals.folded(text) for one in among) for among in literals.of_pattern(pattern))


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("needle", ["\u0307", "\u0307x", "i\u0307x", "İ", "ix"])
def test_a_mark_that_is_passed_over_where_literals_are_looked_for_still_counts(needle: str) -> None:
    book = rules({"when": {"question": {"contains": needle}}, "reply": {"text": "да"}})
    for text in ("İx", "ix", "q\u0307x", "q\u0307", "ıx"):
        assert plainly(list(book.among(asked(text))), asked(text)) == plainly(book.rules, asked(text))


@pytest.mark.parametrize(
    ("pattern", "needed"),
    [
        ("погода", {"погод"}),
        ("заказ 15", {"заказ 15"}),
        ("(?i)Order 77\\b", {"order 77"}),
        ("кот(?:ик)?ов!", {"ко", "ов!"}),
        ("(?:красный|синий) цвет", {"красны|сини", "цве"}),
        ("ёлка!", {"елка!"}),
        ("a+b", set()),
        ("[abc]de", {"d"}),
        ("(?x) a b c d", set()),
        ("(?:дом){e<=1}", set()),
        ("[[:alpha:]]дом", set()),
        ("два  слова", {"дв", "слов"}),
    ],
)
def test_literals_that_a_pattern_needs(pattern: str, needed: set[str]) -> None:
    assert {"|".join(sorted(among)) for among in literals.of_pattern(pattern)} == needed


def test_of_thousands_of_rules_only_those_that_can_match_are_tried() -> None:
    kinds: tuple[Any, ...] = (
        lambda i: {"contains": f"номер {i}x"},
        lambda i: {"matches": rf"(?i)заказ {i}\b"},
        lambda i: {"equals": f"ровно {i}"},
        lambda i: {"word": f"слово{i}"},
        lambda i: {"glob": f"*файл{i}.txt*"},
    )
    book = rules(
        *({"when": {"question": kinds[i % 5](i), "model": "yandexgpt"}, "reply": {"text": "да"}} for i in range(2_000))
    )
    said = ("это НОМЕР 1995X", "мой Заказ 1996, да", "ровно 1997", "вот слово1998!", "в файл1999.txt там")
    for i, text in enumerate(said, 1995):
        tried = list(book.among(asked(text, model="gpt://f/yandexgpt/latest")))
        assert len(tried) < 5
        assert book.rules[i] in tried
    assert not list(book.among(asked("ничего")))


def test_a_long_text_is_not_looked_through_and_still_finds_its_rule() -> None:
    book = rules(*({"when": {"question": {"contains": f"n{i}x"}}, "reply": {"text": f"{i}"}} for i in range(100)))
    long = "слово " * indexing.LONGEST + "n77x"
    assert choose(book, State(), asked(long), Seed(0))[0].rule == book.rules[77].name


def test_other_calls_have_indexes_of_their_own() -> None:
    book = rules(
        *({"when": {"prompt": {"contains": f"кот {i}!"}}, "reply": {"error": "INTERNAL"}} for i in range(50)),
        *({"when": {"question": {"contains": f"кот {i}!"}}, "reply": {"text": "мяу"}} for i in range(50)),
    )
    assert [rule.name for rule in book.among(drawn("вот Кот 7!"))] == [book.rules[7].name]
    assert [rule.name for rule in book.among(asked("вот Кот 7!"))] == [book.rules[57].name]


SLOW = r"(?:а|а)+(?:б|в)+(\w+\w+)+!$"
BAD = "аб" * 3000


def test_a_pattern_that_takes_too_long_fails_for_its_rule_and_is_named() -> None:
    book = rules(
        {"name": "slow", "when": {"question": {"matches": SLOW}}, "reply": {"text": "нет"}},
        {"name": "not slow", "when": {"question": {"not": {"matches": SLOW}}}, "reply": {"text": "нет"}},
        {"name": "next", "reply": {"text": "да"}},
    )
    play, _ = choose(book, State(), asked(BAD), Seed(0))
    assert play.rule == "next"
    assert [note.partition(": the pattern ")[0].partition(" (")[0] for note in play.notes] == ["slow", "not slow"]
    assert all("took more than 0.1 s and was given up: make it simpler" in note for note in play.notes)


def test_one_alternative_that_takes_too_long_leaves_the_others() -> None:
    book = rules({"when": {"question": {"any": [{"matches": SLOW}, {"contains": "аб"}]}}, "reply": {"text": "да"}})
    play, _ = choose(book, State(), asked(BAD), Seed(0))
    assert play.rule == book.rules[0].name
    assert not play.notes


def test_many_patterns_that_take_too_long_end_the_call() -> None:
    book = rules(*({"when": {"question": {"matches": f"{SLOW}{i}"}}, "reply": {"text": "нет"}} for i in range(10)))
    play, _ = choose(book, State(), asked(BAD), Seed(0))
    assert play.failure is not None
    assert play.failure.message.startswith(f"{choosing.MOST_OVERRUNS} patterns took too long on this request")
