"""What the journal keeps, for how long, and what never gets in."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire.client import asking, choosing, classifying, drawing, embedding, path, tokenizing

from emulator.api import CompletionResponse
from emulator.calls import METHODS_BY_CALL
from emulator.journal import LIMIT_BYTES, LIMIT_ENTRIES, MOST_WAITING, Entry, Journal, masked
from emulator.replies.play import Play
from emulator.replies.streams import Cutting
from emulator.rules import model
from emulator.seed import Seed


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
        ("x-emulator-token", "very-secret-token", "very****"),
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


# -- bytes


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 900)), max_size=40), st.integers(2000, 8000))
def test_metadata_replies_and_instants_count_among_the_bytes(sizes: list[tuple[int, int]], most_bytes: int) -> None:
    journal = Journal(limit_bytes=most_bytes)
    for n, (key, reply) in enumerate(sizes):
        each = entry(n, code=None)
        each.metadata = (("x", "k" * key),)
        journal.add(each)
        each.replies = (b"r" * reply,)
        each.sent_at.append(n)
        each.code = "OK"
        journal.close(each)
    kept = [len(each.replies[0]) + len(str(each.metadata[0][1])) + 8 for each in journal]
    assert sum(kept) <= most_bytes
    assert journal.evicted + len(journal) == len(sizes)


def test_a_stream_counts_as_its_largest_message() -> None:
    journal = Journal(limit_bytes=10_000)
    for n in range(3):
        each = entry(n, code=None)
        journal.add(each)
        each.play, each.bytes_sent, each.code = Play("r"), 4000, "OK"
        journal.close(each)
    assert ids(journal) == ["c1", "c2"]


def test_what_changes_after_a_call_has_closed_does_not_upset_the_count() -> None:
    journal = Journal(limit_entries=1, limit_bytes=10_000)
    first = entry(0)
    journal.add(first)
    first.message = "x" * 100_000
    for n in range(1, 4):
        journal.add(entry(n, b"x" * 9000))
    assert ids(journal) == ["c3"]


# -- clearing


def test_clearing_forgets_every_call_and_what_ends_later_is_left_out() -> None:
    journal = Journal(limit_entries=3)
    still = entry(0, code=None)
    journal.add(still)
    for n in range(1, 6):
        journal.add(entry(n))
    journal.clear()
    assert (ids(journal), journal.evicted, journal.holds(still)) == ([], 0, False)
    still.code = "OK"
    journal.close(still)
    assert ids(journal) == []


def test_a_call_that_is_open_over_a_clearing_is_not_taken_for_its_namesake() -> None:
    journal = Journal(limit_entries=1)
    old, new = entry(1, code=None), entry(1, code=None)
    journal.add(old)
    journal.clear()
    journal.add(new)
    old.code = new.code = "OK"
    journal.close(old)
    assert (journal.get("c1") is new, journal.holds(old)) == (True, False)
    journal.close(new)
    journal.add(entry(2))
    assert (ids(journal), journal.evicted) == (["c2"], 1)


# -- what was sent


def test_the_messages_of_an_ordinary_call_are_those_that_were_kept() -> None:
    each = entry(1)
    each.replies = (b"abc",)
    each.sent_at.append(7)
    assert (each.messages(), each.sent) == ([b"abc"], 1)


@pytest.mark.parametrize("sent", [0, 1, 2, 3])
def test_the_messages_of_a_stream_are_made_again_as_far_as_they_were_sent(sent: int) -> None:
    final = CompletionResponse()
    final.alternatives.add(status=3).message.text = "раз два три"
    cutting = Cutting(model.Stream(words=1), Seed(0))
    each = entry(1)
    each.play = Play("r", final=lambda: final, cutting=cutting)
    each.sent_at.extend(range(sent))
    texts = [CompletionResponse.FromString(raw).alternatives[0].message.text for raw in each.messages()]
    assert [text.strip() for text in texts] == ["раз", "раз два", "раз два три"][:sent]
    assert each.streamed


# -- what it is about

COMPLETION = METHODS_BY_CALL["completion"]


def about(method: str, request: bytes) -> str:
    return Entry("c1", method, "", request, (), "peer", 0).about


def test_a_call_is_about_its_last_question_in_one_line() -> None:
    assert about(COMPLETION, asking("раз", "да", "два\n  три").SerializeToString()) == "два три"


def test_a_long_question_is_cut() -> None:
    told = about(COMPLETION, asking("щ" * 5000).SerializeToString())
    assert (len(told), told[-1]) == (120, "…")


def test_what_measures_a_text_is_about_that_text() -> None:
    assert about(METHODS_BY_CALL["tokenize"], tokenizing("раз\nдва").SerializeToString()) == "раз два"
    assert about(METHODS_BY_CALL["tokenize_completion"], asking("раз").SerializeToString()) == "раз"
    assert about(METHODS_BY_CALL["text_embedding"], embedding("раз").SerializeToString()) == "раз"
    assert about(METHODS_BY_CALL["classify"], classifying("раз").SerializeToString()) == "раз"
    assert about(METHODS_BY_CALL["few_shot_classify"], choosing("раз", "a").SerializeToString()) == "раз"


def test_a_picture_is_about_its_prompt_and_a_get_about_its_operation() -> None:
    assert about(METHODS_BY_CALL["generate_image"], drawing("рыжий кот").SerializeToString()) == "рыжий кот"
    assert about(path("OperationService/Get"), b"\x0a\x03d7q") == "d7q"


@pytest.mark.parametrize("method", [COMPLETION, "/no.Such/Method"])
def test_a_call_that_can_not_be_read_is_about_nothing(method: str) -> None:
    assert about(method, b"\xff\xff") == ""


# -- subscriptions


async def test_subscribers_get_calls_as_they_close() -> None:
    journal = Journal()
    first = entry(0, code=None)
    journal.add(first)
    with journal.subscribe() as closing:
        waiting = asyncio.ensure_future(anext(closing))
        journal.add(entry(1))
        assert (await waiting).id == "c1"
        first.code = "OK"
        journal.close(first)
        assert (await anext(closing)).id == "c0"


async def test_a_slow_subscriber_loses_the_oldest_and_is_told_how_many() -> None:
    journal = Journal()
    with journal.subscribe() as closing:
        for n in range(MOST_WAITING + 3):
            journal.add(entry(n))
        assert closing.missed == 3
        assert (await anext(closing)).id == "c3"


async def test_what_waits_for_a_slow_subscriber_is_bounded_in_bytes_too() -> None:
    journal = Journal()
    large = LIMIT_BYTES // 4
    with journal.subscribe() as closing:
        for n in range(6):
            journal.add(entry(n, request=bytes(large)))
        assert closing.missed == 3
        assert (await anext(closing)).id == "c3"
        journal.add(entry(6, request=bytes(2 * LIMIT_BYTES)))
        assert closing.missed == 5
        assert (await anext(closing)).id == "c6"
        journal.add(entry(7))
        assert ((await anext(closing)).id, closing.missed) == ("c7", 5)


async def test_a_subscription_that_ends_lets_its_reader_go_and_takes_no_more() -> None:
    journal = Journal()
    with journal.subscribe() as closing:
        waiting = asyncio.ensure_future(anext(closing, None))
        await asyncio.sleep(0)
    assert await waiting is None
    journal.add(entry(1))
    assert [each async for each in closing] == []
