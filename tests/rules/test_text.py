"""Folding, words and globs."""

import re
import sys
import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.rules import narrow, text
from emulator.rules.comparisons import Contains, Word
from emulator.rules.text import Glob, Text, fold, word_needle, words_of

TRICKY = st.text(alphabet="еёЕЁ\u0308\u0323\u0301\u0345 йЙ\u0306ßİςα\u1fb3\u1e9e-*\t\n\u00a0aA\u0591", max_size=12)


def has_word(pattern: str, text: str) -> bool:
    return word_needle(pattern) in Text(text).words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Привет", "ПРИВЕТ"),
        ("ещё", "еще"),
        ("ЁЖ", "еж"),
        ("е\u0308ж", "еж"),
        ("и\u0306од", "йод"),
        ("  a\t\n b\u00a0", "a b"),
        ("Straße", "STRASSE"),
    ],
)
def test_what_a_person_calls_the_same_folds_alike(one: str, other: str) -> None:
    assert fold(one) == fold(other)


def test_different_letters_stay_different() -> None:
    assert fold("й") != fold("и")
    assert fold("с") != fold("c")


@given(st.text() | TRICKY)
def test_folding_twice_changes_nothing(text: str) -> None:
    once = fold(text)
    assert fold(once) == once
    assert unicodedata.is_normalized("NFC", once)


@given(st.text())
def test_case_folds_away(text: str) -> None:
    assert fold(text.casefold()) == fold(text)


def test_a_hostile_run_of_marks_folds_in_time() -> None:
    began = time.monotonic()
    fold("е" + "\u0308" * 50_000 + "ё\u0591\u0308" * 20_000)
    assert time.monotonic() - began < 2


def test_a_text_is_folded_once() -> None:
    text = Text("Привет")
    assert text.folded is text.folded
    assert text.words is text.words
    assert text.raw == "Привет"


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("погод*", "Какая погода?"),
        ("погода", "«Погода»"),
        ("ПОГОДА", "погода,"),
        ("еще", "ещё раз"),
        ("где-то", "где-то там"),
        ("где-то", "где\u2011то там"),
        ("где", "где-то"),
        ("то", "где-то"),
        ("где-*", "где-нибудь"),
        ("новый год", "новый год-другой"),
        ("новый год*", "Скоро Новый  годик"),
        ("йорк сити", "Нью-Йорк сити"),
        ("don't", "I don't know"),
        ("get_weather", "call get_weather()"),
        ("пого\u0301да", "какая пого\u0301да"),
        ("20", "тепло, +20!"),
        ("हिन्दी", "यह हिन्दी है"),
    ],
)
def test_a_word_matches_whole_words_in_any_case(pattern: str, text: str) -> None:
    assert has_word(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "text"),
    [
        ("погод", "погода"),
        ("погода", "непогода"),
        ("погод*", "непогода"),
        ("где-то", "где то"),
        ("где-*", "где то"),
        ("год новый", "новый год"),
        ("нью-йорк", "нью йорк"),
        ("пого", "пого\u0301да"),
        ("а", ""),
    ],
)
def test_a_word_does_not_match_parts_of_words(pattern: str, text: str) -> None:
    assert not has_word(pattern, text)


@pytest.mark.parametrize(
    ("pattern", "remedy"),
    [
        ("по*да", "matches"),
        ("*погода", "matches"),
        ("c++", "contains"),
        ("да, нет", "contains"),
        ("", "contains"),
        ("*", "contains"),
        ("--", "contains"),
        ("год *", "space"),
    ],
)
def test_a_word_pattern_that_cannot_mean_what_it_says_is_refused_with_a_remedy(pattern: str, remedy: str) -> None:
    with pytest.raises(ValueError, match=remedy):
        word_needle(pattern)


@given(st.text() | TRICKY)
def test_every_word_of_a_text_matches_it(text: str) -> None:
    for word in words_of(text):
        assert has_word(word, text)


