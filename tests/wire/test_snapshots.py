"""Snapshot and restore over a socket: the same snapshot and the same calls give the same bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator import Emulator
from emulator.api import BatchCompletionRequest, CreateIamTokenRequest, GetOperationRequest, message_class

from .client import STORED, Client, asking, drawing
from .control import Controller

if TYPE_CHECKING:
    from conftest import Connect, Serve

NOON = "2026-01-31T12:00:00Z"
FIXTURES: dict[str, Any] = {
    "rules": [
        {"name": "дважды", "when": {"question": "раз"}, "times": 2, "reply": {"text": "{{ attempt }}: раз"}},
        {
            "name": "по вопросу",
            "when": {"question": {"contains": "в"}},
            "per": "question",
            "replies": [{"text": "первый"}, {"error": "UNAVAILABLE"}, {"text": "третий"}],
            "after_last": "cycle",
        },
        {"when": {"question": "дальше", "state": {"ход": "начат"}}, "reply": {"text": "дальше"}},
        {"when": {"question": "дальше"}, "then": {"state": {"ход": "начат"}}, "reply": {"text": "начало"}},
        {
            "call": "completion_async",
            "when": {"question": "долго"},
            "reply": {"text": "готово"},
            "operation": {"timeline": [{"at": "10s", "status": "IN_PROGRESS"}, {"at": "1m", "status": "COMPLETED"}]},
        },
        {"call": "completion_async", "reply": {"text": "по счёту"}, "operation": {"done_after_polls": 2}},
    ],
    "quotas": {"limits": [{"call": "completion", "per_minute": 3}, {"call": "operations", "per_hour": 4}]},
}
QUESTIONS = ("раз", "два", "вот", "дальше", "долго", "иное")
steps = st.one_of(
    st.tuples(st.just("complete"), st.sampled_from(QUESTIONS), st.booleans()),
    st.tuples(st.just("async"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("again"), st.sampled_from(QUESTIONS[:3]), st.booleans(), st.sampled_from("абв")),
    st.tuples(st.just("batch"), st.sampled_from(["набор", "другой"])),
    st.tuples(st.just("image"), st.sampled_from(["кот", "пёс"])),
    st.tuples(st.sampled_from(["Get", "Cancel"]), st.integers(0, 5)),
    st.tuples(
        st.sampled_from(["FinishOperation", "FailOperation", "CancelOperation", "StepOperation"]), st.integers(0, 5)
    ),
    st.tuples(st.just("advance"), st.sampled_from([0.001, 9.5, 61, 3600, 90 * 3600])),
    st.tuples(st.just("add"), st.sampled_from(QUESTIONS)),
    st.tuples(st.just("remove")),
)


class Player:
    """Takes steps, and remembers the ids of the operations they began."""

    def __init__(self, client: Client, ids: list[str] | None = None) -> None:
        self.client, self.control = client, Controller(client)
        self.ids = ids if ids is not None else []

    def play(self, step: tuple[Any, ...]) -> Any:
        """Everything that a client sees of a step."""
        kind, *more = step
        if kind == "complete":
            return self._seen(self.client.complete(asking(more[0], stream=more[1])))
        if kind == "again":
            key = [("idempotency-key", more[2])]
            if more[1]:
                return self._seen(self.client.complete(asking(more[0], stream=True), metadata=key))
            return self._begun(self.client.call("TextGenerationAsyncService/Completion", asking(more[0]), key))
        if kind == "async":
            return self._begun(self.client.call("TextGenerationAsyncService/Completion", asking(more[0])))
        if kind == "batch":
            request = BatchCompletionRequest(model_uri="gpt://b1gtest/yandexgpt", source_dataset_id=more[0])
            return self._begun(self.client.call("TextGenerationBatchService/Completion", request))
        if kind == "image":
            return self._begun(self.client.call("ImageGenerationAsyncService/Generate", drawing(more[0])))
        if kind == "advance":
            return self.control.advance(more[0])
        if kind == "add":
            text = f"rules: [{{when: {{question: {more[0]}}}, times: 1, reply: {{text: поверх}}}}]"
            return self.control.add(text)
        if kind == "remove":
            return self.control.do("RemoveRules").rules
        if not self.ids:
            return None
        id_ = self.ids[more[0] % len(self.ids)]
        if kind in ("Get", "Cancel"):
            known = {
                "Get": GetOperationRequest,
                "Cancel": message_class("yandex.cloud.operation.CancelOperationRequest"),
            }
            return self._seen(self.client.call(f"OperationService/{kind}", known[kind](operation_id=id_)))
        return self._seen(self.control.ask(kind, operation_id=id_))[:3]  # the ids of control calls go on and on

    def _begun(self, reply: Any) -> Any:
        self.ids.extend(message.id for message in reply.messages)
        return self._seen(reply)

    @staticmethod
    def _seen(reply: Any) -> Any:
        raw = [message.SerializeToString(deterministic=True) for message in reply.messages]
        return raw, reply.code, reply.text, reply.headers, reply.trailers


@contextmanager
def serving(*fixtures: Any, **options: Any) -> Iterator[Client]:
    with Emulator(fixtures, frozen=True, **options) as emulator, Client(emulator.target) as client:
        yield client


@pytest.mark.slow
@settings(max_examples=12)
@given(st.lists(steps, max_size=12), st.lists(steps, max_size=8))
def test_the_same_calls_after_a_snapshot_give_the_same_bytes_here_and_elsewhere(
    before: list[tuple[Any, ...]], after: list[tuple[Any, ...]]
) -> None:
    with serving(FIXTURES, now=NOON, seed=5) as client, serving(seed=8) as elsewhere:
        player = Player(client)
        for step in before:
            player.play(step)
        ids = list(player.ids)
        snapshot = player.control.do("Snapshot").snapshot
        first = [player.play(step) for step in after]
        for where in (client, elsewhere):
            again = Player(where, list(ids))
            again.control.do("Restore", snapshot=snapshot)
            assert again.control.do("Snapshot").snapshot == snapshot
            assert [again.play(step) for step in after] == first


def test_a_restore_in_a_session_with_the_files_rules_goes_on_sharing_them(serve: Serve, connect: Connect) -> None:
    from emulator.engine.book import load

    emulator = serve(FIXTURES, frozen=True)
    control = Controller(connect(emulator))
    snapshot = control.do("Snapshot").snapshot
    assert control.do("Restore", snapshot=snapshot).rules == len(FIXTURES["rules"])
    emulator.sessions.shared.book = load([{"rules": [{"name": "новое", "reply": {"text": "а"}}]}])
    assert control.rules() == [("новое", "files")]
    control.do("Restore", snapshot=snapshot)
    assert len(control.rules()) == len(FIXTURES["rules"])
    control.do("Reset")
    assert control.rules() == [("новое", "files")]


def test_a_reset_undoes_everything_that_a_restore_brought(serve: Serve, connect: Connect) -> None:
    client = connect(serve(frozen=True, now=NOON, seed=1))
    control = Controller(client)
    with serving(FIXTURES, strict=True, immediate=True, seed=2) as other:
        snapshot = Controller(other).do("Snapshot").snapshot
    expected = client.complete(asking("иное"))
    control.do("Restore", snapshot=snapshot)
    assert client.complete(asking("иное")).code == "FAILED_PRECONDITION"
    control.do("Reset")
    got = client.complete(asking("иное"))
    assert (got.messages, got.headers) == (expected.messages, expected.headers)


def changed(snapshot: bytes, *path: Any, to: Any) -> bytes:
    data = json.loads(snapshot)
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return json.dumps(data).encode()


BAD: list[tuple[tuple[Any, ...], Any]] = [
    (("kind",), "other"),
    (("format",), 2),
    (("more",), 1),
    (("clock", "speed"), 0),
    (("clock", "speed"), -1.5),
    (("clock", "now"), -1),
    (("clock", "now"), 10**21),
    (("counters", "layers"), -1),
    (("counters", "layers"), 0),
    (("counters", "calls"), -1),
    (("counters", "chosen"), {"a": -1}),
    (("counters", "given"), [["a", "b"]]),
    (("seed",), [1]),
    (("seed",), ["a", ""]),
    (("files",), None),
    (("files",), {"given": [{"type": "no"}]}),
    (("files",), {"given": [{"type": "mapping", "name": "x", "content": "{"}]}),
    (("files",), {"given": [{"type": "mapping", "name": "x", "content": '{"rules": 1}'}]}),
    (("added", 0, "id"), "files"),
    (("added", 0, "id"), "r9"),
    (("added", 0, "rules"), 3),
    (("operations", 0, "call"), "no"),
    (("operations", 0, "id"), ""),
    (("operations", 0, "created"), 10**21),
    (("operations", 0, "created"), 10**60),
    (("datasets", "since"), 10**21),
    (("iam_tokens", "kept"), [{"token": "t1.a", "account": "aje", "expires": 10**21}]),
    (("quotas", "came"), [["a", "", [10**21]]]),
    (("operations", 0, "response_type"), "no.Such"),
    (("operations", 0, "stages"), [{"status": "NO", "at": 0}]),
]


@pytest.mark.parametrize(("path", "to"), BAD)
def test_a_snapshot_that_can_not_be_is_refused_and_changes_nothing(
    serve: Serve, connect: Connect, path: tuple[Any, ...], to: Any
) -> None:
    client = connect(serve(FIXTURES, frozen=True, now=NOON))
    player = Player(client)
    for step in (("complete", "раз", False), ("async", "долго"), ("add", "раз"), ("complete", "раз", True)):
        player.play(step)
    snapshot = player.control.do("Snapshot").snapshot
    code, text = player.control.refused("Restore", snapshot=changed(snapshot, *path, to=to))
    assert code == "INVALID_ARGUMENT"
    assert text.startswith("that is no snapshot that can be restored: ")
    assert player.control.do("Snapshot").snapshot == snapshot
    assert len(player.control.calls()) == 3


def test_a_snapshot_of_a_far_future_is_restored_as_any_other(serve: Serve, connect: Connect) -> None:
    limits = {"quotas": {"limits": [{"call": "completion_async", "per_hour": 1}]}}
    emulator = serve({**limits, **STORED}, frozen=True, now="2300-01-01T12:00:00Z")
    client = connect(emulator)
    keyed = [("idempotency-key", "k")]
    first = client.call("TextGenerationAsyncService/Completion", asking("раз"), keyed).only
    client.call("IamTokenService/Create", CreateIamTokenRequest(yandex_passport_oauth_token="y0_a"))
    snapshot = emulator.snapshot()
    emulator.reset()
    emulator.restore(snapshot)
    assert emulator.snapshot() == snapshot
    assert client.operation(first.id).created_at == first.created_at
    assert client.call("TextGenerationAsyncService/Completion", asking("раз"), keyed).code == "RESOURCE_EXHAUSTED"
    emulator.clock.advance("1h")
    assert client.call("TextGenerationAsyncService/Completion", asking("раз"), keyed).only.id == first.id


@pytest.mark.parametrize("raw", [b"", b"{}", b"\xff", b"[" * 100_000, b"null", b'{"kind": "fm-emulator snapshot"}'])
def test_bytes_that_are_no_snapshot_are_refused(serve: Serve, connect: Connect, raw: bytes) -> None:
    control = Controller(connect(serve()))
    assert control.refused("Restore", snapshot=raw)[0] == "INVALID_ARGUMENT"


OPEN: dict[str, Any] = {
    "rules": [
        {"name": "later", "call": "completion_async", "reply": {"text": "готово", "delay": "1h"}, "expect": 1},
        {
            "name": "stream",
            "call": "completion",
            "reply": {"text": "раз два три", "stream": {"words": 1, "every": "1h"}},
        },
    ]
}
ASYNC = "TextGenerationAsyncService/Completion"


@pytest.mark.parametrize("how", ["Restore", "Reset"])
def test_calls_that_are_open_change_nothing_in_what_is_restored(serve: Serve, connect: Connect, how: str) -> None:
    emulator = serve(OPEN, frozen=True, now=NOON)
    client = connect(emulator)
    control = Controller(client)
    before = control.do("Snapshot").snapshot
    key = [("idempotency-key", "k")]
    with ThreadPoolExecutor() as pool:
        create = pool.submit(client.call, ASYNC, asking("?"), key)
        control.sleepers(1)
        duplicate = pool.submit(client.call, ASYNC, asking("?"), key)
        control.sleepers(2)
        reading = pool.submit(client.complete, asking("?", stream=True))
        control.sleepers(3)
        control.do(how, **({"snapshot": before} if how == "Restore" else {}))
        assert control.advance(3 * 3600).stragglers == 0
        for cut in (create.result(), duplicate.result()):
            assert (cut.code, cut.text) == ("CANCELLED", "the session was reset or restored while this call was open")
        assert [m.alternatives[0].message.text for m in reading.result().messages] == ["раз", "раз два", "раз два три"]
    assert (len(control.do("ListOperations").operations), control.calls()) == (0, [])
    (problem,) = control.do("Verify", strict=True).problems
    assert "chosen 0 times, expected exactly 1" in problem.text
    control.do("Restore", snapshot=before)
    assert json.loads(control.do("Snapshot").snapshot) == json.loads(before)


def test_an_operation_begun_after_a_restore_has_the_id_it_would_have_had(serve: Serve, connect: Connect) -> None:
    ids = []
    for is_open in (False, True):
        emulator = serve(OPEN, frozen=True, now=NOON)
        client = connect(emulator)
        control = Controller(client)
        before = control.do("Snapshot").snapshot
        with ThreadPoolExecutor() as pool:
            if is_open:
                pool.submit(client.call, ASYNC, asking("?"))
                control.sleepers(1)
            control.do("Restore", snapshot=before)
            create = pool.submit(client.call, ASYNC, asking("?"))
            control.sleepers(1 + is_open)
            control.advance(3600)
            ids.append(create.result().only.id)
    assert ids[0] == ids[1]


def test_operations_after_the_year_2262_are_restored(serve: Serve, connect: Connect) -> None:
    fixtures = {"rules": [{"call": "completion_async", "reply": {"text": "да"}, "operation": {"done_after": "72h"}}]}
    emulator = serve(fixtures, frozen=True, now="2300-01-31T12:00:00Z")
    client = connect(emulator)
    control = Controller(client)
    done, under_way = (client.call(ASYNC, asking("?")).only.id for _ in range(2))
    control.do("FinishOperation", operation_id=done)
    control.do("Restore", snapshot=control.do("Snapshot").snapshot)
    assert [client.operation(id_).done for id_ in (done, under_way)] == [True, False]
    control.advance(72 * 3600)
    assert client.operation(under_way).done
