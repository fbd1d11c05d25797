"""Tokens as the tokenizer shows them: as many as a completion counts, marks apart, the same ids everywhere."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.client import asking

from emulator.api import CompletionRequest
from emulator.replies import tokenized, tokens

ROLES = st.sampled_from(["user", "assistant", "system", "robot", ""])


def test_ping_is_15_tokens_as_recorded() -> None:
    made = [tokenized.token(text) for text in tokenized.of_conversation(asking("ping").messages)]
    assert [(token.id, token.text, token.special) for token in made] == [
        (1, "<s>", True),
        (16861, "▁Пользователь", False),
        (125851, ":", False),
        (45533, "▁ping", False),
        (3, "[NL]", True),
        (3, "[NL]", True),
        (125904, "А", False),
        (845, "сси", False),
        (57590, "стент", False),
        (125851, ":", False),
        (502, "▁[", False),
        (32166, "EDIT", False),
        (20386, "ORS", False),
        (125895, "]", False),
        (4, "[SEP]", True),
    ]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ["<s>"]),
        ("привет", ["<s>", "▁привет"]),
        ("Да, мир!", ["<s>", "▁Да", ",", "▁мир", "!"]),
        (" раз  два", ["<s>", "▁раз", "▁", "▁два"]),
        ("раз\nдва\r\nтри", ["<s>", "▁раз", "[NL]", "два", "[NL]", "три"]),
        ("\nраз", ["<s>", "[NL]", "раз"]),
        ("<s>[NL]", ["<s>", "▁<", "s", ">", "[", "NL", "]"]),
    ],
)
def test_a_text_begins_with_a_mark_and_spaces_are_shown(text: str, shown: list[str]) -> None:
    assert tokenized.of_text(text) == shown


@given(st.text())
def test_nothing_of_a_text_is_lost(text: str) -> None:
    pieces = tokenized.of_text(text.replace("▁", "").replace("\r", "").replace("[", ""))[1:]
    told = "".join(pieces).replace("[NL]", "\n").replace("▁", " ")
    assert told.removeprefix(" ") == text.replace("▁", "").replace("\r", "").replace("[", "").removeprefix(" ")


@given(st.lists(st.tuples(ROLES, st.text(max_size=30)), max_size=4), st.dictionaries(st.text(max_size=5), st.text()))
def test_a_prompt_has_as_many_tokens_as_its_completion_counts(said: list[tuple[str, str]], values: Any) -> None:
    request = CompletionRequest()
    for role, text in said:
        request.messages.add(role=role, text=text)
    call = request.messages.add(role="assistant").tool_call_list.tool_calls.add().function_call
    call.name = "weather"
    call.arguments.update({"a": values, "b": [1.5, None, True, [], values], "c": {}})
    result = request.messages.add(role="user").tool_result_list.tool_results.add().function_result
    result.name, result.content = "weather", "+20"
    request.tools.add().function.parameters.update(values)
    shown = tokenized.of_conversation(request.messages, request.tools)
    assert len(shown) == tokens.input_tokens(request.messages, request.tools)
    assert (shown[0], shown[-1]) == ("<s>", "[SEP]")


def test_arguments_are_shown_as_json_whose_last_brace_goes_with_what_is_before_it() -> None:
    request = CompletionRequest()
    call = request.messages.add(role="assistant").tool_call_list.tool_calls.add().function_call
    call.name = "f"
    call.arguments.update({"city": "Тула", "days": [1, 2], "now": False, "no": {}, "none": []})
    shown = "".join(tokenized.of_conversation(request.messages)).replace("▁", " ")
    assert "{city:Тула,days:[1,2],no:{},none:[],now:false}" in shown


@given(st.text(min_size=1))
def test_an_id_is_the_same_each_time_and_never_a_special_ones(text: str) -> None:
    assert tokenized.id_of(text) == tokenized.id_of(text)
    assert (tokenized.id_of(text) in tokenized.SPECIAL.values()) is (text in tokenized.SPECIAL)
    assert 0 < tokenized.id_of(text) <= tokenized.HIGHEST_ID


def test_ids_are_the_same_on_every_machine() -> None:
    assert [tokenized.id_of(text) for text in ("▁привет", "▁hello")] == [114366, 123009]


def test_more_tokens_than_a_reply_holds_are_refused() -> None:
    with pytest.raises(ValueError, match="more than the 200000 that one reply holds"):
        tokenized.of_text("." * 200_000)
