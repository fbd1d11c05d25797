"""How much operations take, in which order they go, and what is said when there is no room for another."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from emulator.api import CompletionResponse, ImageGenerationRequest
from emulator.clock import SECOND, Clock
from emulator.errors import Code, Status
from emulator.operations import RETENTION, Operations
from emulator.replies.defaults import Drawing
from emulator.replies.play import Play
from emulator.replies.timeline import Stage, Timeline
from emulator.seed import Seed

BEGAN = 1_700_000_000 * SECOND
A_MINUTE = Timeline((Stage(at=60 * SECOND, status="COMPLETED", done=True),))
AT_THE_SECOND_GET = Timeline((Stage(poll=2, status="COMPLETED", done=True),))
ENOUGH = 20_000
MOST_BYTES = 250
"""What a pending operation takes beside a reply that is its own."""


class Hand(Clock):
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        super().__init__(BEGAN)
        self.instant = BEGAN

    def now(self) -> int:
        return self.instant


class Kept:
    """Operations under a clock of the test's, `most` at most."""

    def __init__(self, most: int = 3) -> None:
        self.clock = Hand()
        self.operations = Operations(self.clock, most)

    def begin(self, id: str, timeline: Timeline = A_MINUTE, final: Any = None, slow: bool = False) -> None:
        play = Play("a rule", final=final or (lambda: answer("Привет!", 5)), timeline=timeline, slow=slow)
        account, folder = Seed(0).identifier("aje", "account"), Seed(0).identifier("b1g", "folder")
        now = self.clock.now()
        self.operations.begin(id, "generate_image" if slow else "completion_async", now, account, play, folder=folder)

    def wait(self, seconds: float) -> None:
        self.clock.instant += int(seconds * SECOND)

    @property
    def ids(self) -> list[str]:
        return [record.id for record in self.operations]


def answer(text: str, input_tokens: int) -> Any:
    reply = CompletionResponse(model_version="09.02.2025")
    reply.alternatives.add(status=3).message.text = text
    reply.usage.input_text_tokens, reply.usage.completion_tokens = input_tokens, 7
    return reply


def taken_by_each(kept: Kept, begin: Any) -> float:
    """Bytes that each of many operations takes which `begin` begins, by its number."""
    for n in range(10):
        begin(-1 - n)  # what is made once
    tracemalloc.start()
    try:
        for n in range(ENOUGH):
            begin(n)
            kept.clock.instant += 1
        return tracemalloc.get_traced_memory()[0] / ENOUGH
    finally:
        tracemalloc.stop()


def id_of(n: int) -> str:
    return Seed(0).identifier("d7q", n)


# -- how much they take


def test_operations_with_the_same_text_take_no_more_than_their_own_however_the_requests_differ() -> None:
    kept, text = Kept(10**6), "Это ответ. " * 1000
    assert taken_by_each(kept, lambda n: kept.begin(id_of(n), final=lambda: answer(text, n % 100))) <= MOST_BYTES
    record, _ = kept.operations.poll(id_of(7))
    kept.wait(3600)
    assert CompletionResponse.FromString(kept.operations.message(record).response.value) == answer(text, 7)


def test_operations_whose_replies_differ_take_their_replies_beside_that() -> None:
    kept = Kept(10**6)
    own = len(answer("Ответ номер 10000. " * 10, 5).SerializeToString()) + 33  # the header of bytes
    taken = taken_by_each(kept, lambda n: kept.begin(id_of(n), final=lambda: answer(f"Ответ номер {n}. " * 10, 5)))
    assert own - 60 < taken <= own + MOST_BYTES


def test_pictures_that_are_not_drawn_take_no_more_than_their_requests_beside_that() -> None:
    kept = Kept(10**6)
    request = ImageGenerationRequest(model_uri="art://b1g00000000000000000/yandex-art/latest")
    request.messages.add(text="Нарисуй кота на окне, 10000", weight=1)
    request.generation_options.seed = 2**30
    own = len(request.SerializeToString()) + 33  # the header of bytes

    def begin(n: int) -> None:
        drawing = Drawing(f"Нарисуй кота на окне, {n}".encode(), 2**30 + n, (1, 1))
        kept.begin(id_of(n), final=drawing, slow=True)

    assert taken_by_each(kept, begin) <= own + MOST_BYTES


