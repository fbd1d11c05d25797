"""Operations that are kept: by hand, their ids, what has been told of them, and as data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.api import (
    BatchCompletionMetadata,
    BatchCompletionResponse,
    CompletionResponse,
    ImageGenerationResponse,
    QuotaFailure,
    RetryInfo,
    ValidateDatasetResponse,
    pack,
)
from emulator.clock import SECOND, Clock
from emulator.errors import Code, Status
from emulator.operations import RETENTION, Operations, error_of
from emulator.replies.play import Play
from emulator.replies.statuses import ScriptedStatus
from emulator.replies.stored import StoredOperation
from emulator.replies.timeline import DEFAULTS, FINAL, Moment, Stage, Timeline
from emulator.seed import Seed

BEGAN = 1_700_000_000 * SECOND
LOST = ScriptedStatus(Code.INTERNAL, "узел потерян", (RetryInfo(), QuotaFailure()))
BUSY = ScriptedStatus(Code.UNAVAILABLE, None)
ANSWER = CompletionResponse(model_version="1.0")
FINALS: dict[str, Any] = {
    "completion_async": ANSWER,
    "generate_image": ImageGenerationResponse(image=b"\xff\xd8 picture"),
    "completion_batch": None,
    "validate_dataset": ValidateDatasetResponse(dataset_id="fds1", is_valid=True),
}
HALFWAY = Timeline(
    (
        Stage(10 * SECOND, status="PENDING"),
        Stage(30 * SECOND, total=10),
        Stage(90 * SECOND, status="FAILED", done=True, error=LOST, completed=5),
    )
)


class Hand(Clock):
    """A clock that stands until a test moves it."""

    def __init__(self) -> None:
        super().__init__(BEGAN)
        self.instant = BEGAN

    def now(self) -> int:
        return self.instant


class Kept:
    """Operations under a clock of the test's, with one that has begun."""

    def __init__(self, timeline: Timeline | None = None, call: str = "completion_batch", **more: Any) -> None:
        self.clock = Hand()
        self.operations = Operations(self.clock)
        final = FINALS[call]
        play = Play("a rule", final=lambda: final, timeline=timeline, **more)
        self.record = self.operations.begin("fbi1", call, BEGAN, "aje1", play, task_id="fbi2", dataset_id="fds1")

    def wait(self, seconds: float) -> None:
        self.clock.instant += int(seconds * SECOND)

    @property
    def moment(self) -> Moment:
        return self.record.moment(self.clock.now())

    @property
    def message(self) -> Any:
        return self.operations.message(self.record)

    @property
    def modified(self) -> int:
        """Seconds from creation to the last change, as clients are told."""
        return int(self.message.modified_at.seconds) - BEGAN // SECOND

    def get(self) -> Any:
        return self.operations.message(*self.operations.poll("fbi1"))

    def stored(self) -> list[StoredOperation]:
        return through_json(self.operations.dump())


def through_json(stored: list[StoredOperation]) -> list[StoredOperation]:
    return msgspec.json.decode(msgspec.json.encode(stored), type=list[StoredOperation])


def refused(act: Callable[[], Any], code: Code = Code.FAILED_PRECONDITION) -> str:
    with pytest.raises(Status) as raised:
        act()
    assert raised.value.code is code
    return raised.value.message


# -- by hand


@pytest.mark.parametrize("call", sorted(DEFAULTS))
def test_an_operation_finished_by_hand_is_done_with_its_response(call: str) -> None:
    kept = Kept(call=call)
    kept.operations.finish("fbi1")
    message = kept.message
    assert message.done
    expected = FINALS[call] or BatchCompletionResponse(task_id="fbi2", task_status=4, result_dataset_id="fds1")
    assert message.response == pack(expected)


def test_finishing_passes_over_the_failure_that_was_to_come_and_completes_all_batches() -> None:
    kept = Kept(HALFWAY)
    kept.wait(50)
    kept.operations.finish("fbi1")
    assert (kept.moment.status, kept.moment.completed, kept.moment.total) == ("COMPLETED", 10, 10)
    kept.wait(1000)
    assert (kept.message.WhichOneof("result"), kept.modified) == ("response", 50)


def test_a_picture_that_is_not_drawn_can_be_finished() -> None:
    kept = Kept(call="generate_image", slow=True)
    kept.operations.finish("fbi1")
    assert kept.operations.slow(kept.record)
    assert kept.message.HasField("response")


