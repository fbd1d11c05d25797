"""What happens at each bound, over a socket: the sentence of the page about bounds, and a server that goes on."""

from __future__ import annotations

import re
import tempfile
import threading
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from emulator import Emulator
from emulator.api import BatchCompletionRequest, CreateIamTokenRequest
from emulator.config import OPTIONS, Config

from .client import DATASET, FOLDER, STORED, Client, asking, drawing, eventually, tokenizing
from .control import Controller
from .datasets import Datasets, put

if TYPE_CHECKING:
    from conftest import Connect, Serve

PAGE = Path(__file__).parents[2] / "emulator/guide/bounds.md"
ASYNC = "TextGenerationAsyncService/Completion"
PICTURE = "ImageGenerationAsyncService/Generate"
HELLO = {"rules": [{"reply": {"text": "Привет!"}}]}
PENDING = {"rules": [{"reply": {"text": "Привет!"}, "operation": {"done_after": "1h"}}], **STORED}
SILENT = {
    "rules": [
        {"when": {"question": "ждать"}, "reply": {"text": "да", "stream": {"stall": {"after": 0, "for": "forever"}}}}
    ]
}
MIB = 1 << 20


def told_on_the_page(sentence: str) -> bool:
    """Whether the page has a sentence of this shape, whose numbers may be others."""
    text = PAGE.read_text(encoding="utf-8")
    said = re.sub(r"\d+", "#", sentence.rpartition(": ")[2])
    return said in re.sub(r"\b[NM]\b|\d+", "#", text)


def refused(reply: Any, sentence: str) -> None:
    assert (reply.code, reply.text) == ("RESOURCE_EXHAUSTED", sentence)
    assert told_on_the_page(sentence)


@contextmanager
def waiting(client: Client, n: int, emulator: Emulator) -> Iterator[list[Any]]:
    """`n` streams under way that wait until they are left."""
    calls = [client.begin("TextGenerationService/Completion", asking("ждать", stream=True)) for _ in range(n)]
    eventually(lambda: emulator.sessions.default.open_calls == n)
    try:
        yield calls
    finally:
        for call in calls:
            call.cancel()


# -- the page


def test_the_page_has_every_option_that_is_a_bound() -> None:
    text = PAGE.read_text(encoding="utf-8")
    names = [name for name in OPTIONS if name.startswith("max_")]
    assert names
    assert [name for name in names if f"`--{name.replace('_', '-')}`" not in text] == []


def test_the_numbers_on_the_page_are_those_that_hold() -> None:
    from emulator import behaviour, control, iam, idempotency, journal, quotas, sessions, snapshots
    from emulator.datasets import MOST_DATASETS
    from emulator.engine import choose, results, verify
    from emulator.operations import MOST_OPERATIONS, collection

    config = Config()
    assert (config.max_streams, config.max_reply, config.max_sessions) == (100_000, 4 * MIB, 1000)
    assert (config.max_operations, config.max_stored) == (MOST_OPERATIONS, 10 << 30) == (1_000_000, 10 << 30)
    assert (collection.MOST_REPLIES, collection.LONG_REPLY) == (1 << 30, 4096)
    assert (sessions.MOST_LAYERS, MOST_DATASETS, choose.MOST_COUNTED) == (10_000, 1000, 100_000)
    assert (snapshots.MOST_OPERATIONS, control.MOST_LISTED) == (100_000, 100_000)
    assert (journal.LIMIT_ENTRIES, journal.LIMIT_BYTES, journal.MOST_WAITING) == (1000, 16 * MIB, 1000)
    assert (idempotency.MOST_REPLIES, idempotency.MOST_BYTES, iam.MOST) == (10_000, 16 * MIB, 1000)
    assert (quotas.MOST_COUNTED, quotas.MOST_SUBJECTS) == (1_000_000, 10_000)
    assert (behaviour.MOST_FAILURES, behaviour.MOST_OPERATIONS) == (1000, 1000)
    assert (verify.MOST_DETAILS, results.MOST_ERRORS) == (100, 1000)


# -- calls and replies


def test_a_request_that_is_too_large_is_refused(serve: Serve, connect: Connect) -> None:
    client = connect(serve(HELLO))
    reply = client.complete(asking("я" * (2 * MIB)))
    size = len(asking("я" * (2 * MIB)).SerializeToString())
    refused(reply, f"Received message larger than max ({size} vs. 4194304)")
    assert client.complete(asking("?")).code == "OK"


