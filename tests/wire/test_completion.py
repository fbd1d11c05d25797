"""TextGenerationService.Completion as it travels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from emulator import Emulator
from emulator.api import Alternative, CompletionRequest, CompletionResponse

from .client import Client, Reply, asking, eventually

if TYPE_CHECKING:
    from conftest import Connect, Serve

STORY = "Жил-был кот. Он любил спать на тёплой печке, пить молоко и смотреть, как за окном идёт снег. " * 4
TELLS = {"rules": [{"reply": {"text": STORY.strip()}}]}
STALLS = {
    "rules": [{"reply": {"text": STORY.strip(), "stream": {"chunks": 5, "stall": {"after": 2, "for": "forever"}}}}]
}
PATH = "TextGenerationService/Completion"


def status_name(message: CompletionResponse) -> str:  # type: ignore[valid-type]
    name: str = Alternative.AlternativeStatus.Name(message.alternatives[0].status)  # type: ignore[attr-defined]
    return name.removeprefix("ALTERNATIVE_STATUS_")


def texts(messages: list[CompletionResponse]) -> list[str]:  # type: ignore[valid-type]
    return [message.alternatives[0].message.text for message in messages]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fixtures", [TELLS, {}], ids=["scripted", "default"])
def test_a_call_that_does_not_stream_gets_exactly_one_message(
    serve: Serve, connect: Connect, fixtures: dict[str, object]
) -> None:
    client = connect(serve(fixtures))
    unset = CompletionRequest(model_uri="gpt://b1g/yandexgpt")
    unset.messages.add(role="user", text="Расскажи сказку")
    for request in (asking("Расскажи сказку"), unset):
        message = client.complete(request).only
        assert len(message.alternatives) == 1
        assert message.alternatives[0].message.role == "assistant"
        assert status_name(message) == "FINAL"


@pytest.mark.parametrize("fixtures", [TELLS, {}], ids=["scripted", "default"])
def test_a_stream_is_partial_texts_each_longer_than_the_last_and_one_final(
    serve: Serve, connect: Connect, fixtures: dict[str, object]
) -> None:
    reply = connect(serve(fixtures)).complete(asking("Расскажи сказку", stream=True))
    assert reply.code == "OK"
    told = texts(reply.messages)
    assert len(told) > 3
    for before, after in pairwise(told):
        assert after.startswith(before)
        assert len(after) > len(before)
    assert [status_name(m) for m in reply.messages] == ["PARTIAL"] * (len(told) - 1) + ["FINAL"]


@pytest.mark.parametrize("fixtures", [TELLS, {}], ids=["scripted", "default"])
def test_usage_grows_with_a_stream_while_input_tokens_stay(
    serve: Serve, connect: Connect, fixtures: dict[str, object]
) -> None:
    messages = connect(serve(fixtures)).complete(asking("Расскажи сказку", stream=True)).messages
    usages = [message.usage for message in messages]
    assert {usage.input_text_tokens for usage in usages} == {usages[0].input_text_tokens}
    assert usages[0].input_text_tokens > 0
    counts = [usage.completion_tokens for usage in usages]
    assert counts == sorted(set(counts))
    assert all(usage.total_tokens == usage.input_text_tokens + usage.completion_tokens for usage in usages)
    assert len({message.model_version for message in messages}) == 1


def test_the_end_of_a_stream_is_what_the_call_without_stream_says(serve: Serve, connect: Connect) -> None:
    client = connect(serve(TELLS))
    streamed = client.complete(asking("Расскажи сказку", stream=True)).messages[-1]
    assert streamed == client.complete(asking("Расскажи сказку")).only


@pytest.mark.parametrize("stream", [False, True])
def test_max_tokens_truncates_the_text_and_says_so(serve: Serve, connect: Connect, stream: bool) -> None:
    client = connect(serve(TELLS))
    whole = texts(client.complete(asking("Расскажи сказку")).messages)[-1]
    last = client.complete(asking("Расскажи сказку", stream=stream, max_tokens=20)).messages[-1]
    assert status_name(last) == "TRUNCATED_FINAL"
    assert last.usage.completion_tokens == 20
    cut = texts([last])[0]
    assert whole.startswith(cut)
    assert 0 < len(cut) < len(whole)


def test_max_tokens_that_suffice_leave_the_text_alone(serve: Serve, connect: Connect) -> None:
    message = connect(serve({"rules": [{"reply": {"text": "Да."}}]})).complete(asking("Кот?", max_tokens=2000)).only
    assert (texts([message]), status_name(message)) == (["Да."], "FINAL")


def test_a_client_that_leaves_ends_the_work_at_once(serve: Serve, connect: Connect) -> None:
    emulator = serve(STALLS)
    call = connect(emulator).begin(PATH, asking("Расскажи сказку", stream=True))
    next(call)
    next(call)
    (entry,) = emulator.sessions.default.journal
    assert entry.code is None
    call.cancel()
    assert eventually(lambda: entry.code) == "CANCELLED"
    assert entry.sent == 2


def test_a_client_that_leaves_before_the_first_message_ends_the_work_too(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"reply": {"text": "поздно", "delay": "1h"}}]})
    call = connect(emulator).begin(PATH, asking("Быстрее"))
    (entry,) = eventually(lambda: list(emulator.sessions.default.journal))
    call.cancel()
    assert eventually(lambda: entry.code) == "CANCELLED"
    assert entry.sent == 0


def test_a_deadline_that_passes_ends_the_work_and_is_named_in_the_journal(serve: Serve, connect: Connect) -> None:
    emulator = serve(STALLS)
    reply = connect(emulator).call(PATH, asking("Расскажи сказку", stream=True), timeout=0.3)
    assert reply.code == "DEADLINE_EXCEEDED"
    assert len(reply.messages) == 2
    (entry,) = emulator.sessions.default.journal
    assert eventually(lambda: entry.code) == "DEADLINE_EXCEEDED"


def test_a_stream_that_breaks_off_keeps_what_it_has_sent(serve: Serve, connect: Connect) -> None:
    broken = {"chunks": 5, "stop": {"after": 2, "error": {"code": "UNAVAILABLE", "message": "обрыв"}}}
    client = connect(serve({"rules": [{"reply": {"text": STORY, "stream": broken}}]}))
    reply = client.complete(asking("Расскажи сказку", stream=True))
    assert (reply.code, reply.text) == ("UNAVAILABLE", "обрыв")
    assert [status_name(m) for m in reply.messages] == ["PARTIAL", "PARTIAL"]
    at_once = client.complete(asking("Расскажи сказку"))
    assert (at_once.code, at_once.messages) == ("UNAVAILABLE", [])


def test_tool_calls_come_in_one_message_even_when_streamed(serve: Serve, connect: Connect) -> None:
    calling = {"tool_calls": [{"weather": {"city": "Москва", "days": 3}}, "clock"]}
    client = connect(serve({"rules": [{"reply": calling}]}))
    message = client.complete(asking("Погода и время", stream=True)).only
    assert status_name(message) == "TOOL_CALLS"
    assert message.alternatives[0].message.WhichOneof("Content") == "tool_call_list"
    calls = [call.function_call for call in message.alternatives[0].message.tool_call_list.tool_calls]
    assert [call.name for call in calls] == ["weather", "clock"]
    assert dict(calls[0].arguments.items()) == {"city": "Москва", "days": 3.0}


def test_a_request_with_fields_of_a_newer_api_is_served(serve: Serve, connect: Connect) -> None:
    newer = asking("Привет").SerializeToString() + bytes([0xFA, 0x3E, 3]) + b"new" + bytes([0xC8, 0x3F, 7])
    assert connect(serve(TELLS)).complete(newer).code == "OK"


def test_a_request_with_an_enum_number_of_a_newer_api_is_served(serve: Serve, connect: Connect) -> None:
    request = asking("Привет", tool_choice={"mode": 77})
    request.completion_options.reasoning_options.mode = 99
    for fixtures in (TELLS, {}, {"rules": [{"when": {"tool_choice": "REQUIRED"}, "reply": {"text": "нет"}}]}):
        assert connect(serve(fixtures)).complete(request).code == "OK"


# -- streams whose end is told apart from their last message only once they are under way

LINE = {"text": "раз два три", "stream": {"words": 1}}
PAUSING = {"text": "раз два три", "stream": {"words": 1, "stall": {"after": 3, "for": "50ms"}}}


def meanwhile(e: Emulator, client: Client, **rule: Any) -> Reply:
    """What a stream gets that waits for the clock while a rule is laid over those that were there."""
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.complete, asking("x", stream=True))
        eventually(lambda: e.clock.sleepers)
        e.rule(**rule)
        e.clock.advance("2h")
        return waiting.result()


def test_a_pause_after_the_last_message_may_come_while_a_call_waits(serve: Serve, connect: Connect) -> None:
    e = serve({"rules": [{"reply": LINE}], "chaos": {"delay": "1h"}}, frozen=True)
    reply = meanwhile(e, connect(e), reply=PAUSING)
    assert (reply.code, len(reply.messages)) == ("OK", 3)


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_stream_may_be_cut_short_by_a_rule_that_comes_while_it_waits(
    serve: Serve, connect: Connect, after: int
) -> None:
    e = serve({"rules": [{"reply": LINE}], "chaos": {"delay": "1h"}}, frozen=True)
    reply = meanwhile(e, connect(e), reply=LINE, chaos={"truncate": True, "after": after})
    assert len(reply.messages) == after
    # gRPC can't make nothing of what began as a call with one message, and grpc.aio is told of nothing else by then.
    assert reply.code == "OK" or (after == 0 and reply.code == "UNAVAILABLE")


def test_a_stream_that_pauses_is_repeated_by_its_key_where_its_rule_never_was(serve: Serve, connect: Connect) -> None:
    key = [("idempotency-key", "k")]
    first, second = serve({"rules": [{"reply": LINE}]}), serve({"rules": [{"reply": LINE}]})
    first.rule(reply=PAUSING)
    was = connect(first).complete(asking("x", stream=True), metadata=key)
    first.reset("rules")
    second.restore(first.snapshot())
    again = connect(second).complete(asking("x", stream=True), metadata=key)
    assert (again.code, again.messages) == (was.code, was.messages)
    assert len(again.messages) == 3