def test_what_has_no_response_can_not_be_finished() -> None:
    kept = Kept(call="completion_async", failure=Status(Code.ABORTED, "нет"))
    assert "operation fbi1 has no response" in refused(lambda: kept.operations.finish("fbi1"))
    assert not kept.moment.done


def test_an_operation_failed_by_hand_has_the_error_it_was_given() -> None:
    kept = Kept()
    details = (RetryInfo(), pack(QuotaFailure()))
    kept.operations.fail("fbi1", Status(Code.RESOURCE_EXHAUSTED, "хватит", details=details))
    error = kept.message.error
    assert (error.code, error.message) == (8, "хватит")
    assert [detail.type_url.rpartition(".")[2] for detail in error.details] == ["RetryInfo", "QuotaFailure"]
    assert error_of(kept.moment) == error


def test_an_operation_failed_with_no_error_is_internal() -> None:
    kept = Kept()
    kept.operations.fail("fbi1")
    assert kept.message.error.code == 13
    assert kept.message.error.message


def test_ok_is_no_error_to_fail_with() -> None:
    kept = Kept()
    assert "OK" in refused(lambda: kept.operations.fail("fbi1", Status(Code.OK, "")), Code.INVALID_ARGUMENT)
    assert not kept.moment.done


def test_what_is_done_stays_as_it_is_whoever_asks() -> None:
    kept = Kept()
    kept.wait(5)
    before = kept.message
    operations = kept.operations
    for act in (operations.finish, operations.fail, operations.step):
        assert refused(lambda act=act: act("fbi1")) == "operation fbi1 is done already (COMPLETED)"
    operations.cancel("fbi1")
    assert kept.message == before


def test_an_unknown_operation_is_not_found_by_hand_either() -> None:
    operations = Kept().operations
    for act in (operations.finish, operations.fail, operations.cancel, operations.step):
        assert "fbi9" in refused(lambda act=act: act("fbi9"), Code.NOT_FOUND)


def test_later_gets_do_not_change_what_was_cancelled() -> None:
    kept = Kept(Timeline((Stage(poll=2, total=4, completed=2), Stage(poll=4, status="COMPLETED", done=True))))
    kept.get()
    cancelled = kept.operations.message(kept.operations.cancel("fbi1"))
    kept.wait(7)
    assert [kept.get() for _ in range(4)] == [cancelled] * 4


# -- stepping


def test_a_step_brings_the_next_stage_and_the_rest_follows_at_its_distance() -> None:
    kept = Kept(HALFWAY)
    seen = []
    kept.operations.step("fbi1")
    seen.append((kept.moment.status, kept.moment.completed))
    for wait in (19, 1, 12, 47, 1):
        kept.wait(wait)
        seen.append((kept.moment.status, kept.moment.completed))
    assert seen == [
        ("PENDING", 0),
        ("PENDING", 0),
        ("IN_PROGRESS", 0),
        ("IN_PROGRESS", 1),
        ("IN_PROGRESS", 4),
        ("FAILED", 5),
    ]


def test_the_last_change_is_told_in_the_time_that_really_passed() -> None:
    kept = Kept(HALFWAY)
    kept.wait(4)
    kept.operations.step("fbi1")  # PENDING, 6 s early
    assert kept.modified == 4
    kept.wait(3)
    assert kept.modified == 4
    kept.operations.step("fbi1")  # IN_PROGRESS, 17 s further
    assert kept.modified == 7
    kept.wait(59)
    assert (kept.moment.status, kept.moment.completed, kept.modified) == ("IN_PROGRESS", 4, 7 + 48)
    kept.wait(1)
    assert (kept.moment.status, kept.modified) == ("FAILED", 7 + 60)
    kept.wait(1000)
    assert kept.modified == 7 + 60


def test_an_end_by_hand_after_a_step_is_told_at_its_instant() -> None:
    kept = Kept(HALFWAY)
    kept.operations.step("fbi1")
    kept.wait(5)
    kept.operations.cancel("fbi1")
    kept.wait(5)
    assert kept.modified == 5


@pytest.mark.parametrize("call", sorted(DEFAULTS))
def test_default_timelines_can_be_stepped_to_their_end(call: str) -> None:
    kept = Kept(call=call)
    for stage in DEFAULTS[call]:
        kept.operations.step("fbi1")
        assert (kept.moment.status, kept.moment.done) == (stage.status, stage.done)
    assert kept.message.HasField("response")
    if call != "generate_image":
        assert kept.modified == 0