def test_calls_beyond_those_that_may_be_under_way_are_refused_until_one_ends(serve: Serve, connect: Connect) -> None:
    emulator = serve(SILENT, max_streams=2)
    client = connect(emulator)
    with waiting(client, 2, emulator) as calls:
        refused(
            client.complete(asking("?")),
            "2 calls are under way; let some end, or start the emulator with a higher --max-streams",
        )
        assert len(Controller(client).do("ListSessions").sessions) == 1
        assert client.call("grpc.health.v1.Health/Check", b"").code == "OK"
        calls[0].cancel()
        eventually(lambda: emulator.sessions.default.open_calls == 1)
        assert client.complete(asking("?")).code == "OK"


def test_requests_over_http_have_the_same_bound(serve: Serve, connect: Connect) -> None:
    emulator = serve(max_streams=1)
    datasets = Datasets(emulator, connect(emulator))
    first, second = (datasets.upload_url(datasets.create(), 10) for _ in range(2))
    gate, begun = threading.Event(), threading.Event()

    def slowly() -> Iterator[bytes]:
        yield b"12345"
        begun.set()
        assert gate.wait(20)
        yield b"12345"

    answers: list[httpx.Response] = []
    upload = threading.Thread(
        target=lambda: answers.append(httpx.put(first, content=slowly(), headers={"Content-Length": "10"}))
    )
    upload.start()
    assert begun.wait(20)
    eventually(lambda: emulator.sessions.default.holders == 1)
    busy = put(second, b"1234567890")
    gate.set()
    upload.join()
    assert (busy.status_code, "<Code>SlowDown</Code>" in busy.text) == (503, True)
    assert "1 requests are under way; let some end, or start the emulator with a higher --max-streams" in busy.text
    assert (answers[0].status_code, put(second, b"1234567890").status_code) == (200, 200)


@pytest.mark.parametrize("stream", [False, True])
def test_a_reply_that_is_too_large_is_refused(serve: Serve, connect: Connect, stream: bool) -> None:
    long = {"when": {"question": "много"}, "reply": {"text": "а" * 600, "stream": {"chunks": 1}}}
    client = connect(serve({"rules": [long, {"reply": {"text": "Привет!"}}]}, max_reply=1000))
    reply = client.complete(asking("много", stream=stream))
    size = re.search(r"has (\d+) bytes", reply.text)
    assert size is not None
    refused(
        reply,
        f"a message of the reply has {size[1]} bytes, and 1000 are sent at most; shorten it, or start the emulator "
        "with a higher --max-reply (clients take 4 MiB by default)",
    )
    assert client.complete(asking("?", stream=stream)).code == "OK"


def test_the_templates_of_a_reply_are_bounded_together(serve: Serve, connect: Connect) -> None:
    parts = [f"{{{{ 'я' * 300000 }}}}{n}" for n in range(4)]
    rules = [{"when": {"question": "много"}, "reply": {"json": {"parts": parts}}}, {"reply": {"text": "Привет!"}}]
    client = connect(serve({"rules": rules}))
    reply = client.complete(asking("много"))
    assert reply.code == "FAILED_PRECONDITION"
    assert reply.text.endswith("the templates make more than 1000000 characters together")
    assert client.complete(asking("?")).code == "OK"


def test_a_stream_of_growing_messages_keeps_its_text_and_no_message(serve: Serve, connect: Connect) -> None:
    text = "Слово и ещё одно. " * 30_000  # a megabyte
    rules = [{"reply": {"text": text, "stream": {"chunks": 20}}}]
    emulator = serve({"rules": rules})
    client = connect(emulator)
    assert len(client.complete(asking("раз", stream=True)).messages) == 20
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert len(client.complete(asking("два", stream=True)).messages) == 20
        kept = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert kept < 4 * len(text.encode())
    assert len(emulator.calls()[-1].replies) == 20


# -- operations


def test_operations_beyond_the_cap_are_refused_where_none_is_done(serve: Serve, connect: Connect) -> None:
    emulator = serve(PENDING, max_operations=2, frozen=True)
    client = connect(emulator)
    ids = [client.call(ASYNC, asking("?")).only.id, client.call(PICTURE, drawing()).only.id]
    sentence = (
        "there are 2 operations in this session and none of them is done; finish, cancel or reset some, or start the "
        "emulator with a higher --max-operations"
    )
    counters = emulator.snapshot()
    batch = BatchCompletionRequest(model_uri=f"gpt://{FOLDER}/gemma-3-12b-it", source_dataset_id=DATASET)
    refused(client.call(ASYNC, asking("?")), sentence)
    refused(client.call(PICTURE, drawing()), sentence)
    refused(client.call("TextGenerationBatchService/Completion", batch), sentence)
    assert re.sub(b'"calls": \\d+', b"", emulator.snapshot()) == re.sub(b'"calls": \\d+', b"", counters)
    emulator.operations.finish(ids[0])
    third = client.call(ASYNC, asking("?")).only.id
    assert [view.id for view in emulator.operations.list()] == [ids[1], third]
    assert client.operation(third).id == third


