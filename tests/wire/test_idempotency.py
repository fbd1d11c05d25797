"""Idempotency over a socket: the same key and the same request get the same reply, whenever they come."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from emulator import Emulator
from emulator import idempotency as module
from emulator.api import METHODS, BatchCompletionRequest, CompletionRequest, GetOperationRequest
from emulator.calls import CALLS_BY_METHOD
from emulator.clock import SECOND, Clock
from emulator.errors import UsageError
from emulator.gates.idempotency import REMEMBERED
from emulator.idempotency import Idempotency
from emulator.idempotency import Reply as Remembered

from .client import DATASET, MODEL, STORED, Client, Reply, asking, drawing, eventually
from .control import Controller
from .datasets import Datasets

if TYPE_CHECKING:
    from conftest import Connect, Serve

ASYNC = "TextGenerationAsyncService/Completion"
BATCH = "TextGenerationBatchService/Completion"
IMAGE = "ImageGenerationAsyncService/Generate"
SYNC = "TextGenerationService/Completion"
IDS = ("x-request-id", "x-server-trace-id", "date")


def keyed(key: str = "k", *more: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    return (("idempotency-key", key), *more)


def raw(reply: Reply) -> list[bytes]:
    assert reply.code == "OK", reply.text
    return [message.SerializeToString(deterministic=True) for message in reply.messages]


def started(work: Callable[[], Any]) -> Future[Any]:
    """`work` in a thread of its own."""
    pool = ThreadPoolExecutor(1)
    future = pool.submit(work)
    pool.shutdown(wait=False)
    return future


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        (ASYNC, asking("?")),
        (IMAGE, drawing("?")),
        (BATCH, BatchCompletionRequest(model_uri=MODEL, source_dataset_id=DATASET)),
    ],
    ids=["async", "image", "batch"],
)
def test_the_same_create_twice_makes_one_operation(serve: Serve, connect: Connect, method: str, request_: Any) -> None:
    emulator = serve(STORED, frozen=True)
    client = connect(emulator)
    first = client.call(method, request_, keyed())
    emulator.clock.advance("10m")
    second = client.call(method, request_, keyed())
    assert raw(first) == raw(second)
    assert len(emulator.operations.list()) == 1
    assert client.operation(second.only.id).done
    other = client.call(method, request_, keyed("another"))
    assert other.only.id != first.only.id


def test_a_completion_is_the_same_and_no_rule_is_asked_again(serve: Serve, connect: Connect) -> None:
    rules = [{"name": "счёт", "replies": [{"text": "раз"}, {"text": "два"}], "times": 2, "expect": 2}]
    emulator = serve({"rules": rules})
    client = connect(emulator)
    texts = [client.complete(asking("?"), metadata=keyed(key)).only.alternatives[0].message.text for key in "aabba"]
    assert texts == ["раз", "раз", "два", "два", "раз"]
    emulator.verify("expect", "times", "unmatched")
    assert emulator.sessions.default.state.chosen == {"счёт": 2}


def test_the_ids_are_those_of_the_new_call_and_what_was_scripted_is_as_it_was(serve: Serve, connect: Connect) -> None:
    reply = {"text": "да", "headers": {"x-n": "{{ attempt }}"}, "trailers": {"x-t": "end"}}
    client = connect(serve({"rules": [{"reply": reply}]}))
    first, second = (client.complete(asking("?"), metadata=keyed("k", ("x-retry-attempt", str(n)))) for n in range(2))
    assert raw(first) == raw(second)
    assert (second.headers["x-n"], second.trailers["x-t"]) == (first.headers["x-n"], "end") == ("1", "end")
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    assert first.headers["x-server-trace-id"] != second.headers["x-server-trace-id"]


def test_a_stream_is_played_again_in_the_same_chunks_at_the_same_pace_from_now_on(
    serve: Serve, connect: Connect
) -> None:
    stream = {"words": 2, "first_after": {"p50": "2s", "p95": "9s"}, "every": {"p50": "1s", "p95": "3s"}}
    rules = [{"reply": {"text": "раз два три четыре пять шесть", "delay": "1m", "stream": stream}}]
    emulator = serve({"rules": rules}, frozen=True)
    client = connect(emulator)
    seen = []
    for _ in range(2):
        reading = started(lambda: client.complete(asking("?", stream=True), metadata=keyed()))
        emulator.clock.wait_for_sleepers(1)
        emulator.clock.advance("10m")
        seen.append(raw(reading.result()))
    assert len(seen[0]) == 3
    assert seen[0] == seen[1]
    first, second = emulator.calls(kind="completion")
    pace = [[at - call.began_at for at in call.sent_at] for call in (first, second)]
    assert pace[0] == pace[1]
    assert pace[0][0].total_seconds() > 60
    assert [m.SerializeToString(deterministic=True) for m in second.replies] == seen[1]


def test_a_stream_that_its_client_left_is_not_remembered(serve: Serve, connect: Connect) -> None:
    rules = [
        {
            "replies": [
                {"text": "раз два", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}},
                {"text": "три"},
            ]
        }
    ]
    emulator = serve({"rules": rules})
    client = connect(emulator)
    left = client.begin(SYNC, asking("?", stream=True), keyed())
    next(left)
    left.cancel()
    eventually(lambda: emulator.calls()[0].code == "CANCELLED")
    for _ in range(2):
        (message,) = client.complete(asking("?", stream=True), metadata=keyed()).messages
        assert message.alternatives[0].message.text == "три"


def test_a_stream_that_breaks_off_and_a_call_that_fails_are_not_remembered(serve: Serve, connect: Connect) -> None:
    rules = [
        {
            "per": "idempotency-key",
            "replies": [
                {"error": "UNAVAILABLE"},
                {"text": "раз два", "stream": {"words": 1, "stop": {"after": 1, "error": "UNAVAILABLE"}}},
                {"text": "три"},
                {"text": "никогда"},
            ],
        }
    ]
    client = connect(serve({"rules": rules}))
    seen = [client.complete(asking("?", stream=True), metadata=keyed()) for _ in range(5)]
    assert [(len(reply.messages), reply.code) for reply in seen] == [
        (0, "UNAVAILABLE"),
        (1, "UNAVAILABLE"),
        (1, "OK"),
        (1, "OK"),
        (1, "OK"),
    ]
    assert {reply.messages[0].alternatives[0].message.text for reply in seen[2:]} == {"три"}


@pytest.mark.parametrize("limits", [[], [{"call": "completion", "at_once": 1}]], ids=["at once", "behind a wait"])
@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_was_too_large_to_be_sent_is_not_remembered(
    serve: Serve, connect: Connect, stream: bool, limits: list[Any]
) -> None:
    long = {"reply": {"text": "а" * 600, "stream": {"chunks": 1}}}
    e = serve({"rules": [long], "quotas": {"limits": limits}}, max_reply=1000)
    client = connect(e)
    assert client.complete(asking("?", stream=stream), metadata=keyed()).code == "RESOURCE_EXHAUSTED"
    e.rule(reply={"text": "Короче."})
    assert client.complete(asking("?", stream=stream), metadata=keyed()).code == "OK"


def test_another_request_under_the_same_key_is_refused_and_the_first_stays(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    first = client.call(ASYNC, asking("май"), keyed())
    refused = client.call(ASYNC, asking("июнь"), keyed())
    assert (refused.code, refused.text) == (
        "INVALID_ARGUMENT",
        "idempotency-key k was used for a different request; every request needs a key of its own",
    )
    assert "its idempotency-key came with another request in c1" in emulator.calls()[1].behaviour
    assert raw(client.call(ASYNC, asking("май"), keyed())) == raw(first)
    assert len(emulator.operations.list()) == 1


def test_the_same_message_written_in_another_way_is_the_same_request(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    request = asking("?")
    plain = request.SerializeToString()
    twisted = (
        CompletionRequest(messages=request.messages).SerializeToString()
        + CompletionRequest(
            model_uri=request.model_uri, completion_options=request.completion_options
        ).SerializeToString()
    )
    assert plain != twisted
    assert raw(client.call(ASYNC, plain, keyed())) == raw(client.call(ASYNC, twisted, keyed()))


@pytest.mark.parametrize(
    "other",
    [
        keyed("k", ("authorization", "Api-Key another")),
        keyed("k", ("x-emulator-session", "job-1")),
        keyed("K"),
        (),
    ],
    ids=["credential", "session", "key", "no key"],
)
def test_who_is_another_is_not_answered_with_it(serve: Serve, connect: Connect, other: Any) -> None:
    client = connect(serve())
    first = client.call(ASYNC, asking("?"), keyed()).only.id
    assert client.call(ASYNC, asking("?"), other).only.id != first or other == keyed(
        "k", ("x-emulator-session", "job-1")
    )
    assert client.call(ASYNC, asking("?"), keyed()).only.id == first


def test_who_spells_the_same_credential_in_another_way_is_no_other(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    ids = {
        client.call(ASYNC, asking("?"), [("idempotency-key", "k"), ("authorization", spelled)]).only.id
        for spelled in ("Api-Key AQVN-one", "api-key  AQVN-one")
    }
    assert len(ids) == 1


def test_another_method_is_another_call(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    assert [client.call(method, asking("?"), keyed()).code for method in (ASYNC, SYNC)] == ["OK", "OK"]
    assert "again" not in " ".join(emulator.calls()[1].behaviour)


def test_reads_with_a_key_are_never_remembered(serve: Serve, connect: Connect) -> None:
    emulator = serve(frozen=True)
    client = connect(emulator)
    request = GetOperationRequest(operation_id=client.call(ASYNC, asking("?"), keyed()).only.id)
    assert not client.call("OperationService/Get", request, keyed()).only.done
    emulator.clock.advance("1h")
    assert client.call("OperationService/Get", request, keyed()).only.done


def test_what_is_remembered_is_what_rules_answer_and_what_changes_something() -> None:
    assert set(CALLS_BY_METHOD) <= REMEMBERED <= set(METHODS)
    reads = ("Get", "List", "Describe", "Check", "Watch")
    assert not [path for path in REMEMBERED if path.rpartition("/")[2].startswith(reads)]


@pytest.mark.parametrize(("later", "same"), [("23h59m59s", True), ("24h", False)])
def test_after_a_day_of_the_clock_it_is_forgotten(serve: Serve, connect: Connect, later: str, same: bool) -> None:
    emulator = serve(frozen=True)
    client = connect(emulator)
    first = client.call(ASYNC, asking("?"), keyed()).only.id
    emulator.clock.advance(later)
    assert (client.call(ASYNC, asking("?"), keyed()).only.id == first) is same
    assert len(emulator.operations.list()) == (1 if same else 2)


def test_a_create_whose_operation_is_gone_creates_it_anew(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    client.call(ASYNC, asking("?"), keyed())
    emulator.reset("operations")
    again = client.call(ASYNC, asking("?"), keyed()).only.id
    assert client.operation(again).id == again
    assert client.call(ASYNC, asking("?"), keyed()).only.id == again


def test_a_dataset_that_is_gone_is_created_anew(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    datasets = Datasets(emulator, connect(emulator), keyed())
    first = datasets.create()
    assert datasets.create() == first
    emulator.reset("datasets")
    again = datasets.create()
    assert datasets.ask("Describe", dataset_id=again).dataset.dataset_id == again
    assert datasets.create() == again


# -- duplicates at once


def test_twenty_duplicates_at_once_make_one_operation(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"call": "completion_async", "reply": {"text": "да", "delay": "1h"}}]}, frozen=True)
    client = connect(emulator)
    with ThreadPoolExecutor(20) as pool:
        replies = [pool.submit(client.call, ASYNC, asking("?"), keyed()) for _ in range(20)]
        emulator.clock.wait_for_sleepers(20)
        assert emulator.clock.advance("1h") == 0
        assert {raw(reply.result())[0] for reply in replies} == {raw(replies[0].result())[0]}
    assert len(emulator.operations.list()) == 1
    told = [note for call in emulator.calls() for note in call.behaviour if "again" in note]
    assert len(told) == 19
    assert len(set(told)) == 1


def test_twenty_duplicates_in_real_time_make_one_operation(serve: Serve) -> None:
    emulator = serve()
    barrier = threading.Barrier(20)

    def create() -> str:
        with Client(emulator.target) as client:
            barrier.wait()
            return str(client.call(ASYNC, asking("?"), keyed()).only.id)

    with ThreadPoolExecutor(20) as pool:
        assert len({future.result() for future in [pool.submit(create) for _ in range(20)]}) == 1
    assert len(emulator.operations.list()) == 1


def test_a_duplicate_takes_its_turn_where_the_first_has_failed(serve: Serve, connect: Connect) -> None:
    rules = [{"replies": [{"error": "UNAVAILABLE", "delay": "1m"}, {"text": "да", "delay": "1m"}, {"text": "никогда"}]}]
    emulator = serve({"rules": rules}, frozen=True)
    client = connect(emulator)
    with ThreadPoolExecutor(3) as pool:
        replies = [pool.submit(client.complete, asking("?"), metadata=keyed()) for _ in range(3)]
        emulator.clock.wait_for_sleepers(3)
        assert emulator.clock.advance("1m") == 0
        assert emulator.clock.sleepers == 2
        assert emulator.clock.advance("1m") == 0
        codes = [reply.result().code for reply in replies]
    assert sorted(codes) == ["OK", "OK", "UNAVAILABLE"]
    texts = {reply.result().messages[0].alternatives[0].message.text for reply in replies if reply.result().messages}
    assert texts == {"да"}


def test_a_duplicate_takes_its_turn_where_the_first_was_cancelled(serve: Serve, connect: Connect) -> None:
    rules = [{"replies": [{"text": "раз", "delay": "1h"}, {"text": "два"}]}]
    emulator = serve({"rules": rules}, frozen=True)
    client = connect(emulator)
    first = client.begin(SYNC, asking("?"), keyed())
    emulator.clock.wait_for_sleepers(1)
    second = started(lambda: client.complete(asking("?"), metadata=keyed()))
    emulator.clock.wait_for_sleepers(2)
    first.cancel()
    assert second.result().only.alternatives[0].message.text == "два"


def test_a_duplicate_that_is_cancelled_leaves_the_first_alone(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"reply": {"text": "да", "delay": "1h"}}]}, frozen=True)
    client = connect(emulator)
    first = started(lambda: client.complete(asking("?"), metadata=keyed()))
    emulator.clock.wait_for_sleepers(1)
    second = client.begin(SYNC, asking("?"), keyed())
    emulator.clock.wait_for_sleepers(2)
    second.cancel()
    eventually(lambda: emulator.clock.sleepers == 1)
    assert emulator.clock.advance("1h") == 0
    assert first.result().code == "OK"


def test_another_request_is_refused_while_the_first_is_under_way(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"reply": {"text": "да", "delay": "1h"}}]}, frozen=True)
    client = connect(emulator)
    first = started(lambda: client.complete(asking("?"), metadata=keyed()))
    emulator.clock.wait_for_sleepers(1)
    assert client.complete(asking("!"), metadata=keyed()).code == "INVALID_ARGUMENT"
    emulator.clock.advance("1h")
    assert first.result().code == "OK"


def test_a_reset_while_the_first_is_under_way_gives_the_duplicate_its_reply_and_remembers_nothing(
    serve: Serve, connect: Connect
) -> None:
    rules = [{"replies": [{"text": "раз", "delay": "1h"}, {"text": "два"}]}]
    emulator = serve({"rules": rules}, frozen=True)
    client = connect(emulator)
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(client.complete, asking("?"), metadata=keyed()) for _ in range(2)]
        emulator.clock.wait_for_sleepers(2)
        emulator.reset("idempotency")
        emulator.clock.advance("1h")
        assert {reply.result().only.alternatives[0].message.text for reply in both} == {"раз"}
    assert client.complete(asking("?"), metadata=keyed()).only.alternatives[0].message.text == "два"


# -- with quotas


def test_a_repetition_counts_against_the_quota(serve: Serve, connect: Connect) -> None:
    emulator = serve({"quotas": {"limits": [{"call": "completion_async", "per_hour": 2}]}}, frozen=True)
    client = connect(emulator)
    first = client.call(ASYNC, asking("?"), keyed())
    assert raw(client.call(ASYNC, asking("?"), keyed())) == raw(first)
    assert client.call(ASYNC, asking("?"), keyed()).code == "RESOURCE_EXHAUSTED"
    emulator.clock.advance("1h")
    assert raw(client.call(ASYNC, asking("?"), keyed())) == raw(first)


# -- the journal


def test_the_journal_tells_which_reply_it_was(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"name": "отчёт", "call": "completion_async", "reply": {"text": "да"}}]})
    client = connect(emulator)
    operation = [client.call(ASYNC, asking("?"), keyed()).only.id for _ in range(2)][1]
    first, second = emulator.calls()
    assert (second.rule, second.operation_id, second.unmatched) == ("отчёт", operation, False)
    assert second.replies == first.replies
    assert "the reply of c1 again, by its idempotency-key" in second.behaviour
    assert not [note for note in first.behaviour if "again" in note]
    told = Controller(client).calls()[1]
    assert "the reply of c1 again, by its idempotency-key" in told.behaviour
    assert told.rule == "отчёт"


def test_the_default_reply_again_is_not_unmatched_twice(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    for _ in range(2):
        client.complete(asking("?"), metadata=keyed())
    assert [call.unmatched for call in emulator.calls()] == [True, False]


# -- what is kept


def test_a_reset_of_the_part_forgets(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    control = Controller(client)
    ways = (
        lambda: emulator.reset("idempotency"),
        lambda: control.do("Reset", parts=["IDEMPOTENCY"]),
        emulator.reset,
    )
    for n, forget in enumerate(ways):
        client.call(ASYNC, asking("?"), keyed(f"{n}"))
        forget()
        client.call(ASYNC, asking("?"), keyed(f"{n}"))
        assert not [call for call in emulator.calls() if "again" in " ".join(call.behaviour)]


def test_a_snapshot_remembers_operations_completions_and_streams(serve: Serve, connect: Connect) -> None:
    stream = {"words": 1, "every": {"p50": "1s", "p95": "3s"}, "stall": {"after": 1, "for": "1m"}}
    rules = [
        {"call": "completion_async", "reply": {"text": "потом", "headers": {"x-n": "1"}}},
        {"when": {"stream": True}, "reply": {"text": "раз два три", "stream": stream}},
    ]
    emulator = serve({"rules": rules}, frozen=True)
    elsewhere = serve(frozen=True)

    def told(at: Emulator) -> list[Any]:
        client = connect(at)
        created = client.call(ASYNC, asking("?"), keyed())
        streamed = started(lambda: client.complete(asking("?", stream=True), metadata=keyed()))
        at.clock.wait_for_sleepers(1)
        at.clock.advance("5m")
        whole = client.complete(asking("?"), metadata=keyed("whole"))
        pace = [c.sent_at[i] - c.began_at for c in at.calls(kind="completion")[-2:-1] for i in range(len(c.sent_at))]
        return [raw(created), created.headers["x-n"], raw(streamed.result()), raw(whole), pace]

    first = told(emulator)
    before = emulator.snapshot()
    elsewhere.restore(before)
    assert elsewhere.snapshot() == before
    assert told(elsewhere) == first
    assert len(elsewhere.operations.list()) == 1
    assert all("again" in " ".join(call.behaviour) for call in elsewhere.calls())
    assert told(emulator) == first


def test_a_snapshot_with_a_reply_that_can_not_be_is_refused(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    client.call(ASYNC, asking("?"), keyed())
    client.complete(asking("?", stream=True), metadata=keyed())
    snapshot = json.loads(emulator.snapshot())

    def refused(i: int, **changes: Any) -> str:
        replies = [dict(reply) for reply in snapshot["idempotency"]]
        replies[i].update(changes)
        with pytest.raises(UsageError) as failed:
            emulator.restore(json.dumps(snapshot | {"idempotency": replies}).encode())
        return str(failed.value)

    stream = snapshot["idempotency"][1]["stream"]
    assert "idempotency[0]: method: no such method: '/x/Y'" in refused(0, method="/x/Y")
    assert "idempotency[0]: messages: a reply is one message or a stream" in refused(0, messages=[])
    assert "idempotency[0]: messages[0]: the bytes are not a serialized" in refused(0, messages=["////"])
    assert "idempotency[0]: headers: 'X'" in refused(0, headers=[["X", "y"]])
    assert "idempotency[1]: stream: chunks: a stream has one at least" in refused(1, stream=stream | {"chunks": []})
    other = stream | {"chunks": [["чужое", 1, 0]]}
    assert "together they are not the text of the final message" in refused(1, stream=other)
    assert "does not stream" in refused(1, method=snapshot["idempotency"][0]["method"])
    assert raw(client.call(ASYNC, asking("?"), keyed()))


def test_what_is_kept_is_bounded_and_the_oldest_go_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_REPLIES", 3)
    monkeypatch.setattr(module, "MOST_BYTES", 10_000)
    memory = Idempotency(Clock(0, frozen=True))

    def keep(n: int, size: int = 0) -> None:
        key = bytes([n])
        flight = memory.begin(key, b"", f"c{n}")
        memory.keep(key, flight, Remembered("/m", b"", 0, f"c{n}", size=size))
        memory.end(key, flight)

    def kept() -> list[int]:
        return [n for n in range(20) if memory.get(bytes([n])) is not None]

    for n in range(5):
        keep(n)
    assert kept() == [2, 3, 4]
    keep(5, size=8900)
    assert kept() == [4, 5]
    keep(6, size=20_000)
    assert kept() == []
    keep(7)
    assert (kept(), memory._bytes) == ([7], 512)


def test_the_oldest_go_once_their_day_is_over(serve: Serve, connect: Connect) -> None:
    clock = Clock(0, frozen=True)
    memory = Idempotency(clock)
    for n in range(3):
        key = bytes([n])
        clock.set(n * 20 * 3600 * SECOND, True, 1)
        flight = memory.begin(key, b"", "c")
        memory.keep(key, flight, Remembered("/m", b"", clock.now(), "c"))
        memory.end(key, flight)
    assert len(memory) == 2
