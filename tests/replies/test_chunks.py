"""Chunks: every way to cut joins to the text and leaves characters whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from emulator.replies import chunks, graphemes

Cut = Callable[[str, int], list[str]]
CUTS: Any = pytest.mark.parametrize("cut", [chunks.by_tokens, chunks.by_words, chunks.by_characters, chunks.into])
KNOWN = "aZЖщё \n\r\t.,!5-_👩👧🇷🇺✈❤\u200d\ufe0f\u0301\u0306🏽漢한ᄒ\u1161\u11abक्षำก"
KNOWN_TEXTS = st.text(st.sampled_from(KNOWN), max_size=60)
TEXTS = st.one_of(KNOWN_TEXTS, st.text(max_size=60))
COUNTS = st.integers(1, 70)


@CUTS
@given(TEXTS, COUNTS)
def test_pieces_join_to_the_text_and_none_is_empty(cut: Cut, text: str, n: int) -> None:
    pieces = cut(text, n)
    assert "".join(pieces) == text
    assert pieces == [""] or all(pieces)


@CUTS
@given(KNOWN_TEXTS, COUNTS)
def test_no_cut_falls_within_a_grapheme_cluster_of_unicode(cut: Cut, text: str, n: int) -> None:
    allowed = {0} | {cluster.end() for cluster in regex.finditer(r"\X", text)}
    end = 0
    for piece in cut(text, n):
        end += len(piece)
        assert end in allowed


@given(TEXTS, COUNTS)
def test_a_text_of_n_characters_or_more_gives_exactly_n_chunks(text: str, n: int) -> None:
    characters = len(graphemes.split(text))
    assert len(chunks.into(text, n)) == max(1, min(n, characters))


@CUTS
def test_an_empty_text_is_one_empty_piece(cut: Cut) -> None:
    assert cut("", 3) == [""]


@CUTS
def test_less_than_one_is_refused(cut: Cut) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        cut("text", 0)


def test_words_bring_the_space_before_them_and_the_last_what_follows() -> None:
    assert chunks.by_words("  Жил да\nбыл  кот \n", 1) == ["  Жил", " да", "\nбыл", "  кот \n"]
    assert chunks.by_words("Жил да был кот", 3) == ["Жил да был", " кот"]


def test_a_text_of_white_space_is_one_word() -> None:
    assert chunks.by_words(" \n ", 1) == [" \n "]


def test_characters_are_what_a_reader_takes_for_one() -> None:
    family, flag, accented = "👩\u200d👩\u200d👧", "🇷🇺", "и\u0306"
    assert chunks.by_characters(f"{family}{flag}{flag}{accented}\r\nя", 1) == [
        family,
        flag,
        flag,
        accented,
        "\r\n",
        "я",
    ]


def test_tokens_are_grouped_by_n() -> None:
    assert chunks.by_tokens("Hi there! How are you?", 2) == ["Hi there", "! How", " are you", "?"]


def test_equal_chunks_differ_by_one_token_at_most() -> None:
    pieces = chunks.into("раз два три четыре пять шесть семь", 3)
    assert pieces == ["раз два", " три четыре", " пять шесть семь"]


def test_too_few_tokens_are_cut_into_characters() -> None:
    assert chunks.into("привет", 6) == list("привет")
    assert chunks.into("да", 6) == ["д", "а"]