def test_a_step_to_a_stage_by_gets_is_as_if_they_had_come() -> None:
    kept = Kept(Timeline((Stage(poll=1, status="PENDING"), Stage(poll=3), Stage(poll=5, status="FAILED", done=True))))
    kept.wait(2)
    kept.operations.step("fbi1")
    kept.operations.step("fbi1")
    assert (kept.moment.status, kept.record.polls, kept.modified) == ("IN_PROGRESS", 3, 2)
    kept.wait(2)
    assert [kept.get().done for _ in range(2)] == [False, True]
    assert kept.modified == 4


def test_steps_follow_the_stages_by_age_before_the_get_that_ends_it() -> None:
    end = Stage(poll=3, status="FAILED", done=True, error=LOST)
    kept = Kept(Timeline((end, Stage(1 * SECOND, status="PENDING"), Stage(9 * SECOND, status="COMPLETED", done=True))))
    kept.operations.step("fbi1")
    assert kept.moment.status == "PENDING"
    kept.operations.step("fbi1")
    assert (kept.moment.status, kept.record.polls) == ("FAILED", 3)


def test_after_the_last_stage_there_is_no_step() -> None:
    kept = Kept(Timeline((Stage(1 * SECOND),)))
    kept.operations.step("fbi1")
    assert "no further stage" in refused(lambda: kept.operations.step("fbi1"))


def test_an_operation_that_was_stepped_is_kept_as_long_as_any_other() -> None:
    kept = Kept(Timeline((Stage(RETENTION * 2, status="COMPLETED", done=True),)))
    kept.operations.step("fbi1")
    kept.clock.instant += RETENTION
    assert "fbi1" in kept.operations
    kept.clock.instant += 1
    assert "fbi1" not in kept.operations


# -- which there are, and what was told of them


def test_a_get_that_tells_the_end_fetches_and_a_scripted_fault_does_not() -> None:
    kept = Kept(Timeline((Stage(1 * SECOND, status="COMPLETED", done=True),), {2: BUSY}))
    assert [kept.get().done, kept.record.fetched] == [False, False]
    kept.wait(1)
    refused(kept.get, Code.UNAVAILABLE)
    assert not kept.record.fetched
    kept.operations.cancel("fbi1")
    assert not kept.record.fetched
    assert [kept.get().done, kept.record.fetched] == [True, True]


def test_what_a_get_tells_is_of_the_instant_it_came() -> None:
    kept = Kept()
    record, asked = kept.operations.poll("fbi1")
    kept.wait(5)
    assert not kept.operations.message(record, asked).done
    assert not record.fetched


def test_operations_are_listed_in_order_of_creation_however_many_were_looked_at() -> None:
    kept = Kept()
    ids = ["fbi1"]
    for n in range(7):
        ids.append(f"d7q{n}")
        kept.operations.begin(ids[-1], "completion_async", BEGAN, "aje1", Play("a rule"))
    assert [record.id for record in kept.operations] == ids


def test_those_whose_time_is_over_are_let_go_as_others_begin() -> None:
    kept = Kept()
    kept.clock.instant += 2 * RETENTION
    assert ("fbi1" in kept.operations, list(kept.operations)) == (False, [])
    for n in range(3):
        kept.operations.begin(f"d7q{n}", "completion_async", kept.clock.now(), "aje1", Play("a rule"))
    assert len(kept.operations) == 3


def test_after_clear_there_is_none() -> None:
    kept = Kept()
    kept.operations.clear()
    assert (len(kept.operations), list(kept.operations), "fbi1" in kept.operations) == (0, [], False)


def test_an_id_that_is_taken_is_not_given_again() -> None:
    kept = Kept()
    seed = Seed(1).at("operation", 0)
    ids = []
    for _ in range(4):
        ids.append(kept.operations.fresh(seed, "d7q"))
        kept.operations.begin(ids[-1], "completion_async", BEGAN, "aje1", Play("a rule"))
    assert ids == [
        seed.identifier("d7q"),
        *(seed.identifier("d7q", "again", n) for n in (1, 2, 3)),
    ]
    kept.operations.clear()
    assert kept.operations.fresh(seed, "d7q") == ids[0]


