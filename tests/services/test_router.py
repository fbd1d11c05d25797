"""What all calls have in common: ids, statuses that fit the wire, and an entry whatever becomes of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import ErrorInfo, QuotaFailure, RequestInfo, RetryInfo, RpcStatus
from emulator.call import Call
from emulator.config import Config
from emulator.engine.book import Book
from emulator.errors import Code, Status
from emulator.gates.access import Access
from emulator.gates.session import Finder
from emulator.journal import Entry
from emulator.services.router import Handler, Router, fitting, for_wire
from emulator.sessions import Sessions, Shared

ASCII = "".join(chr(c) for c in range(0x20, 0x7F) if chr(c) != "%")
TEXTS = st.one_of(
    st.text(max_size=300),
    st.builds(lambda text, n: text * n, st.text(min_size=1, max_size=8), st.integers(1, 600)),
)


def on_the_wire(text: str) -> int:
    """Bytes of a text as grpc-message, percent-encoded but for printable ASCII."""
    return len(quote(text, safe=ASCII))


def as_metadata(raw: bytes) -> int:
    """Bytes of a binary trailer: base64 without padding."""
    return (len(raw) * 4 + 2) // 3


# -- what fits


@given(TEXTS, st.integers(9, 5000))
def test_a_fitting_text_fits_and_is_cut_no_shorter_than_need_be(text: str, room: int) -> None:
    got = fitting(text, room)
    assert on_the_wire(got) <= room
    if got == text:
        return
    assert got.endswith("…")
    assert text.startswith(got[:-1])
    assert on_the_wire(text[: len(got)] + "…") > room


def details() -> st.SearchStrategy[list[Any]]:
    quota = TEXTS.map(lambda t: QuotaFailure(violations=[{"subject": t, "description": t}]))
    info = st.builds(lambda a, b: ErrorInfo(reason=a, metadata={"why": b}), TEXTS, TEXTS)
    return st.lists(st.one_of(quota, info, st.just(RetryInfo(retry_delay={"seconds": 2}))), max_size=5)


def call(request_id: str = "6f1d2b1e-0000-4000-8000-000000000001") -> Call:
    return Call("/a.B/C", b"", (), "ipv4:127.0.0.1:4", request_id=request_id)


@given(TEXTS, details())
def test_message_and_details_stay_within_4_kib_whatever_they_say(message: str, given_: list[Any]) -> None:
    status = for_wire(Status(Code.ABORTED, message, details=given_), call())
    raw = status.trailers["grpc-status-details-bin"]
    assert isinstance(raw, bytes)
    assert on_the_wire(status.message) + as_metadata(raw) <= 4096
    rpc = RpcStatus.FromString(raw)
    assert rpc.code == 10
    request_info = RequestInfo()
    assert rpc.details[0].Unpack(request_info)
    assert request_info.request_id == call().request_id
    assert message.startswith(rpc.message.removesuffix("…"))


@given(st.text(max_size=80), st.integers(1, 3))
def test_what_is_short_travels_as_it_is(message: str, n: int) -> None:
    told = [ErrorInfo(reason=f"r{i}") for i in range(n)]
    status = for_wire(Status(Code.ABORTED, message, details=told), call())
    rpc = RpcStatus.FromString(status.trailers["grpc-status-details-bin"])
    assert status.message == rpc.message == message
    assert [any_.type_url.rpartition(".")[2] for any_ in rpc.details] == ["RequestInfo", *["ErrorInfo"] * n]


def test_details_go_from_the_last_one_where_there_is_too_much() -> None:
    told = [ErrorInfo(reason="a"), ErrorInfo(reason="b" * 5000), RetryInfo()]
    rpc = RpcStatus.FromString(
        for_wire(Status(Code.ABORTED, "x", details=told), call()).trailers["grpc-status-details-bin"]
    )
    assert [any_.type_url.rpartition(".")[2] for any_ in rpc.details] == ["RequestInfo", "ErrorInfo"]


def test_scripted_trailers_are_kept_beside_the_details() -> None:
    answered = call()
    answered.trailers.append(("x-cost", "12"))
    status = for_wire(Status(Code.ABORTED, "x", trailers={"x-why": "that"}), answered)
    assert {"x-cost": "12", "x-why": "that"}.items() <= status.trailers.items()


# -- what becomes of calls


def sessions(seed: int = 0) -> Sessions:
    return Sessions(Shared(Book()), Config(seed=seed, now=0))


def routed(owner: Sessions, handlers: dict[str, Handler]) -> Router:
    return Router(Finder(owner, Access(True, None), False), handlers)


async def answered(handler: Handler, method: str = "/a.B/C") -> tuple[list[bytes], Status | None, Entry]:
    """The messages, the status that isn't OK, and the journal's entry."""
    owner = sessions()
    messages: list[bytes] = []
    failed = None
    try:
        async for message in routed(owner, {"/a.B/C": handler}).answer(Call(method, b"?", (), "peer")):
            messages.append(message)  # noqa: PERF401 - what came before the error is kept
    except Status as status:
        failed = status
    (entry,) = owner.default.journal
    return messages, failed, entry


async def test_a_call_that_goes_well_is_journalled_with_what_it_sent() -> None:
    async def handler(call: Call) -> AsyncIterator[bytes]:
        yield b"one"
        yield b"two"

    messages, failed, entry = await answered(handler)
    assert (messages, failed) == ([b"one", b"two"], None)
    assert (entry.code, entry.sent, entry.request, entry.method) == ("OK", 2, b"?", "/a.B/C")


async def test_a_defect_is_an_internal_error_that_tells_the_client_nothing_of_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(call: Call) -> AsyncIterator[bytes]:
        yield b"one"
        raise ZeroDivisionError("in the works")

    with caplog.at_level(logging.ERROR, "emulator"):
        messages, failed, entry = await answered(handler)
    assert failed is not None
    assert (messages, failed.code) == ([b"one"], Code.INTERNAL)
    assert "Zero" not in failed.message
    assert "in the works" not in failed.message
    assert (entry.code, entry.message) == ("INTERNAL", "ZeroDivisionError: in the works")


@pytest.mark.parametrize(
    ("method", "hint"),
    [
        ("/a.B/D", "a.B has no method D; it has C"),
        ("/a.B/", "a.B has no method (none); it has C"),
        ("/a.Bb/C", "no such service: a.Bb"),
        ("nothing", "no such service: nothing"),
    ],
)
async def test_an_unknown_method_is_unimplemented_and_journalled(method: str, hint: str) -> None:
    async def handler(call: Call) -> AsyncIterator[bytes]:
        yield b""

    _, failed, entry = await answered(handler, method)
    assert failed is not None
    assert (failed.code, entry.code) == (Code.UNIMPLEMENTED, "UNIMPLEMENTED")
    assert hint in failed.message


async def _never(call: Call) -> AsyncIterator[bytes]:
    yield b"one"
    await asyncio.Event().wait()


async def test_a_client_that_leaves_is_journalled_as_cancelled() -> None:
    owner = sessions()
    async with aclosing(routed(owner, {"/a.B/C": _never}).answer(Call("/a.B/C", b"", (), "peer"))) as messages:  # type: ignore[type-var]
        assert await anext(messages) == b"one"
    (entry,) = owner.default.journal
    assert (entry.code, entry.message, entry.sent) == ("CANCELLED", "the client left", 1)


async def test_a_client_whose_deadline_has_passed_is_told_from_one_that_left() -> None:
    owner = sessions()
    late = Call("/a.B/C", b"", (), "peer", deadline=0.0)
    async with aclosing(routed(owner, {"/a.B/C": _never}).answer(late)) as messages:  # type: ignore[type-var]
        await anext(messages)
    (entry,) = owner.default.journal
    assert entry.code == "DEADLINE_EXCEEDED"


async def test_health_and_reflection_stay_out_of_the_journal() -> None:
    owner = sessions()

    async def handler(call: Call) -> AsyncIterator[bytes]:
        yield b"fine"

    router = routed(owner, {"/grpc.health.v1.Health/Check": handler})
    got = [m async for m in router.answer(Call("/grpc.health.v1.Health/Check", b"", (), "peer"))]
    assert (got, len(owner.default.journal)) == ([b"fine"], 0)


async def test_ids_come_from_the_seed_and_the_number_of_the_call_alone() -> None:
    async def ids(seed: int) -> list[str]:
        owner = sessions(seed)
        router, calls = routed(owner, {}), [Call("/a.B/C", b"", (), "peer") for _ in range(3)]
        for each in calls:
            with pytest.raises(Status):
                [_ async for _ in router.answer(each)]
        return [each.request_id for each in calls]

    first = await ids(1)
    assert len(set(first)) == 3
    assert await ids(1) == first
    assert not set(await ids(2)) & set(first)
