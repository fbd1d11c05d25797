"""The final reply: text or tool calls, cut at max_tokens, with its usage and the model's version."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.client import asking

from emulator.api import CompletionRequest, to_dict
from emulator.replies import tokens
from emulator.replies.completion import STATUSES, FixedText, model_version, text_reply, tool_reply
from emulator.rules.model import Usage
from emulator.rules.subject import Subject

TEXT = "Жил-был кот. Он спал на печке."


def asked(**options: Any) -> Subject:
    request = asking("Расскажи сказку", **options)
    return Subject("completion", request, request.SerializeToString(), {})


def hidden_reasoning(**options: Any) -> Subject:
    subject = asked(**options)
    subject.request.completion_options.reasoning_options.mode = 2
    return subject


def status(response: Any) -> str:
    (alternative,) = response.alternatives
    return next(name for name, number in STATUSES.items() if number == alternative.status)


def test_a_text_is_one_final_alternative_of_the_assistant() -> None:
    response = text_reply(asked(), TEXT)
    (alternative,) = response.alternatives
    assert (alternative.message.role, alternative.message.text, status(response)) == ("assistant", TEXT, "FINAL")


def test_usage_is_counted_and_adds_up() -> None:
    usage = text_reply(asked(), TEXT).usage
    assert usage.completion_tokens == tokens.completion_tokens(TEXT)
    assert usage.input_text_tokens == tokens.input_tokens(asked().request.messages, [])
    assert usage.total_tokens == usage.input_text_tokens + usage.completion_tokens


@given(st.text(min_size=1, max_size=200), st.integers(1, 60))
def test_a_text_keeps_within_max_tokens_and_says_when_it_was_cut(text: str, limit: int) -> None:
    response = text_reply(asked(max_tokens=limit), text)
    kept = response.alternatives[0].message.text
    assert response.usage.completion_tokens <= limit
    assert text.startswith(kept)
    assert len(tokens.split(kept)) <= limit
    assert status(response) == ("FINAL" if kept == text else "TRUNCATED_FINAL")


def test_max_tokens_cuts_no_more_than_it_must() -> None:
    n = len(tokens.split(TEXT))
    assert text_reply(asked(max_tokens=n), TEXT).alternatives[0].message.text == TEXT
    cut = text_reply(asked(max_tokens=n - 1), TEXT)
    assert cut.alternatives[0].message.text == "".join(tokens.split(TEXT)[:-1])
    assert cut.usage.completion_tokens == n - 1


@pytest.mark.parametrize("limit", [None, 0])
def test_no_limit_is_no_limit(limit: int | None) -> None:
    assert text_reply(asked(max_tokens=limit), TEXT).alternatives[0].message.text == TEXT


def test_a_scripted_status_stays_though_the_text_is_cut() -> None:
    assert status(text_reply(asked(max_tokens=2), TEXT, "CONTENT_FILTER")) == "CONTENT_FILTER"


@pytest.mark.parametrize(
    ("given_", "told"),
    [
        (Usage(completion_tokens=100), (100, True)),
        (Usage(input_text_tokens=7, completion_tokens=5), (5, True)),
        (Usage(total_tokens=1), (None, False)),
    ],
)
def test_scripted_usage_is_sent_and_what_it_leaves_out_is_counted(given_: Usage, told: tuple[int | None, bool]) -> None:
    usage = text_reply(asked(), TEXT, usage=given_).usage
    completion, adds_up = told
    assert usage.completion_tokens == (completion or tokens.completion_tokens(TEXT))
    assert usage.input_text_tokens == (given_.input_text_tokens or text_reply(asked(), TEXT).usage.input_text_tokens)
    assert (usage.total_tokens == usage.input_text_tokens + usage.completion_tokens) is adds_up


@st.composite
def conversations(draw: st.DrawFn) -> Subject:
    """Requests of which most have texts only; others have messages without any, tools, and options."""
    request = CompletionRequest(model_uri=draw(st.sampled_from(["gpt://f/yandexgpt", "gpt://f/yandexgpt/deprecated"])))
    texts = st.text("aя Ж5,.\n😊漢", max_size=20)
    for role in draw(st.lists(st.sampled_from(["system", "user", "assistant", "User", "tool"]), max_size=4)):
        request.messages.add(role=role, text=draw(texts))
    if draw(st.booleans()):
        result = request.messages.add(role="user").tool_result_list.tool_results.add().function_result
        result.name, result.content = "f", draw(texts)
    if draw(st.integers(0, 3)) == 0:
        request.tools.add().function.name = "f"
    if draw(st.booleans()):
        request.completion_options.max_tokens.value = draw(st.sampled_from([-1, 0, 1, 5, 1000]))
    request.completion_options.reasoning_options.mode = draw(st.sampled_from([0, 0, 1, 2]))
    call = draw(st.sampled_from(["completion", "completion", "batch_row"]))
    return Subject(call, request, request.SerializeToString(), {})


@given(
    st.lists(conversations(), min_size=1, max_size=3),
    st.sampled_from([None, Usage(), Usage(input_text_tokens=7), Usage(total_tokens=0, completion_tokens=2)]),
    st.sampled_from([None, "", "23.10.2024", "a"]),
    st.sampled_from(["FINAL", "CONTENT_FILTER"]),
)
def test_a_prepared_reply_is_that_which_is_made_anew(
    subjects: list[Subject], usage: Usage | None, version: str | None, status: str
) -> None:
    fixed = FixedText(TEXT, status, usage, version)
    for subject in subjects:
        assert fixed.reply(subject) == text_reply(subject, TEXT, status, usage, version)


@given(conversations())
def test_a_prompt_of_texts_is_counted_by_what_is_said(subject: Subject) -> None:
    counted = tokens.input_tokens(subject.request.messages)
    assert tokens.said_tokens(subject.said) in (counted, None)
    assert counted == sum(map(len, tokens.prompt(subject.request.messages)))


def test_zero_is_a_scripted_count() -> None:
    usage = text_reply(asked(), TEXT, usage=Usage(input_text_tokens=0, completion_tokens=0)).usage
    assert (usage.input_text_tokens, usage.completion_tokens, usage.total_tokens) == (0, 0, 0)


def test_hidden_reasoning_costs_tokens() -> None:
    plain, thinking = text_reply(asked(), TEXT).usage, text_reply(hidden_reasoning(), TEXT).usage
    reasoning = thinking.completion_tokens_details.reasoning_tokens
    assert reasoning > 0
    assert thinking.completion_tokens == plain.completion_tokens + reasoning
    assert plain.completion_tokens_details.reasoning_tokens == 0


def test_hidden_reasoning_does_not_break_max_tokens() -> None:
    assert text_reply(hidden_reasoning(max_tokens=3), TEXT).usage.completion_tokens <= 3


@pytest.mark.parametrize(
    ("branch", "version"), [("latest", "09.02.2025"), ("rc", "09.02.2025"), ("deprecated", "23.10.2024")]
)
def test_the_version_goes_by_the_branch_and_decides_whether_there_are_token_details(branch: str, version: str) -> None:
    subject = asked(model=f"gpt://b1gtest/yandexgpt/{branch}")
    response = text_reply(subject, TEXT)
    assert (response.model_version, model_version(subject)) == (version, version)
    assert response.usage.HasField("completion_tokens_details") == version.endswith("2025")


def test_a_scripted_version_is_sent_even_if_empty() -> None:
    assert text_reply(asked(), TEXT, version="").model_version == ""
    assert text_reply(asked(), TEXT, version="мой").model_version == "мой"


def test_tool_calls_carry_their_names_and_arguments_in_order() -> None:
    arguments = {"city": "Москва", "days": 3, "deep": {"list": [1, "два", None, True]}}
    response = tool_reply(asked(), [("get_weather", arguments), ("get_time", {})])
    (alternative,) = response.alternatives
    calls = [call.function_call for call in alternative.message.tool_call_list.tool_calls]
    assert [(call.name, to_dict(call.arguments)) for call in calls] == [("get_weather", arguments), ("get_time", {})]
    assert (alternative.message.role, status(response)) == ("assistant", "TOOL_CALLS")
    assert response.usage.completion_tokens > 0


def test_tool_calls_are_not_cut_at_max_tokens() -> None:
    whole = tool_reply(asked(), [("get_weather", {"city": "Москва"})])
    limited = tool_reply(asked(max_tokens=1), [("get_weather", {"city": "Москва"})])
    assert limited.alternatives == whole.alternatives


def test_every_status_of_the_api_has_its_short_name() -> None:
    assert {"PARTIAL", "TRUNCATED_FINAL", "FINAL", "CONTENT_FILTER", "TOOL_CALLS"} <= set(STATUSES)
