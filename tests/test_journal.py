"""What the journal keeps, for how long, and what never gets in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.journal import LIMIT_BYTES, LIMIT_ENTRIES, Entry, Journal, masked


def entry(n: int, request: bytes = b"", code: str | None = "OK", unmatched: bool = False) -> Entry:
    return Entry(f"c{n}", "/a.B/C", "completion", request, (), "peer", n, code=code, unmatched=unmatched)


def ids(journal: Journal) -> list[str]:
    return [each.id for each in journal]


def test_entries_are_kept_in_order_and_found_by_id() -> None:
    journal = Journal()
    for n in range(3):
        journal.add(entry(n))
    assert ids(journal) == ["c0", "c1", "c2"]
    found = journal.get("c1")
    assert found is not None
    assert found.began == 1
    assert journal.get("c9") is None
    assert journal.evicted == 0


def test_beyond_the_limit_the_oldest_go() -> None:
    journal = Journal(limit_entries=3)
    for n in range(5):
        journal.add(entry(n))
    assert (ids(journal), journal.evicted) == (["c2", "c3", "c4"], 2)
    assert journal.get("c0") is None


def test_large_requests_push_others_out_before_the_count_does() -> None:
    journal = Journal(limit_bytes=10_000)
    for n in range(5):
        journal.add(entry(n, b"x" * 4000))
    assert ids(journal) == ["c3", "c4"]


def test_a_call_that_is_open_stays_however_old_it_is() -> None:
    journal = Journal(limit_entries=2)
    journal.add(entry(0, code=None))
    for n in range(1, 4):
        journal.add(entry(n))
    assert ids(journal) == ["c0", "c3"]


def test_open_calls_alone_may_pass_the_limit_and_go_once_they_have_ended() -> None:
    journal = Journal(limit_entries=2)
    calls = [entry(n, code=None) for n in range(4)]
    for call in calls:
        journal.add(call)
    assert len(journal) == 4
    for call in calls:
        call.code = "OK"
        journal.close(call)
    journal.add(entry(4))
    assert ids(journal) == ["c3", "c4"]


@given(st.lists(st.integers(0, 3000), max_size=60), st.integers(1, 10), st.integers(600, 8000))
def test_the_bounds_hold_whatever_comes(sizes: list[int], most: int, most_bytes: int) -> None:
    journal = Journal(most, most_bytes)
    for n, size in enumerate(sizes):
        journal.add(entry(n, b"x" * size))
        assert len(journal) <= most
        assert sum(len(each.request) for each in journal) <= most_bytes
    assert journal.evicted + len(journal) == len(sizes)
    kept = ids(journal)
    assert kept == [f"c{n}" for n in range(len(sizes))][len(sizes) - len(kept) :]


def test_a_thousand_calls_are_kept_unless_they_are_large() -> None:
    assert (LIMIT_ENTRIES, LIMIT_BYTES) == (1000, 16 * 1024 * 1024)


def test_it_can_be_read_while_calls_come_in() -> None:
    journal = Journal(limit_entries=2)
    journal.add(entry(0))
    for _ in journal:
        journal.add(entry(1))
        journal.add(entry(2))
    assert ids(journal) == ["c1", "c2"]


def test_the_last_unmatched_call_is_the_latest_of_them() -> None:
    journal = Journal()
    assert journal.last_unmatched() is None
    for n, unmatched in enumerate([True, True, False]):
        journal.add(entry(n, unmatched=unmatched))
    last = journal.last_unmatched()
    assert last is not None
    assert last.id == "c1"


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("authorization", "Api-Key AQVN-very-secret-key", "Api-Key AQVN****"),
        ("authorization", "Bearer t1.9euelZqMm5ySkY", "Bearer t1.9****"),
        ("authorization", "Bearer short", "Bearer ****"),
        ("authorization", "AQVN-very-secret-key", "AQVN****"),
        ("authorization", "", "****"),
        ("authorization", b"Bearer t1.9euelZqMm5ySkY", "Bearer t1.9****"),
        ("x-api-key", "AQVN-very-secret-key", "AQVN****"),
        ("proxy-authorization", "Basic dXNlcjpwYXNzd29yZA==", "Basic dXNl****"),
        ("cookie", "session=0123456789", "sess****"),
    ],
)
def test_credentials_are_masked_and_their_scheme_stays(key: str, value: str | bytes, kept: str) -> None:
    assert masked(((key, value),)) == ((key, kept),)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cookie", "session=very-secret-session; theme=dark"),
        ("cookie", "theme=dark; session=very-secret-session"),
        ("x-api-key", "very-secret-key and-more"),
        ("authorization", "very-secret-key and-more"),
        ("authorization", " very-secret-key"),
        ("authorization", "Bearer  very-secret-key"),
        ("authorization", "Bearer very-secret-key very-secret-too"),
        ("authorization", "Bearer\tvery-secret-key"),
    ],
)
def test_no_more_than_a_hint_of_a_secret_is_kept_however_it_is_written(key: str, value: str) -> None:
    ((_, kept),) = masked(((key, value),))
    assert "secret" not in str(kept)


def test_other_metadata_stays_as_it_came() -> None:
    plain = (("x-folder-id", "b1gtest"), ("trace-bin", b"\x00\xff"), ("user-agent", "grpc-python"))
    assert masked(plain) == plain


def test_a_repeated_credential_is_masked_each_time() -> None:
    twice = (("authorization", "Bearer very-secret-one"), ("authorization", "Bearer very-secret-two"))
    assert [value for _, value in masked(twice)] == ["Bearer very****", "Bearer very****"]
