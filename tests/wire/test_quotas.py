"""Quotas over a socket: into each limit and out of it again on a clock that is moved, and what a refusal says."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from emulator import Emulator
from emulator.api import (
    BatchCompletionRequest,
    GetOperationRequest,
    QuotaFailure,
    RequestInfo,
    RetryInfo,
)
from emulator.engine.book import Book, load
from emulator.errors import UsageError

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

SYNC = "TextGenerationService/Completion"
ASYNC = "TextGenerationAsyncService/Completion"
BATCH = "TextGenerationBatchService/Completion"
IMAGE = "ImageGenerationAsyncService/Generate"
TOKENIZE = "TokenizerService/TokenizeCompletion"
EMBED = "EmbeddingsService/TextEmbedding"
CLASSIFY = "TextClassificationService/Classify"
GET = "OperationService/Get"
AT_ONCE = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed {} requests"


def details(reply: Reply) -> tuple[float | None, list[tuple[str, str]]]:
    """What a refusal tells: seconds to wait, and subject and words of each violation."""
    found = {detail.TypeName(): detail.value for detail in reply.status.details}
    assert RequestInfo.FromString(found["google.rpc.RequestInfo"]).request_id == reply.headers["x-request-id"]
    wait = None
    if "google.rpc.RetryInfo" in found:
        delay = RetryInfo.FromString(found["google.rpc.RetryInfo"]).retry_delay
        wait = delay.seconds + delay.nanos / 1e9
    violations = QuotaFailure.FromString(found["google.rpc.QuotaFailure"]).violations
    return wait, [(violation.subject, violation.description) for violation in violations]


def limited(**limit: Any) -> dict[str, Any]:
    return {"quotas": {"limits": [{"call": "completion", **limit}]}}


def batch() -> Any:
    return BatchCompletionRequest(model_uri="gpt://b1gtest/gemma-3-12b-it", source_dataset_id=DATASET)


RUNS: list[tuple[str, Callable[[], Any], int, str, str]] = [
    (ASYNC, lambda: asking("?"), 10, "1s", "ai.textGenerationAsyncCompletionRequestsPerSecond.rate"),
    (ASYNC, lambda: asking("?"), 5000, "1h", "ai.textGenerationAsyncCompletionRequestsPerHour.rate"),
    (IMAGE, lambda: drawing("?"), 500, "1m", "ai.imageGenerationRequestsPerMinute.rate"),
    (IMAGE, lambda: drawing("?"), 5000, "24h", "ai.imageGenerationRequestsPerDay.rate"),
    (BATCH, batch, 10, "1h", "ai.textGenerationBatchCompletionRequestsPerHour.rate"),
    (BATCH, batch, 100, "24h", "ai.textGenerationBatchCompletionRequestsPerDay.rate"),
    (TOKENIZE, lambda: asking("?"), 50, "1s", "ai.textGenerationTokenizeCompletionRequestsPerSecond.rate"),
    (EMBED, embedding, 10, "1s", "ai.textEmbeddingRequestsPerSecond.rate"),
    (CLASSIFY, classifying, 1, "1s", "ai.textClassificationRequestsPerSecond.rate"),
    (
        GET,
        lambda: GetOperationRequest(operation_id="d7q00000000000000000"),
        50,
        "1s",
        "ai.operationGetRequestsPerSecond.rate",
    ),
]
SHORTEST = {ASYNC: (10, "1s"), IMAGE: (500, "1m"), BATCH: (10, "1h")}
"""The narrowest limit of a method, below which the calls of its wider ones have to stay."""


@pytest.mark.parametrize(
    ("method", "request_", "most", "window", "name"),
    [pytest.param(*run, id=run[4], marks=[pytest.mark.slow] if run[2] == 5000 else []) for run in RUNS],
)
def test_a_run_into_a_limit_of_the_preset_and_out_of_it(
    serve: Serve, connect: Connect, method: str, request_: Callable[[], Any], most: int, window: str, name: str
) -> None:
    emulator = serve(STORED, quotas="real", frozen=True, now="2026-01-31T12:00:00Z")
    client = connect(emulator)
    answer = "NOT_FOUND" if method == GET else "OK"
    at_a_time, pause = SHORTEST.get(method, (most, window))
    began = emulator.clock.now
    for i in range(most):
        if i and i % at_a_time == 0:
            emulator.clock.advance(pause)
        assert client.call(method, request_()).code == answer
    if at_a_time < most:
        emulator.clock.advance(pause)
    refused = client.call(method, request_())
    assert (refused.code, refused.text) == (
        "RESOURCE_EXHAUSTED",
        f"{name} rate quota limit exceed: allowed {most} requests",
    )
    wait, violations = details(refused)
    assert violations == [("session:default", refused.text)]
    assert wait is not None
    free = began + timedelta(seconds={"1s": 1, "1m": 60, "1h": 3600, "24h": 86400}[window])
    assert emulator.clock.now + timedelta(seconds=wait) == free
    emulator.clock.advance_to(free - timedelta(microseconds=1))
    assert client.call(method, request_()).code == "RESOURCE_EXHAUSTED"
    emulator.clock.advance_to(free)
    assert client.call(method, request_()).code == answer


def test_an_eleventh_generation_at_once_is_refused_until_another_has_ended(serve: Serve, connect: Connect) -> None:
    emulator = serve({"rules": [{"reply": {"text": "Готово.", "delay": "1m"}}]}, quotas="real", frozen=True)
    client = connect(emulator)
    with ThreadPoolExecutor(10) as pool:
        under_way = [pool.submit(client.complete, asking("?", stream=bool(i % 2))) for i in range(10)]
        emulator.clock.wait_for_sleepers(10)
        refused = client.complete(asking("?"))
        assert (refused.code, refused.text) == ("RESOURCE_EXHAUSTED", AT_ONCE.format(10))
        assert details(refused) == (1.0, [("session:default", AT_ONCE.format(10))])
        emulator.clock.advance("1m")
        assert {reply.result().code for reply in under_way} == {"OK"}
    again = pool_of_one(client)
    emulator.clock.wait_for_sleepers(1)
    emulator.clock.advance("1m")
    assert again().code == "OK"


def pool_of_one(client: Client) -> Callable[[], Reply]:
    """A completion under way; what it gives waits for its end."""
    pool = ThreadPoolExecutor(1)
    reply = pool.submit(client.complete, asking("?"))
    pool.shutdown(wait=False)
    return reply.result


def streaming(most: int = 1) -> dict[str, Any]:
    rule = {"reply": {"text": "раз два три", "stream": {"words": 1, "stall": {"after": 1, "for": "forever"}}}}
    return {
        "rules": [rule, {"when": {"question": "быстро"}, "priority": 1, "reply": {"text": "да"}}],
        **limited(at_once=most),
    }


def test_a_stream_holds_its_place_between_chunks_and_frees_it_when_its_client_leaves(
    serve: Serve, connect: Connect
) -> None:
    client = connect(serve(streaming()))
    stream = client.begin(SYNC, asking("медленно", stream=True))
    next(stream)
    assert client.complete(asking("быстро")).code == "RESOURCE_EXHAUSTED"
    stream.cancel()
    eventually(lambda: client.complete(asking("быстро")).code == "OK")


def test_a_client_whose_connection_is_gone_frees_its_place(serve: Serve, connect: Connect) -> None:
    emulator = serve(streaming())
    client = connect(emulator)
    with Client(emulator.target) as gone:
        stream = gone.begin(SYNC, asking("медленно", stream=True))
        next(stream)
        assert client.complete(asking("быстро")).code == "RESOURCE_EXHAUSTED"
    eventually(lambda: client.complete(asking("быстро")).code == "OK")


def test_a_deadline_that_passes_frees_the_place(serve: Serve, connect: Connect) -> None:
    client = connect(serve(streaming()))
    assert client.complete(asking("медленно", stream=True), timeout=0.2).code == "DEADLINE_EXCEEDED"
    eventually(lambda: client.complete(asking("быстро")).code == "OK")


@pytest.mark.parametrize(
    "reply", [{"error": "INTERNAL"}, {"text": "раз", "stream": {"stop": {"after": 0, "error": "UNAVAILABLE"}}}]
)
def test_a_call_that_fails_frees_its_place(serve: Serve, connect: Connect, reply: dict[str, Any]) -> None:
    client = connect(serve({"rules": [{"reply": reply}], **limited(at_once=1)}))
    assert {client.complete(asking("?", stream=True)).code for _ in range(3)} <= {"INTERNAL", "UNAVAILABLE"}


def test_an_operation_that_is_pending_takes_no_place(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"quotas": {"limits": [{"call": "completion_async", "at_once": 1}]}}, frozen=True))
    assert [client.call(ASYNC, asking("?")).code for _ in range(3)] == ["OK"] * 3


def test_what_is_refused_before_or_by_a_quota_does_not_count_and_what_fails_behind_it_does(
    serve: Serve, connect: Connect
) -> None:
    rules = [{"reply": {"error": "INTERNAL"}}]
    emulator = serve({"rules": rules, **limited(per_hour=2)}, frozen=True)
    client = connect(emulator)
    invalid = asking("?", model="чепуха")
    codes = [client.complete(invalid).code] + [client.complete(asking("?")).code for _ in range(5)]
    assert codes == ["INVALID_ARGUMENT", "INTERNAL", "INTERNAL"] + ["RESOURCE_EXHAUSTED"] * 3
    emulator.clock.advance("59m59s")
    assert client.complete(asking("?")).code == "RESOURCE_EXHAUSTED"
    emulator.clock.advance("1s")
    assert client.complete(asking("?")).code == "INTERNAL"


def test_the_wait_that_is_told_is_exact_and_the_longest(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_minute=2, per_hour=2), frozen=True)
    client = connect(emulator)
    client.complete(asking("?"))
    emulator.clock.advance("1500ms")
    client.complete(asking("?"))
    emulator.clock.advance("250ms")
    refused = client.complete(asking("?"))
    assert refused.text == "ai.textGenerationCompletionRequestsPerHour.rate rate quota limit exceed: allowed 2 requests"
    wait, violations = details(refused)
    assert wait == 3598.25
    assert [text.split(".")[1] for _, text in violations] == [
        "textGenerationCompletionRequestsPerHour",
        "textGenerationCompletionRequestsPerMinute",
    ]


def test_where_nothing_is_allowed_nobody_is_told_to_come_again(serve: Serve, connect: Connect) -> None:
    refused = connect(serve(limited(per_day=0))).complete(asking("?"))
    assert details(refused)[0] is None
    assert refused.text.endswith("PerDay.rate rate quota limit exceed: allowed 0 requests")


def test_a_limit_that_calls_share_is_told_to_each_by_its_own_name(serve: Serve, connect: Connect) -> None:
    shared = {"call": ["tokenize", "completion", "tokenize_completion"], "per_hour": 1}
    client = connect(serve({"quotas": {"limits": [shared]}}, frozen=True))
    assert client.call("TokenizerService/Tokenize", tokenizing("?")).code == "OK"
    words = "RequestsPerHour.rate rate quota limit exceed: allowed 1 requests"
    refused = client.complete(asking("?"))
    assert details(refused)[1] == [("session:default", f"ai.textGenerationCompletion{words}")]
    refused = client.call("TokenizerService/TokenizeCompletion", asking("?"))
    assert refused.text == f"ai.textGenerationTokenizeCompletion{words}"


def test_by_folder_each_folder_has_its_own(serve: Serve, connect: Connect) -> None:
    client = connect(serve(limited(per_day=1, by="folder")))
    ask = lambda folder: client.complete(asking("?", model=f"gpt://{folder}/yandexgpt"))  # noqa: E731
    assert [ask("b1ga").code, ask("b1gb").code] == ["OK", "OK"]
    assert details(ask("b1ga"))[1][0][0] == "folder:b1ga"


def test_by_credential_each_key_has_its_own_and_none_is_told(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_day=1, by="credential"))
    client = connect(emulator)
    first, second = (("authorization", "Api-Key AQVNsecretnumberone"),), (("authorization", "Api-Key AQVNanother"),)
    assert [client.complete(asking("?"), metadata=who).code for who in (first, second, ())] == ["OK"] * 3
    refused = client.complete(asking("?"), metadata=first)
    assert details(refused)[1][0][0] == "credential:Api-Key AQVN****"
    assert details(client.complete(asking("?")))[1][0][0] == "credential:none"
    assert b"secretnumberone" not in emulator.snapshot()


def test_a_credential_is_the_same_however_it_is_spelled(serve: Serve, connect: Connect) -> None:
    client = connect(serve(limited(per_hour=1, by="credential"), frozen=True))
    assert client.complete(asking("?"), metadata=[("authorization", "Api-Key AQVN-one")]).code == "OK"
    for spelled in ("api-key AQVN-one", "API-KEY  AQVN-one"):
        again = client.complete(asking("?"), metadata=[("authorization", spelled)])
        assert again.code == "RESOURCE_EXHAUSTED", spelled
    assert client.complete(asking("?"), metadata=[("authorization", "Bearer AQVN-one")]).code == "OK"


def test_each_session_has_its_own_count_and_is_named(serve: Serve, connect: Connect) -> None:
    client = connect(serve(limited(per_day=1)))
    job = (("x-emulator-session", "job-1"),)
    assert [client.complete(asking("?"), metadata=who).code for who in ((), job)] == ["OK", "OK"]
    assert details(client.complete(asking("?"), metadata=job))[1][0][0] == "session:job-1"


def test_the_journal_tells_what_a_quota_refused(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_hour=1), frozen=True)
    client = connect(emulator)
    client.complete(asking("?"))
    client.complete(asking("?"))
    call = emulator.calls()[1]
    assert (call.code, call.rule, call.unmatched) == ("RESOURCE_EXHAUSTED", "", False)
    assert "over the quota for completion, 1 per_hour by session: room again in 3600 s" in call.behaviour
    assert not emulator.calls(unmatched=True)[1:]


def test_rules_that_are_laid_over_others_bring_their_own_quotas(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_day=0))
    client = connect(emulator)
    assert client.complete(asking("?")).code == "RESOURCE_EXHAUSTED"
    with emulator.add({"quotas": {"limits": [{"call": "completion", "per_day": 1}]}}):
        assert [client.complete(asking("?")).code for _ in range(2)] == ["OK", "RESOURCE_EXHAUSTED"]
    assert client.complete(asking("?")).code == "RESOURCE_EXHAUSTED"


def test_a_reload_swaps_the_quotas_and_keeps_what_was_counted(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_day=1))
    client = connect(emulator)

    def swap(book: Book) -> None:
        emulator.sessions.shared.book = book

    assert [client.complete(asking("?")).code for _ in range(2)] == ["OK", "RESOURCE_EXHAUSTED"]
    emulator.place.do(lambda: swap(load([limited(per_day=2)])))
    assert [client.complete(asking("?")).code for _ in range(2)] == ["OK", "RESOURCE_EXHAUSTED"]
    emulator.place.do(lambda: swap(load([{}])))
    assert client.complete(asking("?")).code == "OK"


def test_a_reset_of_the_part_begins_anew(serve: Serve, connect: Connect) -> None:
    emulator = serve(limited(per_day=1))
    client = connect(emulator)
    control = Controller(client)
    for begin in (lambda: emulator.reset("quotas"), lambda: control.do("Reset", parts=["QUOTAS"]), emulator.reset):
        assert [client.complete(asking("?")).code for _ in range(2)] == ["OK", "RESOURCE_EXHAUSTED"]
        begin()
    assert client.complete(asking("?")).code == "OK"


def test_a_snapshot_holds_what_was_let_in_and_the_preset(serve: Serve, connect: Connect) -> None:
    emulator = serve(STORED, quotas="real", frozen=True)
    client = connect(emulator)
    for _ in range(10):
        assert client.call(BATCH, batch()).code == "OK"
    before = emulator.snapshot()
    elsewhere = serve(STORED, frozen=True)
    elsewhere.restore(before)
    assert elsewhere.snapshot() == before
    other = connect(elsewhere)
    assert other.call(BATCH, batch()).code == "RESOURCE_EXHAUSTED"
    elsewhere.clock.advance("1h")
    assert other.call(BATCH, batch()).code == "OK"
    elsewhere.reset()
    assert [other.call(BATCH, batch()).code for _ in range(11)] == ["OK"] * 11


@pytest.mark.parametrize(
    ("quotas", "told"),
    [
        ('{"preset":"reel","came":[]}', "quotas.preset: 'reel' is none of none, real"),
        ('{"preset":"real","came":[["a","b",["c"]]]}', "$.quotas.came[0][2][0]"),
    ],
)
def test_a_snapshot_with_quotas_that_can_not_be_is_refused(serve: Serve, quotas: str, told: str) -> None:
    emulator = serve()
    data = json.loads(emulator.snapshot()) | {"quotas": json.loads(quotas)}
    with pytest.raises(UsageError) as failed:
        emulator.restore(json.dumps(data).encode())
    assert told in str(failed.value)


def test_lenient_leaves_quotas_alone_and_tools_are_never_counted(serve: Serve, connect: Connect) -> None:
    client = connect(serve(limited(per_day=0), lenient=True))
    assert client.complete(asking("?")).code == "RESOURCE_EXHAUSTED"
    assert client.call("ApiEndpointService/List", b"").code == "OK"


def test_the_option_takes_the_name_of_a_preset() -> None:
    with pytest.raises(UsageError, match="quotas: 'reel' is none of none, real"):
        Emulator(quotas="reel")
    assert path(SYNC) in Emulator(quotas="real").sessions.default.quotas._plan
