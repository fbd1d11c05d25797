"""What is noticed about how a client behaves."""

from __future__ import annotations

import pytest
from wire.client import path

from emulator.behaviour import MOST_FAILURES, MOST_OPERATIONS, NO_DEADLINE, RETRIED, Habits
from emulator.calls import METHODS_BY_CALL
from emulator.clock import Monotonic
from emulator.journal import Entry

COMPLETION = METHODS_BY_CALL["completion"]
GET = path("OperationService/Get")


class Client:
    """Makes calls that are watched."""

    def __init__(self) -> None:
        self.habits = Habits()
        self.n = 0

    def begin(
        self, request: bytes = b"", method: str = COMPLETION, deadline: float | None = 30, **headers: str
    ) -> Entry:
        self.n += 1
        metadata = tuple((key.replace("_", "-"), value) for key, value in headers.items())
        entry = Entry(f"c{self.n}", method, "", request, metadata, "peer", 0, deadline=deadline)
        self.habits.opened(entry, dict(entry.metadata).get("x-retry-attempt", ""))
        return entry

    def end(self, entry: Entry, code: str = "OK", whole: bool = True) -> list[str]:
        entry.code, entry.whole = code, whole
        self.habits.closed(entry)
        return list(entry.behaviour)

    def call(self, code: str = "OK", request: bytes = b"", method: str = COMPLETION, **headers: str) -> list[str]:
        return self.end(self.begin(request, method, **headers), code)

    def get(self, id_: str, nth: int, done_before: bool = False) -> list[str]:
        entry = self.begin(method=GET)
        self.habits.polled(entry, id_, nth, done_before)
        return self.end(entry)


@pytest.fixture
def client() -> Client:
    return Client()


def test_a_call_that_is_as_it_should_be_gets_no_remark(client: Client) -> None:
    assert client.call() == []
    assert client.call() == []


def test_a_call_without_a_deadline_is_told_of(client: Client) -> None:
    assert client.end(client.begin(deadline=None)) == [NO_DEADLINE]
    assert client.end(client.begin(method="/other.Service/Method", deadline=None)) == []


# -- retries


@pytest.mark.parametrize("code", sorted(RETRIED))
def test_the_same_request_after_a_failure_is_a_retry(client: Client, code: str) -> None:
    client.call(code)
    assert client.call() == ["a retry of c1 without an idempotency-key: the work may be done twice"]


@pytest.mark.parametrize("code", ["OK", "INVALID_ARGUMENT", "PERMISSION_DENIED", "NOT_FOUND"])
def test_the_same_request_after_an_answer_that_stands_is_no_retry(client: Client, code: str) -> None:
    client.call(code)
    assert client.call() == []


def test_another_request_or_method_is_no_retry(client: Client) -> None:
    client.call("UNAVAILABLE", b"a")
    assert client.call(request=b"b") == []
    assert client.call(request=b"a", method=METHODS_BY_CALL["completion_async"]) == []


def test_a_retry_that_went_well_ends_the_matter(client: Client) -> None:
    client.call("UNAVAILABLE")
    client.call()
    assert client.call() == []


def test_retries_of_retries_name_the_latest(client: Client) -> None:
    client.call("UNAVAILABLE")
    client.call("UNAVAILABLE")
    assert client.call()[0].startswith("a retry of c2 ")


def test_an_idempotency_key_makes_a_retry_safe_if_it_is_the_same(client: Client) -> None:
    client.call("UNAVAILABLE", idempotency_key="k")
    assert client.call("UNAVAILABLE", idempotency_key="k") == ["a retry of c1, with its idempotency-key"]
    other = client.call(idempotency_key="other")
    assert other == ["a retry of c2 with another idempotency-key: the work may be done twice"]


def test_the_clients_own_word_for_a_retry_is_taken(client: Client) -> None:
    assert client.call(x_retry_attempt="0") == []
    told = client.call(x_retry_attempt="1")
    assert told == ["a retry (x-retry-attempt: 1) without an idempotency-key: the work may be done twice"]
    assert client.call(x_retry_attempt="2", idempotency_key="k") == [
        "a retry (x-retry-attempt: 2), with an idempotency-key"
    ]


def test_asking_for_an_operation_again_needs_no_key(client: Client) -> None:
    client.call("UNAVAILABLE", method=GET)
    assert client.call(method=GET) == ["a retry of c1"]


def test_the_last_thousand_failures_are_remembered(client: Client) -> None:
    for n in range(MOST_FAILURES + 1):
        client.call("UNAVAILABLE", str(n).encode())
    assert client.call(request=b"0") == []
    assert client.call(request=b"1") != []


# -- polls


def test_the_interval_between_polls_is_told_in_real_time(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    instants = iter([100.0, 110.04, 112.5])
    monkeypatch.setattr(Monotonic, "now", lambda: next(instants))
    told = [client.get("d7q", nth) for nth in (1, 2, 3)]
    assert told == [[], ["the 2nd Get, 10.0 s after the one before"], ["the 3rd Get, 2.5 s after the one before"]]


@pytest.mark.parametrize(("nth", "words"), [(4, "4th"), (11, "11th"), (12, "12th"), (21, "21st"), (103, "103rd")])
def test_a_get_is_numbered_as_people_do(client: Client, nth: int, words: str) -> None:
    assert client.get("d7q", nth) == [f"the {words} Get"]


def test_a_get_after_the_end_was_told_names_the_call_that_was_told(client: Client) -> None:
    client.get("d7q", 1)
    for nth in (2, 3):
        assert client.get("d7q", nth, done_before=True)[1] == "Get of an operation that c1 was told is done already"


def test_it_is_told_without_a_name_where_that_is_not_known(client: Client) -> None:
    assert client.get("d7q", 2, done_before=True)[1] == "Get of an operation that the client was told is done already"


def test_only_so_many_operations_are_remembered(client: Client) -> None:
    for n in range(MOST_OPERATIONS + 1):
        client.get(f"d7q{n}", 1)
    assert client.get("d7q0", 2) == ["the 2nd Get"]
    assert client.get(f"d7q{MOST_OPERATIONS}", 2) != ["the 2nd Get"]


# -- leaving


@pytest.mark.parametrize(
    ("code", "sent", "told"),
    [
        ("CANCELLED", 3, "the client left after 3 messages, before the end"),
        ("CANCELLED", 1, "the client left after 1 message, before the end"),
        ("CANCELLED", 0, "the client left before the first message"),
        ("DEADLINE_EXCEEDED", 2, "the client's deadline passed after 2 messages, before the end"),
    ],
)
def test_a_client_that_leaves_is_told_of(client: Client, code: str, sent: int, told: str) -> None:
    entry = client.begin()
    entry.sent_at.extend(range(sent))
    assert client.end(entry, code, whole=False) == [told]


def test_a_status_that_a_rule_sent_is_not_the_client_leaving(client: Client) -> None:
    assert client.call("CANCELLED") == []