def test_the_id_of_a_batchs_task_is_taken_as_long_as_the_batch_is_kept() -> None:
    kept = Kept()
    seed = Seed(1)
    task = kept.operations.fresh(seed, "fbi", "task")
    assert task == seed.identifier("fbi", "task")
    kept.operations.begin("fbi3", "completion_batch", BEGAN, "aje1", Play("a rule"), task_id=task)
    assert kept.operations.fresh(seed, "fbi", "task") == seed.identifier("fbi", "task", "again", 1)
    kept.clock.instant += 2 * RETENTION
    assert kept.operations.fresh(seed, "fbi", "task") == task


# -- as data


async def test_pictures_are_drawn_once_before_they_become_data() -> None:
    drawn: list[int] = []

    def draw() -> Any:
        drawn.append(1)
        return ImageGenerationResponse(image=b"picture %d" % len(drawn))

    kept = Kept(call="generate_image", slow=True)
    kept.record.reply = draw
    await kept.operations.settle()
    stored = kept.stored()
    assert len(drawn) == 1
    kept.operations.load(stored)
    (restored,) = kept.operations
    assert not restored.slow
    kept.operations.finish("fbi1")
    assert kept.operations.message(restored).response == pack(ImageGenerationResponse(image=b"picture 1"))


async def test_a_picture_drawn_for_an_operation_that_is_gone_is_not_kept_for_another() -> None:
    kept = Kept(call="generate_image", slow=True)
    other = ImageGenerationResponse(image=b"other")

    def draw() -> Any:
        kept.operations.clear()
        return FINALS["generate_image"]

    kept.record.reply = draw
    await kept.operations.drawn(kept.record)
    again = kept.operations.begin(
        "fbi1", "generate_image", BEGAN, "aje1", Play("a rule", final=lambda: other, slow=True)
    )
    kept.operations.finish("fbi1")
    assert kept.operations.message(again).response == pack(other)


