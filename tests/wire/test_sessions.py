"""Sessions over a socket: who may name one, what each has to itself, and when they end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from emulator import Emulator
from emulator.api import (
    BatchCompletionMetadata,
    BatchCompletionRequest,
    DescribeBatchInferenceRequest,
    GetOperationRequest,
)
from emulator.clock import Monotonic
from emulator.engine.book import load

from .client import DATASET, STORED, Client, asking, eventually
from .control import Controller

if TYPE_CHECKING:
    from conftest import Connect, Serve

ASYNC = "TextGenerationAsyncService/Completion"
HEADER = "x-emulator-session"
SLOW = {"rules": [{"when": {"question": "ждать"}, "reply": {"text": "дождался", "delay": "1m"}}]}


def named(session: str) -> list[tuple[str, str]]:
    return [(HEADER, session)]


def keyed(key: str) -> list[tuple[str, str]]:
    return [("authorization", f"Api-Key {key}")]


def get(client: Client, id_: str, metadata: Any = ()) -> Any:
    return client.call("OperationService/Get", GetOperationRequest(operation_id=id_), metadata=metadata)


# -- who may


def test_on_loopback_without_a_token_everything_is_open(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    assert Controller(client).ask("Info").code == "OK"
    assert client.complete(asking("а"), metadata=named("job")).code == "OK"


@pytest.mark.parametrize(("token", "why"), [(None, "send it as x-emulator-token"), ("no", "not the emulator's token")])
def test_a_token_is_asked_for_wherever_behaviour_can_be_changed(
    serve: Serve, connect: Connect, token: str | None, why: str
) -> None:
    emulator = serve(token="a-long-secret")
    client = connect(emulator)
    wrong, right = Controller(client, token=token), Controller(client, token="a-long-secret")
    for name in ("Info", "AddRules", "ListCalls", "Snapshot", "DeleteSession"):
        code, text = wrong.refused(name)
        assert code == "UNAUTHENTICATED"
        assert why in text
    into = Controller(client, session="job", token=token)
    refused = client.complete(asking("а"), metadata=into.metadata)
    assert refused.code == "UNAUTHENTICATED"
    assert why in refused.text
    assert len(emulator.sessions) == 1
    assert client.complete(asking("а")).code == "OK"
    assert right.ask("Info").code == "OK"
    assert client.complete(asking("а"), metadata=[*right.metadata, *named("job")]).code == "OK"


def test_the_token_is_masked_in_the_journal(serve: Serve, connect: Connect) -> None:
    client = connect(serve(token="a-long-secret"))
    control = Controller(client, token="a-long-secret")
    client.complete(asking("а"), metadata=control.metadata)
    (call,) = control.calls()
    assert {pair.key: pair.value for pair in call.metadata}["x-emulator-token"] == "a-lo****"


def test_where_others_can_reach_it_steering_is_off_without_a_token(serve: Serve, connect: Connect) -> None:
    client = connect(serve(host="0.0.0.0"))
    code, text = Controller(client).refused("Info")
    assert code == "PERMISSION_DENIED"
    assert "FM_EMULATOR_TOKEN" in text
    refused = client.complete(asking("а"), metadata=named("job"))
    assert refused.code == "PERMISSION_DENIED"
    assert HEADER in refused.text
    assert "FM_EMULATOR_TOKEN" in refused.text
    assert client.complete(asking("а")).code == "OK"


def test_where_others_can_reach_it_the_token_opens_it(serve: Serve, connect: Connect) -> None:
    client = connect(serve(host="0.0.0.0", token="secret"))
    assert Controller(client, session="job", token="secret").ask("GetClock").code == "OK"


def test_an_api_key_chooses_the_session_without_a_token(serve: Serve, connect: Connect) -> None:
    emulator = serve(host="0.0.0.0", token="secret", session_from="api-key")
    client = connect(emulator)
    client.complete(asking("а"), metadata=keyed("job-17.anything"))
    client.complete(asking("б"), metadata=keyed("plain"))
    told = {session.id: [entry.about for entry in session.journal] for session in emulator.sessions}
    assert told == {"": ["б"], "job-17": ["а"]}


@pytest.mark.parametrize("bad", ["a b", "-a", "a/b", "x" * 65, "."])
def test_a_name_that_is_none_is_refused(serve: Serve, connect: Connect, bad: str) -> None:
    emulator = serve()
    refused = connect(emulator).complete(asking("а"), metadata=named(bad))
    assert refused.code == "INVALID_ARGUMENT"
    assert "is no name for a session" in refused.text
    assert len(emulator.sessions) == 1
    assert emulator.sessions.default.clock._running == 0


# -- each its own


def test_sessions_share_nothing_but_the_files(serve: Serve, connect: Connect) -> None:
    client = connect(serve({"rules": [{"times": 1, "reply": {"text": "файл"}}]}, frozen=True, strict=True))
    one, two = Controller(client, session="one"), Controller(client, session="two")
    one.add("rules: [{name: мой, when: {question: мой}, reply: {text: мой}}]")
    assert client.complete(asking("мой"), metadata=one.metadata).code == "OK"
    assert client.complete(asking("мой"), metadata=two.metadata).code == "OK"  # the file's only reply
    assert client.complete(asking("мой"), metadata=two.metadata).code == "FAILED_PRECONDITION"
    assert client.complete(asking("б"), metadata=one.metadata).code == "OK"
    one.advance(60)
    seen = [(c.do("GetClock").now.seconds, len(c.rules()), len(c.calls())) for c in (one, two)]
    assert seen[0][1:] == (2, 2)
    assert seen[1][1:] == (1, 2)
    assert seen[0][0] >= seen[1][0] + 59
    one.do("Reset")
    assert len(two.calls()) == 2
    assert client.complete(asking("б"), metadata=two.metadata).code == "FAILED_PRECONDITION"


def test_ids_are_global_and_record_their_session(serve: Serve, connect: Connect) -> None:
    emulator = serve(session_from="api-key")
    client = connect(emulator)
    ids = [client.call(ASYNC, asking("а"), metadata=named(name)).only.id for name in ("one", "two")]
    assert ids[0] != ids[1]
    assert get(client, ids[0]).code == "OK"
    assert get(client, ids[0], named("one")).code == "OK"
    assert get(client, ids[0], named("two")).code == "NOT_FOUND"
    assert get(client, ids[0], keyed("two.key")).code == "NOT_FOUND"
    assert get(client, ids[0], keyed("one.key")).code == "OK"
    one = Controller(client, session="one")
    assert [call.id for call in one.calls(filter={"method": "OperationService/Get"})] == ["c2", "c3", "c4"]
    assert one.do("ListOperations").operations[0].polls == 3
    assert not Controller(client).calls()


def test_a_batch_task_is_found_in_the_session_that_began_it(serve: Serve, connect: Connect) -> None:
    client = connect(serve(STORED))
    request = BatchCompletionRequest(model_uri="gpt://b1gtest/gemma-3-12b-it", source_dataset_id=DATASET)
    begun = BatchCompletionMetadata()
    client.call("TextGenerationBatchService/Completion", request, named("one")).only.metadata.Unpack(begun)
    look = DescribeBatchInferenceRequest(task_id=begun.task_id)
    assert client.call("BatchInferenceService/Describe", look).only.task.task_id == begun.task_id
    assert client.call("BatchInferenceService/Describe", look, named("two")).code == "NOT_FOUND"


def test_sessions_are_listed(serve: Serve, connect: Connect) -> None:
    client = connect(serve(SLOW, frozen=True))
    job = Controller(client, session="job")
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.complete, asking("ждать"), metadata=job.metadata)
        job.sleepers(1)
        listed = {one.id: one for one in Controller(client).do("ListSessions").sessions}
        assert set(listed) == {"", "job"}
        assert (listed["job"].calls, listed["job"].open_calls, listed["job"].rules) == (1, 1, 1)
        assert listed[""].open_calls == 0
        job.advance(60)
        assert waiting.result().code == "OK"
    assert Controller(client).do("Info").sessions == 2


# -- when they end


def test_calls_that_wait_in_a_deleted_session_end_and_it_begins_anew(serve: Serve, connect: Connect) -> None:
    client = connect(serve(SLOW, frozen=True))
    job, control = Controller(client, session="job"), Controller(client)
    first = client.call(ASYNC, asking("а"), metadata=job.metadata).only.id
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(client.complete, asking("ждать"), metadata=job.metadata)
        watching = job.watch(past=True)
        next(watching)
        job.sleepers(1)
        control.do("DeleteSession", id="job")
        ended = waiting.result()
        assert (ended.code, ended.text) == ("CANCELLED", "the session job is over")
    with pytest.raises(grpc.RpcError):
        list(watching)
    assert watching.code() is grpc.StatusCode.CANCELLED
    assert get(client, first).code == "NOT_FOUND"
    assert control.refused("DeleteSession", id="job")[0] == "NOT_FOUND"
    assert client.call(ASYNC, asking("а"), metadata=job.metadata).only.id == first


def test_the_first_session_stays(serve: Serve, connect: Connect) -> None:
    code, text = Controller(connect(serve())).refused("DeleteSession")
    assert code == "INVALID_ARGUMENT"
    assert "reset it" in text


def test_an_idle_session_goes_when_another_begins_but_none_that_is_in_use(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, ahead = Monotonic.now, [0.0]
    with Emulator(SLOW, frozen=True, session_idle=30.0) as emulator, ThreadPoolExecutor() as pool:
        client = connect(emulator)
        monkeypatch.setattr(Monotonic, "now", staticmethod(lambda: now() + ahead[0]))
        for name in ("idle", "watched"):
            client.complete(asking("а"), metadata=named(name))
        watching = Controller(client, session="watched").watch(past=True)
        next(watching)
        job = Controller(client, session="open")
        waiting = pool.submit(client.complete, asking("ждать"), metadata=job.metadata, timeout=600)
        job.sleepers(1)
        ahead[0] = 100.0
        client.complete(asking("а"), metadata=named("other"))
        assert {session.id for session in emulator.sessions} == {"", "watched", "open", "other"}
        watching.cancel()
        watched = emulator.sessions.get("watched")
        eventually(lambda: watched is not None and not watched.holders)
        job.advance(60)
        assert waiting.result().code == "OK"
        ahead[0] = 125.0
        client.complete(asking("а"), metadata=named("last"))
        assert {session.id for session in emulator.sessions} == {"", "watched", "open", "other", "last"}
        ahead[0] = 160.0
        client.complete(asking("а"), metadata=named("new"))
        assert {session.id for session in emulator.sessions} == {"", "new"}


def test_there_is_a_limit_to_sessions_and_the_refusal_says_what_to_do(serve: Serve, connect: Connect) -> None:
    emulator = serve(max_sessions=3)
    emulator.place.do(lambda: [emulator.sessions.named(f"s{n}") for n in range(3)])
    client = connect(emulator)
    refused = client.complete(asking("а"), metadata=named("more"))
    assert refused.code == "RESOURCE_EXHAUSTED"
    assert refused.text == ("there are 3 sessions in use; delete some, lower --session-idle, or raise --max-sessions")
    Controller(client).do("DeleteSession", id="s0")
    assert client.complete(asking("а"), metadata=named("more")).code == "OK"


def test_streams_may_pause_as_long_as_there_are_rules_that_let_them(serve: Serve) -> None:
    pausing = {"reply": {"text": "раз два", "stream": {"stall": {"after": 1, "for": "1ms"}}}}
    emulator = serve()
    shared = emulator.sessions.shared

    def lay(where: Any) -> Any:
        return where.add({"rules": [pausing]})

    assert not shared.pausing
    first, second = lay(emulator), lay(emulator.session("a"))
    assert shared.pausing
    first.remove()
    assert shared.pausing
    second.remove()
    assert not shared.pausing
    lay(emulator.session("a"))
    emulator.place.do(lambda: emulator.sessions.delete("a"))
    assert not shared.pausing
    lay(emulator)
    emulator.reset()
    assert not shared.pausing
    pauses, plain = (load([{"rules": [rule]}]) for rule in (pausing, {"reply": {"text": "раз"}}))
    for book, does in ((pauses, True), (plain, False)):
        emulator.place.do(lambda book=book: setattr(shared, "book", book))
        assert shared.pausing is does