def test_words_are_given_as_written() -> None:
    assert words_of("Погода в Санкт-Петербурге -- какая?!") == ["Погода", "в", "Санкт-Петербурге", "какая"]


@pytest.mark.parametrize(
    ("pattern", "text", "same"),
    [
        ("при*", "привет", True),
        ("*ве*", "привет", True),
        ("при?ет", "привет", True),
        ("при?ет", "приет", False),
        ("*", "", True),
        ("", "", True),
        ("a*a", "a", False),
        ("a*b*a", "aba", True),
        ("?*?", "a", False),
        ("При*", "привет", False),
        ("a*c", "a\nb/c", True),
        ("[a]", "[a]", True),
        ("[a]", "a", False),
    ],
)
def test_a_glob_covers_the_whole_text(pattern: str, text: str, same: bool) -> None:
    assert Glob(pattern).matches(text) is same


@given(st.text(alphabet="ab*?/", max_size=8), st.text(alphabet="ab/", max_size=10), st.booleans())
def test_globs_agree_with_regular_expressions(pattern: str, text: str, segments: bool) -> None:
    one = "[^/]" if segments else "."
    expression = "".join(f"{one}*" if c == "*" else one if c == "?" else re.escape(c) for c in pattern)
    wanted = re.fullmatch(expression, text, re.DOTALL) is not None
    assert Glob(pattern, segments=segments).matches(text) is wanted


def test_a_glob_of_many_stars_takes_no_time() -> None:
    began = time.monotonic()
    assert not Glob("*a?" * 30 + "b").matches("a" * 20_000)
    assert time.monotonic() - began < 1


NARROW = [c for c in narrow.characters() if c != "\ufffe"]
SYMBOLS = [chr(code) for code in range(sys.maxunicode + 1) if narrow.is_symbol(chr(code))]
narrow_texts = st.text(st.sampled_from([*NARROW, *"ёЁ---  аЯzZ\n😊₽→"]), max_size=30)


@given(narrow_texts)
def test_narrow_texts_are_folded_and_cut_into_words_as_all_others(raw: str) -> None:
    folded = text._folded(raw)
    assert text.fold(raw) == Text(raw).folded == folded
    assert text.words_of(raw) == text._words_of(raw)
    words = text._words_of(folded)
    assert narrow.wide(Text(raw).whole).split() == words
    assert narrow.wide(Text(raw).parts).split() == " ".join(words).replace("-", " ").split()
    assert narrow.wide(Text(raw).narrow_words).split("\n")[1] == f" {' '.join(words)} "


@given(st.text("аб-- ,_z", min_size=1, max_size=6), st.booleans(), st.text("аАбё-- \n,_z", max_size=30))
def test_a_word_is_found_in_a_narrow_text_where_it_is_in_its_words(stem: str, open_end: bool, raw: str) -> None:
    pattern = stem + "*" if open_end else stem
    try:
        needle = word_needle(pattern)
    except ValueError:
        return
    assert Word("word", pattern, [pattern]).holds(Text(raw)) == (needle in text._spaced(text._folded(raw)))


@given(st.text("аАё -µμз😊₽\u0301", min_size=1, max_size=3), st.text("аАё -\nµμз😊₽\u0301", max_size=20))
def test_a_text_is_found_in_a_narrow_text_where_it_is_in_the_folded_one(needle: str, raw: str) -> None:
    if text._folded(needle):
        assert Contains("contains", needle, [needle]).holds(Text(raw)) == (text._folded(needle) in text._folded(raw))


def test_each_character_of_narrow_texts_is_folded_as_all_others() -> None:
    for character in (*NARROW, *SYMBOLS):
        assert narrow.narrow(character) is not None
        assert text.fold(character) == text._folded(character) == text._folded(character)[:1]
        assert text.words_of(f"а{character}б") == text._words_of(f"а{character}б")
    for other in ("а\u0301", "\u2011", "µ", "ß", "漢", "\ufffd", "❤\ufe0f", "👍🏽", "🇷🇺"):
        assert narrow.narrow(other) is None