def test_long_replies_of_operations_are_bounded_together(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.operations.collection.MOST_REPLIES", 20_000)
    reply = {"text": "{{ question }}" * 1000}
    emulator = serve({"rules": [{"reply": reply, "operation": {"done_after": "1h"}}]}, frozen=True)
    client = connect(emulator)
    same = [client.call(ASYNC, asking("раз")).only.id for _ in range(5)]
    client.call(ASYNC, asking("два!"))
    full = client.call(ASYNC, asking("три!"))
    assert full.code == "RESOURCE_EXHAUSTED"
    assert full.text.startswith("the replies of the operations in this session that differ hold more than 20000 bytes")
    assert full.text.endswith("and none of the operations is done; finish, cancel or reset some")
    for id_ in same:
        emulator.operations.cancel(id_)
    assert client.call(ASYNC, asking("три!")).code == "OK"
    assert len(emulator.operations.list()) == 2


def test_a_finished_operation_is_gone_after_three_days_of_the_emulators_clock(serve: Serve, connect: Connect) -> None:
    emulator = serve(HELLO, frozen=True)
    client = connect(emulator)
    old = client.call(ASYNC, asking("?")).only.id
    emulator.clock.advance("72h")
    assert client.operation(old).done
    emulator.clock.advance("2s")
    client.call(ASYNC, asking("?"))
    assert len(emulator.sessions.default.operations) == 1


def test_too_many_operations_are_neither_listed_nor_snapshotted(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connect(serve(HELLO))
    control = Controller(client)
    for _ in range(3):
        client.call(ASYNC, asking("?"))
    monkeypatch.setattr("emulator.control.MOST_LISTED", 2)
    monkeypatch.setattr("emulator.snapshots.MOST_OPERATIONS", 2)
    refused(
        control.ask("ListOperations"),
        "there are 3 operations, and 2 are listed at most; reset those that are done with, or ask for them by their "
        "ids",
    )
    code, text = control.refused("Snapshot")
    assert code == "FAILED_PRECONDITION"
    assert text == "this session has 3 operations, and a snapshot takes 2; reset those that are done with"
    assert told_on_the_page(text)


# -- sessions, rules and what they count


def test_layers_of_rules_are_bounded(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("emulator.sessions.MOST_LAYERS", 2)
    emulator = serve()
    control = Controller(connect(emulator))
    added = [emulator.rule(reply="а"), emulator.rule(reply="б")]
    more = {"files": {"rules.yaml": "rules: [{reply: {text: в}}]".encode()}}
    refused(
        control.ask("AddRules", fixtures=more),
        "2 layers of rules were added in this session; remove some, or add rules together",
    )
    added[0].remove()
    assert control.ask("AddRules", fixtures=more).code == "OK"


def test_rules_that_are_gone_are_counted_no_more_where_they_are_many(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.sessions.MOST_COUNTERS", 5)
    emulator = serve({"rules": [{"name": "last", "reply": {"text": "Привет!"}}]})
    client = connect(emulator)
    client.complete(asking("?"))
    for n in range(20):
        rule = emulator.rule(name=f"r{n}", reply="а")
        client.complete(asking("?"))
        rule.remove()
    chosen = emulator.sessions.default.state.chosen
    assert (len(chosen) <= 7, chosen["last"]) == (True, 1)


def test_who_has_not_asked_for_longest_begins_a_sequence_anew(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.engine.choose.MOST_COUNTED", 2)
    emulator = serve({"rules": [{"replies": [{"text": "раз"}, {"text": "два"}], "per": "question"}]})
    client = connect(emulator)
    long = "вопрос " * 10_000

    def said(question: str) -> str:
        return str(client.complete(asking(question)).only.alternatives[0].message.text)

    assert [said(q) for q in ("а", long, "а", long)] == ["раз", "раз", "два", "два"]
    assert [said(q) for q in ("б", long, "а")] == ["раз", "два", "раз"]
    given = emulator.sessions.default.state.given
    assert len(given) == 2
    assert all(len(counter) < 100 for _, counter in given)


def test_replies_by_key_and_tokens_that_are_too_many_are_forgotten(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.idempotency.MOST_REPLIES", 2)
    monkeypatch.setattr("emulator.iam.MOST", 2)
    emulator = serve(HELLO)
    client = connect(emulator)
    for n in range(4):
        client.complete(asking("?"), metadata=[("idempotency-key", f"{n}")])
        client.call("IamTokenService/Create", CreateIamTokenRequest(yandex_passport_oauth_token="y0_x"))
    session = emulator.sessions.default
    assert (len(session.idempotency), len(session.tokens)) == (2, 2)
    assert client.complete(asking("?"), metadata=[("idempotency-key", "0")]).code == "OK"


def test_a_call_larger_than_the_journal_goes_and_the_next_are_kept(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator = serve()
    client = connect(emulator)
    journal = emulator.sessions.default.journal
    monkeypatch.setattr(journal, "_limit_bytes", 100_000)
    client.call("TokenizerService/Tokenize", tokenizing("раз"))
    assert client.call("TokenizerService/Tokenize", tokenizing("я" * 90_000)).code == "OK"
    assert (len(journal), journal.evicted) == (0, 2)
    client.call("TokenizerService/Tokenize", tokenizing("два"))
    assert [call.about for call in emulator.calls()] == ["два"]


# -- datasets


def test_stored_bytes_are_bounded_over_all_sessions(serve: Serve, connect: Connect) -> None:
    emulator = serve(max_stored=3 * MIB)
    client = connect(emulator)
    mine = Datasets(emulator, client)
    others = Datasets(emulator, client, [("x-emulator-session", "other")])
    id_ = mine.create()
    mine.upload(id_, b"x" * 2 * MIB)
    answer = put(others.upload_url(others.create(), 2 * MIB), b"x" * 2 * MIB)
    assert (answer.status_code, "<Code>InsufficientStorage</Code>" in answer.text) == (507, True)
    sentence = re.search("<Message>(.*)</Message>", answer.text)
    assert sentence is not None
    assert re.fullmatch(
        r"datasets may hold 3145728 bytes in all, and \d+ are stored; delete some, or start the emulator with a higher "
        "--max-stored",
        sentence[1],
    )
    assert told_on_the_page(sentence[1])
    mine.ask("Delete", dataset_id=id_)
    others.upload(others.create(), b"x" * 2 * MIB)
    Controller(client).do("DeleteSession", id="other")
    mine.upload(mine.create(), b"x" * 2 * MIB)


def test_what_is_said_about_a_dataset_is_bounded(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    datasets = Datasets(emulator, connect(emulator))
    id_ = datasets.create()
    fields = {"folder_id": FOLDER, "task_type": "TextToTextGenerationRequest", "upload_format": "jsonlines"}
    sentence = "description, metadata and labels have 70000 characters together, and 65536 are kept; shorten them"
    refused(datasets.call("Create", description="я" * 70_000, **fields), sentence)
    refused(datasets.call("Update", dataset_id=id_, description="я" * 70_000), sentence)
    assert datasets.info(id_).description == ""


def test_a_full_disk_is_told_with_its_folder_and_the_server_goes_on(
    serve: Serve, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    emulator = serve()
    datasets = Datasets(emulator, connect(emulator))
    id_ = datasets.create()
    url = datasets.upload_url(id_, 2 * MIB)
    full = tmp_path / "full"
    full.symlink_to("/dev/full")
    with monkeypatch.context() as patch:
        patch.setattr("emulator.content.Store.free_path", lambda self: full)
        answer = put(url, b"x" * 2 * MIB)
    assert answer.status_code == 507
    assert f"<Message>the disk is full ({full}); delete datasets, or set TMPDIR to where there is room</" in answer.text
    assert told_on_the_page("the disk is full (PATH); delete datasets, or set TMPDIR to where there is room")
    assert list(tmp_path.iterdir()) == []
    assert put(url, b"x" * 2 * MIB).status_code == 200


def test_small_contents_that_are_many_go_to_the_disk(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.content.MOST_IN_MEMORY_TOGETHER", 1000)
    emulator = serve()
    datasets = Datasets(emulator, connect(emulator))
    ids = [datasets.create() for _ in range(3)]
    for id_ in ids:
        datasets.upload(id_, b"x" * 600)
    folder = emulator.sessions.default.datasets.store._folder
    assert folder is not None
    assert len(folder.files()) == 2
    for id_ in ids:
        datasets.ask("Delete", dataset_id=id_)
    assert folder.files() == []
