"""Estimated tokens: pieces that join to the text, and counts near those the service was seen to answer."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.replies import counting, graphemes, tokens
from emulator.rules import narrow

TEXTS = st.text(
    st.one_of(
        st.sampled_from("aZЖщё \n\r\t.,!5-_👩👧🇷🇺✈\u200d\ufe0f\u0301\u0306🏽漢한क्षé"), st.characters(codec="utf-8")
    ),
    max_size=60,
)


def message(role: str, text: str = "", calls: tuple[Any, ...] = (), results: tuple[Any, ...] = ()) -> Any:
    return SimpleNamespace(
        role=role,
        text=text,
        tool_call_list=SimpleNamespace(tool_calls=calls),
        tool_result_list=SimpleNamespace(tool_results=results),
    )


def call(name: str, arguments: dict[str, Any]) -> Any:
    from google.protobuf.struct_pb2 import Struct

    struct = Struct()
    struct.update(arguments)
    return SimpleNamespace(function_call=SimpleNamespace(name=name, arguments=struct))


@given(TEXTS)
def test_pieces_are_never_empty_and_join_to_the_text(text: str) -> None:
    pieces = tokens.split(text)
    assert "".join(pieces) == text
    assert all(pieces)
    assert tokens.count(text) == len(pieces)


@given(
    st.one_of(
        st.text(st.sampled_from([c for c in narrow.characters() if c != "\ufffe"]), max_size=60),
        st.text("aZя 5.\n\u00a0😊₽→", max_size=60),
        st.lists(st.tuples(st.sampled_from("aя5. \n\t\r"), st.integers(1, 40)), max_size=6).map(
            lambda runs: "".join(character * times for character, times in runs)
        ),
    )
)
def test_pieces_of_a_narrow_text_are_counted_as_they_are_cut(text: str) -> None:
    coded = narrow.narrow(text)
    assert coded is not None
    assert counting.count(coded) in (len(tokens.split(text)), None)
    assert tokens.count(text) == len(tokens.split(text))


def test_symbols_are_clusters_of_their_own() -> None:
    for character in map(chr, range(sys.maxunicode + 1)):
        if narrow.is_symbol(character):
            assert graphemes.split(f"a{character * 2}b") == ["a", character, character, "b"]
            assert tokens.count(f"a{character * 2}b") == len(tokens.split(f"a{character * 2}b"))


def test_only_odd_white_space_keeps_a_narrow_text_from_being_counted() -> None:
    assert counting.count("Да, мир! И ещё 2026\nстроки — «так».  \n\n".encode("cp1251")) is not None
    assert all(counting.count(text) is None for text in (b"a\tb", b"a\r\nb", b" " * 17))


@given(TEXTS)
def test_a_text_cut_after_a_piece_keeps_its_pieces(text: str) -> None:
    pieces = tokens.split(text)
    for end in range(len(pieces) + 1):
        assert tokens.split("".join(pieces[:end])) == pieces[:end]


@given(TEXTS)
def test_no_piece_ends_within_a_character(text: str) -> None:
    for end in range(len(tokens.split(text))):
        head = "".join(tokens.split(text)[:end])
        assert graphemes.split(head) == graphemes.split(text)[: len(graphemes.split(head))]


def test_a_space_goes_with_the_word_after_it_and_punctuation_stands_alone() -> None:
    assert tokens.split("Hi there! Да, мир") == ["Hi", " there", "!", " Да", ",", " мир"]


def test_long_words_are_several_pieces() -> None:
    assert tokens.count("a" * 100) > 10
    assert tokens.count("я" * 100) > 5


@pytest.mark.parametrize("text", ["hello", "ping"])
def test_a_lone_user_message_of_one_word_costs_15(text: str) -> None:
    assert tokens.input_tokens([message("user", text)]) == 15


def test_a_reply_costs_its_pieces_and_an_end_mark() -> None:
    assert tokens.completion_tokens("Hi there! How are you?") == 8
    assert tokens.completion_tokens("") == 1


def test_every_message_brings_the_overhead_of_its_role() -> None:
    question = message("user", "ping")
    alone = tokens.input_tokens([question])
    answered = tokens.input_tokens([question, message("assistant", "pong")])
    ordered = tokens.input_tokens([message("system", "pong"), question])
    assert alone < ordered < answered < alone + 10


def test_tool_calls_results_and_tools_count() -> None:
    calls = (call("weather", {"city": "Москва", "days": [1, 2], "now": True, "more": {"unit": None}}),)
    result = SimpleNamespace(function_result=SimpleNamespace(name="weather", content="+20 and sunny"))
    tool = SimpleNamespace(
        function=SimpleNamespace(name="weather", description="Tells it", parameters=call("", {"type": "object"}))
    )
    tool.function.parameters = tool.function.parameters.function_call.arguments
    empty = tokens.input_tokens([message("assistant"), message("user")])
    called = tokens.input_tokens([message("assistant", calls=calls), message("user")])
    resulted = tokens.input_tokens([message("assistant", calls=calls), message("user", results=(result,))])
    offered = tokens.input_tokens([message("assistant", calls=calls), message("user", results=(result,))], [tool])
    assert empty < called < resulted < offered
    assert tokens.tool_call_tokens(SimpleNamespace(tool_calls=calls)) == called - empty + 1


def test_white_space_without_end_is_still_cut_into_pieces() -> None:
    assert tokens.count(" " * 1600) == 100