def test_what_is_looked_up_as_alike_is_bounded_itself() -> None:
    kept = Kept(10)
    for n in range(3000):
        kept.wait(100)
        kept.begin(id_of(n), final=lambda n=n: answer(f"{n}" * 100_000, n))
    alike = kept.operations._alike
    assert (len(alike) <= 1024, alike._bytes <= 16 * 1024 * 1024) == (True, True)


# -- which go


def test_at_the_cap_that_goes_which_has_been_done_the_longest() -> None:
    kept = Kept(3)
    kept.begin("pending", Timeline((Stage(at=3600 * SECOND, status="COMPLETED", done=True),)))
    kept.begin("a minute")
    kept.begin("cancelled")
    kept.wait(30)
    kept.operations.cancel("cancelled")
    kept.wait(40)
    kept.begin("one more")
    assert kept.ids == ["pending", "a minute", "one more"]
    kept.begin("two more")
    assert kept.ids == ["pending", "one more", "two more"]


def test_one_that_a_get_has_ended_goes_and_one_that_waits_for_a_get_stays() -> None:
    kept = Kept(2)
    kept.begin("asked", AT_THE_SECOND_GET)
    kept.begin("waiting", AT_THE_SECOND_GET)
    for _ in range(2):
        kept.operations.poll("asked")
    kept.wait(10**6)
    kept.begin("next", AT_THE_SECOND_GET)
    assert kept.ids == ["waiting", "next"]


def test_one_that_was_stepped_to_its_end_goes() -> None:
    kept = Kept(2)
    kept.begin("stepped")
    kept.begin("pending")
    kept.operations.step("stepped")
    kept.begin("next")
    assert kept.ids == ["pending", "next"]


def test_where_none_is_done_another_is_refused_with_what_to_change() -> None:
    kept = Kept(2)
    kept.begin("one")
    kept.begin("two")
    with pytest.raises(Status) as refused:
        kept.begin("three")
    assert refused.value.code is Code.RESOURCE_EXHAUSTED
    assert refused.value.message == (
        "there are 2 operations in this session and none of them is done; finish, cancel or reset some, or start the "
        "emulator with a higher --max-operations"
    )
    assert kept.ids == ["one", "two"]
    kept.operations.finish("two")
    kept.begin("three")
    assert kept.ids == ["one", "three"]


def test_three_days_after_its_end_an_operation_is_gone_and_takes_no_room() -> None:
    kept = Kept(10**6)
    for n in range(100):
        kept.begin(id_of(n))
    kept.begin("never", AT_THE_SECOND_GET)
    kept.clock.instant += RETENTION + 60 * SECOND
    assert id_of(0) in kept.operations
    kept.clock.instant += 1
    assert kept.ids == ["never"]
    for n in range(50):
        kept.begin(f"new {n}")
    assert len(kept.operations) == 51


def test_operations_that_ended_before_their_time_leave_nothing_behind() -> None:
    kept = Kept(10)
    for n in range(2000):
        kept.begin(id_of(n))
        kept.operations.cancel(id_of(n))
    ends = kept.operations._ends
    assert (len(kept.operations), len(ends._due) < 100, len(ends._told) < 100) == (10, True, True)


def test_after_a_restore_those_that_are_done_are_known_to_be() -> None:
    kept = Kept(4)
    kept.begin("cancelled")
    kept.begin("asked", AT_THE_SECOND_GET)
    kept.begin("stepped")
    kept.begin("pending")
    kept.operations.cancel("cancelled")
    kept.operations.step("stepped")
    for _ in range(2):
        kept.operations.poll("asked")
    kept.operations.load(kept.operations.dump())
    for n in range(3):
        kept.begin(f"new {n}")
    assert kept.ids == ["pending", "new 0", "new 1", "new 2"]


def test_more_than_the_cap_is_not_restored() -> None:
    kept, small = Kept(4), Kept(2)
    for n in range(4):
        kept.begin(id_of(n))
    with pytest.raises(ValueError, match=r"it holds 4 operations, and this emulator keeps 2; .*--max-operations"):
        small.operations.load(kept.operations.dump())