def test_a_restored_operation_is_the_same_data_again() -> None:
    kept = Kept(Timeline((*HALFWAY.stages,), {3: BUSY}, given=False))
    kept.get()
    kept.operations.step("fbi1")
    kept.operations.fail("fbi1", Status(Code.ABORTED, "нет", details=(pack(RetryInfo()),)))
    kept.get()
    stored = kept.stored()
    kept.operations.load(stored)
    assert kept.stored() == stored
    assert stored[0].fetched
    (restored,) = kept.operations
    assert (restored.rule, restored.timeline.given) == ("a rule", False)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"call": "completion"}, "call: no such call: 'completion'"),
        ({"id": ""}, "id: it is empty"),
        ({"response_type": "yandex.Nothing"}, "response: no such message: 'yandex.Nothing'"),
        ({"response": b"\xff\xff"}, "response: the bytes are not a serialized yandex.cloud.ai"),
        ({"response_type": "google.rpc.RetryInfo", "response": b""}, "response_type: completion_async is answered"),
        ({"response_type": "", "response": b""}, "response: an operation that completes has one"),
        ({"faults": {1: {"code": 17, "message": ""}}}, "faults.1: code: 17"),
        ({"faults": {1: {"code": 0, "message": ""}}}, "faults.1: code: 0"),
        ({"faults": {1: {"code": 1, "message": "", "details": ["/w=="]}}}, "faults.1: details[0]: the bytes"),
        ({"stages": [{"status": "GONE", "at": 1}]}, "stages[0]: status: no such status: GONE"),
        ({"stages": [{"status": "PENDING"}]}, "stages[0]: a stage is reached by age"),
        ({"stages": [{"status": "PENDING", "at": 1, "poll": 1}]}, "stages[0]: a stage is reached by age"),
        ({"stages": [{"status": "PENDING", "poll": 0}]}, "Gets are counted from 1"),
        ({"stages": [{"status": "PENDING", "at": 1, "done": True}]}, "PENDING can't be done"),
        (
            {"stages": [{"status": "COMPLETED", "at": 1, "done": True, "error": {"code": 1, "message": ""}}]},
            "stages[0]: error: an operation with an error is FAILED, not COMPLETED",
        ),
        ({"stages": [{"status": "PENDING", "poll": 1}], "polls": 1}, "polled: it lacks Get 1"),
        ({"polled": {4: 1}}, "polled: there was no Get 4"),
        ({"ended": {"status": "PENDING", "since": 1}}, "ended: status: an operation ends"),
        ({"ended": {"status": "FAILED", "since": 1}, "skew": 2}, "ended: since"),
        ({"skew": -1}, "$[0].skew"),
        ({"created": "вчера"}, "$[0].created"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_data_that_no_operation_has_is_refused_by_its_place(change: dict[str, Any], told: str) -> None:
    kept = Kept(call="completion_async")
    data = msgspec.json.decode(msgspec.json.encode(kept.operations.dump()))
    text = msgspec.json.encode([{**data[0], **change}])
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - what it tells is looked at below
        kept.operations.load(msgspec.json.decode(text, type=list[StoredOperation]))
    assert told in str(raised.value)
    assert list(kept.operations) == [kept.record]


def test_two_operations_of_one_id_are_refused() -> None:
    kept = Kept()
    with pytest.raises(ValueError, match="operation fbi1: there are two of that id"):
        kept.operations.load(kept.stored() * 2)


# -- any history


@st.composite
def lives(draw: Any) -> Timeline | None:
    """Timelines of the shapes that fixtures can give, with progress that does not go back."""
    shape = draw(st.sampled_from(("default", "ages", "ages with a failing Get", "Gets")))
    if shape == "default":
        return None
    n = draw(st.integers(1, 5))
    places = sorted(draw(st.lists(st.integers(0, 40), min_size=n, max_size=n)))
    total = draw(st.integers(0, 20))
    completed = sorted(draw(st.lists(st.integers(0, total), min_size=n, max_size=n)))
    stages = []
    for i in range(n):
        last = i == n - 1
        status = draw(st.sampled_from(FINAL if last else ("CREATED", "PENDING", "IN_PROGRESS")))
        error = draw(st.sampled_from((LOST, BUSY, None))) if status == "FAILED" else None
        said = completed[i] if draw(st.booleans()) and status != "COMPLETED" else None
        where: dict[str, int] = {"poll": places[i] // 8 + 1} if shape == "Gets" else {"at": places[i] * SECOND}
        stages.append(
            Stage(**where, status=status, done=last, error=error, total=total if not i else None, completed=said)
        )
    if shape == "ages with a failing Get":
        stages.insert(0, Stage(poll=draw(st.integers(1, 4)), status="FAILED", done=True, error=LOST))
    faults = dict.fromkeys(draw(st.sets(st.integers(1, 4), max_size=2)), BUSY)
    return Timeline(tuple(stages), faults, draw(st.booleans()))


ACTS = st.one_of(
    st.integers(0, 12 * 10**9),
    st.sampled_from(("get", "get", "step", "step", "cancel", "finish", "fail")),
)


def acted(operations: Operations, act: str | int) -> tuple[Any, ...]:
    """What the operation told after one more act: bytes, or a status."""
    try:
        if act == "get":
            record = operations.poll("fbi1")[0]
        elif isinstance(act, str):
            record = getattr(operations, act)("fbi1")
        else:
            record = operations.get("fbi1")
    except Status as status:
        return status.code, status.message, tuple(pack(detail).SerializeToString() for detail in status.details)
    return (operations.message(record).SerializeToString(), record.fetched, record.polls)


@given(lives(), st.sampled_from(sorted(DEFAULTS)), st.lists(ACTS, min_size=1, max_size=14), st.data())
def test_no_history_goes_back_and_any_point_of_it_can_be_restored(
    life: Timeline | None, call: str, acts: list[str | int], data: st.DataObject
) -> None:
    kept = Kept(life, call)
    saved = data.draw(st.integers(0, len(acts)))
    copy = Operations(kept.clock)
    before, told, changed = kept.moment, kept.message, BEGAN
    for i, act in enumerate(acts):
        if i == saved:
            copy.load(kept.stored())
        if isinstance(act, int):
            kept.clock.instant += act
        answer = acted(kept.operations, act)
        if i >= saved:
            assert acted(copy, act) == answer
        now, message = kept.moment, kept.message
        assert not before.done or now == before
        assert before.completed <= now.completed
        assert changed <= kept.record.changed(now) <= kept.clock.now()
        assert told.modified_at.seconds <= message.modified_at.seconds
        assert message.done == (message.WhichOneof("result") is not None) == now.done
        if call == "completion_batch":
            metadata = BatchCompletionMetadata.FromString(message.metadata.value)
            assert metadata.completed_batches == now.completed
        before, told, changed = now, message, kept.record.changed(now)
