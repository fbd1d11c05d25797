"""Chaos over a socket: each fault as a client sees it, and what it leaves alone."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import Emulator
from emulator.api import (
    METHODS,
    BatchCompletionRequest,
    ErrorInfo,
    GetOperationRequest,
    RetryInfo,
)
from emulator.errors import UsageError
from emulator.transport.connections import drop

from .client import (
    DATASET,
    STORED,
    Client,
    Reply,
    asking,
    classifying,
    drawing,
    embedding,
    eventually,
    path,
    tokenizing,
)
from .control import Controller

if TYPE_CHECKING:
    from conftest import Connect, Serve

ASYNC = "TextGenerationAsyncService/Completion"
GET = "OperationService/Get"
LIST = "DatasetService/List"
LINE = {"text": "раз два три четыре пять", "stream": {"words": 1}}
RULES: dict[str, Any] = {"rules": [{"name": "line", "reply": LINE}]}


def having(*faults: dict[str, Any]) -> dict[str, Any]:
    return {**RULES, "chaos": list(faults)}


def codes(client: Client, n: int, **more: Any) -> list[str]:
    return [client.complete(asking("x"), **more).code for _ in range(n)]


def streamed(client: Client, **more: Any) -> Reply:
    return client.complete(asking("x", stream=True), **more)


def texts(reply: Reply) -> list[str]:
    return [message.alternatives[0].message.text for message in reply.messages]


def final(reply: Reply) -> bool:
    return bool(reply.messages) and reply.messages[-1].alternatives[0].status == 3


# -- what a client sees


def test_a_call_fails_as_one_of_the_real_service_does(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"error": "UNAVAILABLE"})))
    reply = client.complete(asking("x"))
    assert (reply.code, reply.text) == ("UNAVAILABLE", "Service is temporarily unavailable, try again later")
    assert reply.messages == []
    assert reply.headers["x-request-id"] == reply.trailers["x-request-id"]


def test_an_error_has_the_message_and_details_that_are_scripted(serve: Serve, connect: Connect) -> None:
    error = {
        "code": "RESOURCE_EXHAUSTED",
        "message": "стоп {{ нет }}",
        "retry_after": "2s",
        "details": {"ErrorInfo": {"reason": "BUSY"}},
    }
    reply = connect(serve(having({"error": error}))).complete(asking("x"))
    assert (reply.code, reply.text) == ("RESOURCE_EXHAUSTED", "стоп {{ нет }}")
    found = {detail.TypeName(): detail.value for detail in reply.status.details}
    assert RetryInfo.FromString(found["google.rpc.RetryInfo"]).retry_delay.seconds == 2
    assert ErrorInfo.FromString(found["google.rpc.ErrorInfo"]).reason == "BUSY"


def test_the_first_so_many_fail_and_then_none(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"first": 2, "error": "INTERNAL"})))
    assert codes(client, 4) == ["INTERNAL", "INTERNAL", "OK", "OK"]


def test_a_mix_of_codes_comes_from_the_seed(serve: Serve, connect: Connect) -> None:
    fault = {"share": 0.5, "error": ["UNAVAILABLE", {"code": "RESOURCE_EXHAUSTED", "weight": 2}]}
    one, same, other = (codes(connect(serve(having(fault), seed=seed)), 30) for seed in (1, 1, 2))
    assert one == same != other
    assert set(one) == {"OK", "UNAVAILABLE", "RESOURCE_EXHAUSTED"}


def test_an_outage_lasts_from_one_instant_to_another(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"from": "10s", "until": "20s", "error": "UNAVAILABLE"}), frozen=True)
    client, found = connect(emulator), []
    for _ in range(4):
        found += codes(client, 1)
        emulator.clock.advance("9999ms" if len(found) == 1 else "1ms" if len(found) == 2 else "10s")
    assert found == ["OK", "OK", "UNAVAILABLE", "OK"]


def test_an_outage_may_be_given_by_the_time_of_day(serve: Serve, connect: Connect) -> None:
    outage = {"from": "2026-01-31T12:00:00Z", "until": "2026-01-31T12:05:00Z", "error": "UNAVAILABLE"}
    emulator = serve(having(outage), frozen=True, now="2026-01-31T11:59:59Z")
    client = connect(emulator)
    assert codes(client, 1) == ["OK"]
    emulator.clock.advance("1s")
    assert codes(client, 1) == ["UNAVAILABLE"]
    emulator.clock.advance("5m")
    assert codes(client, 1) == ["OK"]


def test_a_delay_is_one_of_the_sessions_clock(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"delay": {"p50": "1h", "p95": "3h"}}), frozen=True, seed=4)
    client = connect(emulator)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(client.complete, asking("x"))
        emulator.clock.wait_for_sleepers(1)
        emulator.clock.advance("2d")
        assert reply.result().code == "OK"
    (call,) = emulator.calls()
    waited = (call.sent_at[0] - call.began_at).total_seconds()
    assert 600 < waited < 24 * 3600
    assert call.faults == (f"fixtures[1] chaos[0]: {waited:.4g} s later",)


def test_delays_add_up_and_an_error_comes_after_them(serve: Serve, connect: Connect) -> None:
    slow, slower = {"name": "slow", "delay": "1s"}, {"name": "slower", "delay": "2s"}
    emulator = serve(having(slow, slower, {"name": "down", "error": "ABORTED"}), frozen=True)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(connect(emulator).complete, asking("x"))
        emulator.clock.wait_for_sleepers(1)
        emulator.clock.advance("2999ms")
        assert not reply.done()
        emulator.clock.advance("1ms")
        assert reply.result().code == "ABORTED"
    (call,) = emulator.calls()
    assert call.faults == ("slow and slower and down: 3 s later, ABORTED",)


def test_a_call_that_is_never_answered_ends_at_the_clients_deadline(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"stall": "forever"}))
    assert connect(emulator).complete(asking("x"), timeout=0.3).code == "DEADLINE_EXCEEDED"
    eventually(lambda: emulator.calls()[0].code == "DEADLINE_EXCEEDED")


def test_a_stream_is_cut_with_a_status(serve: Serve, connect: Connect) -> None:
    reply = streamed(connect(serve(having({"after": 2, "error": "INTERNAL"}))))
    assert (reply.code, texts(reply)) == ("INTERNAL", ["раз", "раз два"])


def test_a_stream_is_truncated_without_a_final_message(serve: Serve, connect: Connect) -> None:
    reply = streamed(connect(serve(having({"after": 2, "truncate": True}))))
    assert (reply.code, texts(reply)) == ("OK", ["раз", "раз два"])
    assert not final(reply)


def test_a_stream_stalls_and_goes_on(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"after": 2, "stall": "1h"}), frozen=True)
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(streamed, connect(emulator))
        emulator.clock.wait_for_sleepers(1)
        assert emulator.calls()[0].entry.sent == 2
        emulator.clock.advance("1h")
        assert final(reply.result())
    (call,) = emulator.calls()
    offsets = [(at - call.began_at).total_seconds() for at in call.sent_at]
    assert offsets == [0, 0, 3600, 3600, 3600]


def test_a_stream_stalls_for_ever(serve: Serve, connect: Connect) -> None:
    reply = streamed(connect(serve(having({"after": 2, "stall": "forever"}))), timeout=0.5)
    assert (reply.code, texts(reply)) == ("DEADLINE_EXCEEDED", ["раз", "раз два"])


def test_a_stream_that_is_too_short_is_struck_before_its_end(serve: Serve, connect: Connect) -> None:
    reply = streamed(connect(serve(having({"after": 100, "error": "INTERNAL"}))))
    assert (reply.code, len(reply.messages)) == ("INTERNAL", 4)


def test_anywhere_is_a_place_drawn_for_each_stream(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"truncate": True})))
    lengths = [len(streamed(client).messages) for _ in range(30)]
    assert set(lengths) == {0, 1, 2, 3, 4}


def test_faults_of_streams_leave_other_calls_alone_and_don_t_count_them(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"first": 1, "after": 2, "error": "INTERNAL"})))
    assert codes(client, 2) == ["OK", "OK"]
    assert client.call(ASYNC, asking("x", stream=True)).code == "OK"
    assert [streamed(client).code for _ in range(2)] == ["INTERNAL", "OK"]


def comes_back(client: Client) -> None:
    """A call goes well: the first may be put on the connection that is gone, before the client has noticed."""
    eventually(lambda: codes(client, 1) == ["OK"])


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_connection_is_dropped_and_the_client_comes_back(serve: Serve, host: str) -> None:
    emulator = serve(having({"first": 1, "drop": True}))
    target = f"[{host}]:{emulator.port}" if ":" in host else f"{host}:{emulator.port}"
    with Client(target) as client:
        dropped = client.complete(asking("x"))
        assert dropped.code == "UNAVAILABLE"
        assert "x-request-id" not in dropped.headers | dropped.trailers  # the server has told nothing
        comes_back(client)
    first, second = emulator.calls()
    assert (first.code, first.message) == ("UNAVAILABLE", "the connection was dropped")
    assert first.entry.peer != second.entry.peer


def test_a_connection_that_is_dropped_takes_its_other_calls_with_it(serve: Serve, connect: Connect) -> None:
    when = {"metadata": {"x-job": "drop"}}
    emulator = serve({"rules": [{"reply": {**LINE, "delay": "1h"}}], "chaos": {"when": when, "drop": True}})
    client = connect(emulator)
    waiting = client.begin("TextGenerationService/Completion", asking("x"))
    emulator.clock.wait_for_sleepers(1)
    assert client.complete(asking("x"), metadata=[("x-job", "drop")]).code == "UNAVAILABLE"
    with pytest.raises(grpc.RpcError):
        next(waiting)
    assert waiting.code().name == "UNAVAILABLE"


def test_a_connection_with_tls_is_dropped_too(serve: Serve) -> None:
    emulator = serve(having({"first": 1, "drop": True}), tls=True)
    assert emulator.ca is not None
    with Client(emulator.target) as client:
        client.channel.close()
        credentials = grpc.ssl_channel_credentials(emulator.ca.read_bytes())
        client.channel = grpc.secure_channel(str(emulator.tls_target), credentials)
        assert codes(client, 1) == ["UNAVAILABLE"]
        comes_back(client)
    assert [call.code for call in emulator.calls()] == ["UNAVAILABLE", "OK"]


def test_connections_that_are_dropped_leave_no_descriptor_behind(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"drop": True}))
    client = connect(emulator)
    assert codes(client, 2) == ["UNAVAILABLE"] * 2
    emulator.chaos()
    comes_back(client)
    before = len(os.listdir("/dev/fd"))
    with emulator.chaos({"drop": True}):
        assert set(codes(client, 30)) == {"UNAVAILABLE"}
    eventually(lambda: codes(client, 1) == ["OK"] and len(os.listdir("/dev/fd")) <= before + 2)


@pytest.mark.parametrize("peer", ["unix:/tmp/x", "ipv4:127.0.0.1:1", "ipv6:%5B::1%5D:1", "", "ipv4:x"])
def test_a_connection_that_is_not_ours_is_left_alone(peer: str) -> None:
    assert not drop(peer)


@pytest.mark.grpc_aio(reason="the native engine has the connection at hand")
def test_a_connection_that_can_not_be_found_ends_the_call_alone(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("emulator.transport.connections._OPEN", "/nowhere")
    reply = connect(serve(having({"drop": True}))).complete(asking("x"))
    assert (reply.code, reply.text) == ("UNAVAILABLE", "the connection was dropped")
    assert "could not be dropped here" in caplog.text


def test_a_connection_is_dropped_in_the_middle_of_a_stream(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"after": 3, "drop": True}))
    reply = streamed(connect(emulator))
    assert reply.code == "UNAVAILABLE"
    assert len(reply.messages) <= 3
    assert emulator.calls()[0].entry.sent == 3
    assert emulator.calls()[0].faults == ("fixtures[1] chaos[0]: connection dropped after 3 messages",)


# -- which calls


def test_every_call_can_be_struck(serve: Serve, connect: Connect) -> None:
    client = connect(serve({**STORED, "chaos": {"error": "UNAVAILABLE"}}))
    batch = BatchCompletionRequest(model_uri="gpt://b1gtest/yandexgpt", source_dataset_id=DATASET)
    for method, request in (
        ("TextGenerationService/Completion", asking("x")),
        (ASYNC, asking("x")),
        ("TextGenerationBatchService/Completion", batch),
        ("ImageGenerationAsyncService/Generate", drawing()),
        ("TokenizerService/Tokenize", tokenizing()),
        ("TokenizerService/TokenizeCompletion", asking("x")),
        ("EmbeddingsService/TextEmbedding", embedding()),
        ("TextClassificationService/Classify", classifying()),
        (GET, GetOperationRequest(operation_id="fbv00000000000000000")),
        ("OperationService/Cancel", GetOperationRequest(operation_id="fbv00000000000000000")),
        (LIST, METHODS[path(LIST)].input(folder_id="b1gtest")),
    ):
        assert client.call(method, request).code == "UNAVAILABLE", method


def test_health_discovery_and_the_control_api_are_never_struck(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"error": "UNAVAILABLE"})))
    assert client.call("ApiEndpointService/List", b"").code == "OK"
    assert client.call("/grpc.health.v1.Health/Check", b"").code == "OK"
    assert Controller(client).do("ListRules").rules


def test_a_fault_may_be_for_some_calls_alone(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"call": ["tokenize", "operations"], "error": "UNAVAILABLE"})))
    assert client.call("TokenizerService/Tokenize", tokenizing()).code == "UNAVAILABLE"
    operation = client.call(ASYNC, asking("x")).only
    assert client.call(GET, GetOperationRequest(operation_id=operation.id)).code == "UNAVAILABLE"
    assert codes(client, 1) == ["OK"]


def test_conditions_are_those_of_rules(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"when": {"question": {"contains": "беда"}}, "error": "UNAVAILABLE"})))
    assert client.complete(asking("Беда!")).code == "UNAVAILABLE"
    assert client.complete(asking("Радость!")).code == "OK"
    assert client.call("TokenizerService/Tokenize", tokenizing("беда")).code == "OK"


def test_metadata_tells_of_calls_that_rules_don_t_answer_as_well(serve: Serve, connect: Connect) -> None:
    fault = {"when": {"any": [{"metadata": {"x-job": "7"}}, {"attempt": 2}]}, "error": "UNAVAILABLE"}
    client = connect(serve(having(fault)))
    operation = client.call(ASYNC, asking("x")).only
    get = GetOperationRequest(operation_id=operation.id)
    assert client.call(GET, get, [("x-job", "7")]).code == "UNAVAILABLE"
    assert client.call(GET, get, [("x-retry-attempt", "1")]).code == "UNAVAILABLE"
    assert client.call(GET, get).code == "OK"


def test_a_scenario_can_begin_and_end_an_outage(serve: Serve, connect: Connect) -> None:
    rules = [{"when": {"question": "дождь"}, "reply": {"text": "да"}, "then": {"state": {"weather": "storm"}}}]
    fault = {"when": {"state": {"weather": "storm"}}, "error": "UNAVAILABLE"}
    client = connect(serve({"rules": rules, "chaos": fault}))
    assert codes(client, 1) == ["OK"]
    client.complete(asking("дождь"))
    assert codes(client, 1) == ["UNAVAILABLE"]


@pytest.mark.parametrize("per", ["idempotency-key", "question", "request", "folder"])
def test_the_first_so_many_of_each_key(serve: Serve, connect: Connect, per: str) -> None:
    client = connect(serve(having({"first": 1, "per": per, "error": "UNAVAILABLE"})))

    def ask(which: str) -> str:
        request = asking(which, model=f"gpt://{which}/yandexgpt/latest")
        return client.complete(request, metadata=[("idempotency-key", which)]).code

    assert [ask(which) for which in ("a", "b", "a", "b")] == ["UNAVAILABLE", "UNAVAILABLE", "OK", "OK"]


def test_keys_that_are_counted_apart_are_bounded(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.gates.fault.MOST_KEYS", 4)
    emulator = serve(having({"first": 1, "per": "question", "error": "ABORTED"}))
    client = connect(emulator)
    found = [client.complete(asking(question)).code for question in ("a", "b", "c", "d", "d", "e", "e", "d", "a")]
    assert found == ["ABORTED"] * 4 + ["OK", "ABORTED", "OK", "OK", "ABORTED"]
    for n in range(50):
        client.complete(asking(str(n)))
    assert len(emulator.sessions.default.state.met) <= 6


def test_what_sequences_count_by_takes_no_fault_its_count(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.engine.choose.MOST_COUNTED", 3)
    counts = {"replies": [{"text": "раз"}, {"text": "два"}], "per": "question"}
    fault = {"first": 1, "error": "ABORTED", "when": {"metadata": {"x": "1"}}}
    client = connect(serve({"rules": [counts], "chaos": fault}))
    met = [client.complete(asking("x"), metadata=[("x", "1")]).code]
    for n in range(5):
        client.complete(asking(str(n)))
    met.append(client.complete(asking("x"), metadata=[("x", "1")]).code)
    assert met == ["ABORTED", "OK"]


def test_a_snapshot_keeps_how_many_calls_a_fault_has_met(serve: Serve, connect: Connect) -> None:
    faulty = having({"first": 2, "error": "ABORTED"})
    first, second = serve(faulty), serve(faulty)
    assert codes(connect(first), 1) == ["ABORTED"]
    second.restore(first.snapshot())
    assert codes(connect(second), 2) == ["ABORTED", "OK"]


# -- by rule


def test_a_rules_own_faults_go_by_how_often_it_was_chosen(serve: Serve, connect: Connect) -> None:
    rules = [
        {"name": "flaky", "when": {"question": "a"}, "reply": LINE, "chaos": {"first": 2, "error": "UNAVAILABLE"}},
        {"reply": {"text": "other"}},
    ]
    emulator = serve({"rules": rules})
    client = connect(emulator)
    found = [client.complete(asking(question)).code for question in ("a", "b", "a", "b", "a")]
    assert found == ["UNAVAILABLE", "OK", "UNAVAILABLE", "OK", "OK"]
    first = emulator.calls()[0]
    assert (first.rule, first.faults) == ("flaky", ("fixtures[1] rules[0].chaos: UNAVAILABLE",))
    assert len(emulator.calls(rule="flaky")) == 3


def test_a_rule_may_be_nothing_but_its_faults(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"chaos": [{"delay": "1ms"}, {"first": 1, "error": "ABORTED"}]}]}))
    assert codes(client, 2) == ["ABORTED", "OK"]


def test_a_rules_faults_of_streams(serve: Serve, connect: Connect) -> None:
    rule = {"reply": LINE, "chaos": {"after": 1, "error": "INTERNAL", "delay": "1ms"}}
    client = connect(serve({"rules": [rule]}))
    assert texts(streamed(client)) == ["раз"]
    assert codes(client, 1) == ["OK"]


def test_an_operation_does_not_begin_where_its_call_fails(serve: Serve, connect: Connect) -> None:
    rule = {"reply": {"text": "Готово."}, "chaos": {"first": 1, "error": "UNAVAILABLE"}}
    emulator = serve({"rules": [rule]})
    client = connect(emulator)
    assert client.call(ASYNC, asking("x")).code == "UNAVAILABLE"
    assert emulator.operations.list() == []
    assert client.call(ASYNC, asking("x")).code == "OK"


def test_a_scripted_error_comes_before_a_fault_of_its_stream(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"reply": {"error": "NOT_FOUND"}, "chaos": {"after": 1, "drop": True}}]}))
    assert streamed(client).code == "NOT_FOUND"


# -- what it leaves alone


def test_no_rule_is_asked_about_a_call_that_fails(serve: Serve, connect: Connect) -> None:
    rules = [{"name": "one", "reply": {"text": "a"}, "times": 1, "expect": 1}]
    emulator = serve({"rules": rules, "chaos": {"first": 3, "error": "UNAVAILABLE"}}, strict=True)
    assert codes(connect(emulator), 4) == ["UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE", "OK"]
    assert emulator.calls(unmatched=True) == []
    emulator.verify()


def test_a_client_that_leaves_a_struck_stream_has_left_nothing_unread(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"after": 2, "stall": "forever"}))
    stream = connect(emulator).begin("TextGenerationService/Completion", asking("x", stream=True))
    next(stream)
    stream.cancel()
    eventually(lambda: emulator.calls()[0].code == "CANCELLED")
    emulator.verify("unread")


def test_a_get_that_fails_is_no_poll(serve: Serve, connect: Connect) -> None:
    rules = [{"call": "completion_async", "reply": {"text": "a"}, "operation": {"done_after_polls": 1}}]
    client = connect(serve({"rules": rules, "chaos": {"call": "operations", "first": 2, "error": "UNAVAILABLE"}}))
    get = GetOperationRequest(operation_id=client.call(ASYNC, asking("x")).only.id)
    assert [client.call(GET, get).code for _ in range(2)] == ["UNAVAILABLE", "UNAVAILABLE"]
    assert client.call(GET, get).only.done


def test_a_reply_that_failed_is_not_remembered_by_its_key(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"first": 1, "error": "UNAVAILABLE"}, {"first": 1, "truncate": True})))
    key = [("idempotency-key", "k")]
    found = [client.complete(asking("x", stream=True), metadata=key) for _ in range(3)]
    assert [(reply.code, final(reply)) for reply in found] == [("UNAVAILABLE", False), ("OK", True), ("OK", True)]


def test_a_truncated_reply_is_not_remembered_and_a_stall_not_repeated(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"first": 1, "truncate": True})))
    key = [("idempotency-key", "k")]
    assert [final(client.complete(asking("x", stream=True), metadata=key)) for _ in range(2)] == [False, True]
    emulator = serve(having({"after": 1, "stall": "1h"}), speed=1_000_000)
    client = connect(emulator)
    assert all(final(client.complete(asking("x", stream=True), metadata=key)) for _ in range(2))
    first, second = emulator.calls()
    assert (first.sent_at[-1] - first.sent_at[0]).total_seconds() == 3600
    assert second.sent_at[-1] == second.sent_at[0]


def test_a_call_that_fails_has_counted_for_its_quota(serve: Serve, connect: Connect) -> None:
    fixtures = {"quotas": {"limits": [{"call": "completion", "per_hour": 1}]}, "chaos": {"error": "ABORTED"}}
    client = connect(serve(fixtures, frozen=True))
    assert codes(client, 2) == ["ABORTED", "RESOURCE_EXHAUSTED"]


def test_what_is_refused_before_is_not_concerned(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"first": 1, "error": "UNAVAILABLE"})))
    assert client.complete(asking("x", model="nonsense")).code == "INVALID_ARGUMENT"
    assert codes(client, 2) == ["UNAVAILABLE", "OK"]


# -- the same again

SOME = having(
    {"share": 0.4, "error": ["UNAVAILABLE", "INTERNAL"]}, {"call": "tokenize", "share": 0.5, "error": "ABORTED"}
)
calls = st.lists(st.sampled_from(["complete", "tokenize"]), max_size=12)


others = st.lists(st.tuples(st.integers(0, 12), st.sampled_from(["a", "b"])), max_size=8)


@pytest.fixture(scope="module")
def two() -> Iterator[tuple[Client, Client]]:
    """Clients of two emulators that are alike."""
    with Emulator(SOME) as one, Emulator(SOME) as other, Client(one.target) as first, Client(other.target) as second:
        yield first, second


@settings(max_examples=25, deadline=None)
@given(calls, others)
def test_the_same_calls_meet_the_same_faults_whatever_other_sessions_do(
    two: tuple[Client, Client], taken: list[str], others: list[tuple[int, str]]
) -> None:
    for client in two:
        for session in ("job", "a", "b"):
            Controller(client, session).do("Reset")
    busy, quiet = two
    wanted = [_code(quiet, call, "job") for call in taken]
    found = []
    for n, call in enumerate(taken):
        for at, session in others:
            if at == n:
                _code(busy, "complete", session)
        found.append(_code(busy, call, "job"))
    assert found == wanted


def _code(client: Client, call: str, session: str) -> str:
    metadata = [("x-emulator-session", session)]
    if call == "complete":
        return client.complete(asking("x"), metadata=metadata).code
    return client.call("TokenizerService/Tokenize", tokenizing(), metadata).code


@settings(max_examples=15, deadline=None)
@given(st.permutations(["раз", "два", "три", "раз", "два", "раз"]))
def test_counted_by_question_the_order_between_questions_does_not_matter(by_question: Client, asked: list[str]) -> None:
    Controller(by_question).do("Reset")
    found: dict[str, list[str]] = {}
    for question in asked:
        found.setdefault(question, []).append(by_question.complete(asking(question)).code)
    assert found == {question: BY_QUESTION[question][: len(met)] for question, met in found.items()}


BY_QUESTION: dict[str, list[str]] = {}


@pytest.fixture(scope="module")
def by_question() -> Iterator[Client]:
    """A client of an emulator whose faults are counted by question; what they do is in `BY_QUESTION`."""
    fault = {"share": 0.5, "per": "question", "error": ["UNAVAILABLE", "INTERNAL"]}
    with Emulator(having(fault), seed=3) as emulator, Client(emulator.target) as client:
        for question in ("раз", "два", "три"):
            BY_QUESTION[question] = [client.complete(asking(question)).code for _ in range(3)]
        assert len(set(map(tuple, BY_QUESTION.values()))) == 3
        yield client


def test_sessions_have_faults_of_their_own(serve: Serve, connect: Connect) -> None:
    client = connect(serve(having({"share": 0.5, "error": "UNAVAILABLE"})))
    found = [codes(client, 20, metadata=[("x-emulator-session", name)]) for name in ("a", "b")]
    assert found[0] != found[1]


def test_counters_are_in_snapshots_and_reset_with_counters(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"first": 2, "error": "UNAVAILABLE"}))
    client = connect(emulator)
    assert codes(client, 1) == ["UNAVAILABLE"]
    snapshot = emulator.snapshot()
    assert codes(client, 2) == ["UNAVAILABLE", "OK"]
    emulator.restore(snapshot)
    assert codes(client, 2) == ["UNAVAILABLE", "OK"]
    emulator.reset("journal")
    assert codes(client, 1) == ["OK"]
    emulator.reset("counters")
    assert codes(client, 3) == ["UNAVAILABLE", "UNAVAILABLE", "OK"]


def test_the_option_is_in_snapshots_too(serve: Serve, connect: Connect) -> None:
    failing, quiet = serve(chaos=1.0), serve()
    quiet.restore(failing.snapshot())
    assert codes(connect(quiet), 1) == ["UNAVAILABLE"]
    quiet.reset()
    assert codes(connect(quiet), 1) == ["OK"]


# -- from outside


def test_the_option_fails_a_share_where_the_fixtures_say_nothing(serve: Serve, connect: Connect) -> None:
    found = codes(connect(serve(chaos=0.5)), 40)
    assert set(found) == {"OK", "UNAVAILABLE"}
    assert set(codes(connect(serve({"chaos": []}, chaos=1)), 3)) == {"OK"}
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(UsageError, match=r"chaos: .* give a number from 0 to 1"):
            serve(chaos=wrong)


def test_chaos_from_python_comes_and_goes(serve: Serve, connect: Connect) -> None:
    emulator = serve(having({"error": "ABORTED"}))
    client = connect(emulator)
    with emulator.chaos({"error": "INTERNAL", "first": 1}):
        assert codes(client, 2) == ["INTERNAL", "OK"]
    assert codes(client, 1) == ["ABORTED"]
    with emulator.chaos():
        assert codes(client, 1) == ["OK"]
    emulator.chaos()
    emulator.rule(reply="a", chaos={"error": "UNKNOWN"})
    assert codes(client, 1) == ["UNKNOWN"]


def test_the_log_tells_what_struck_a_call(serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "emulator.calls")
    assert codes(connect(serve(having({"name": "storm", "error": "ABORTED"}))), 1) == ["ABORTED"]
    eventually(lambda: "c1 chaos: storm: ABORTED" in caplog.messages)


def test_the_control_api_brings_it_and_tells_of_it(serve: Serve, connect: Connect) -> None:
    client = connect(serve(RULES))
    control = Controller(client)
    raw = json.dumps({"chaos": {"name": "storm", "error": "UNAVAILABLE"}}).encode()
    layer = control.do("AddRules", fixtures={"files": {"storm.yaml": raw}}).layer_id
    assert codes(client, 1) == ["UNAVAILABLE"]
    (call,) = control.do("ListCalls").calls
    assert (list(call.faults), call.rule, call.unmatched) == (["storm: UNAVAILABLE"], "", False)
    told = control.do("Explain", call_id=call.id).text
    assert "chaos: storm: UNAVAILABLE" in told
    assert "struck before any rule was asked" in told
    control.do("RemoveRules", layer_id=layer)
    assert codes(client, 1) == ["OK"]
