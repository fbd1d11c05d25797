"""An operation's life as a pure function of its age and its Gets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import SECOND
from emulator.errors import Code
from emulator.replies.statuses import ScriptedStatus
from emulator.replies.timeline import (
    DEFAULTS,
    FINAL,
    Moment,
    Plan,
    Stage,
    Timeline,
    compile_operation,
    default_timeline,
    failure,
    uses_batches,
)
from emulator.rules.decode import decode
from emulator.rules.inline import nodes_of
from emulator.rules.model import Operation
from emulator.rules.problems import Problems
from emulator.seed import Seed

LOST = ScriptedStatus(Code.INTERNAL, "node lost")
CALLS = sorted(DEFAULTS)


def compiled(**spec: Any) -> Plan:
    problems = Problems("spec")
    operation = decode(nodes_of(spec), Operation, problems)
    wrong: list[str] = []
    plan = compile_operation(operation, frozenset(), lambda path, text: wrong.append(text))
    assert not problems.mistakes
    assert not wrong
    return plan


def timeline(call: str, seed: int = 0, **spec: Any) -> Timeline:
    return compiled(**spec).timeline(call, Seed(seed), lambda error, *_: error)


def seconds(*ages: float) -> list[int]:
    return [int(age * SECOND) for age in ages]


def statuses(life: Timeline, *ages: float) -> list[tuple[str | None, bool]]:
    return [((m := life.at(age, 0, {})).status, m.done) for age in seconds(*ages)]


# -- properties of every life


@st.composite
def lives(draw: Any) -> Timeline:
    """Timelines as the loader lets them by, with progress that does not go back."""
    n = draw(st.integers(1, 6))
    ages = sorted(draw(st.lists(st.integers(0, 10**10), min_size=n, max_size=n)))
    total = draw(st.integers(0, 50))
    done_so_far = sorted(draw(st.lists(st.integers(0, total), min_size=n, max_size=n)))
    stages = []
    for i, (age, completed) in enumerate(zip(ages, done_so_far, strict=True)):
        last = i == n - 1
        status = draw(st.sampled_from(FINAL if last else ("CREATED", "PENDING", "IN_PROGRESS")))
        error = LOST if status == "FAILED" and draw(st.booleans()) else None
        said = completed if draw(st.booleans()) and status != "COMPLETED" else None
        stages.append(Stage(age, None, status, last, error, total if i == 0 or draw(st.booleans()) else None, said))
    return Timeline(tuple(stages))


AGES = st.lists(st.integers(0, 11**10), min_size=2, max_size=12).map(sorted)


@given(lives(), AGES)
def test_progress_and_the_last_change_never_go_back(life: Timeline, ages: list[int]) -> None:
    moments = [life.at(age, 0, {}) for age in ages]
    for (before, after), age in zip(itertools.pairwise(moments), ages[1:], strict=True):
        assert before.completed <= after.completed
        assert before.since <= after.since <= age
        assert after.completed <= after.total


@given(lives(), AGES, st.lists(st.integers(0, 5), min_size=12, max_size=12).map(sorted), st.integers(0, 5))
def test_what_is_done_stays_as_it_is(life: Timeline, ages: list[int], polls: list[int], failing: int) -> None:
    if failing:
        life = Timeline((Stage(poll=failing, status="FAILED", done=True, error=LOST), *life.stages))
    over: Moment | None = None
    polled: dict[int, int] = {}
    for age, n in zip(ages, polls, strict=False):
        polled |= {poll: age for poll in range(n + 1) if poll not in polled}
        moment = life.at(age, n, polled)
        assert over is None or moment == over
        over = moment if moment.done else None


@given(lives(), AGES)
def test_done_comes_with_a_response_or_an_error(life: Timeline, ages: list[int]) -> None:
    end = life.at(ages[-1] + 10**11, 0, {})
    assert end.done
    assert end.status in FINAL
    if end.status != "COMPLETED":
        status = failure(end, {})
        assert status.code is not Code.OK
        assert status.message


@given(lives(), st.integers(0, 10**10))
def test_asking_again_tells_the_same(life: Timeline, age: int) -> None:
    assert life.at(age, 0, {}) == life.at(age, 0, {})


@given(st.integers(1, 100), st.integers(0, 10**9), st.integers(1, 10**10), st.data())
def test_progress_runs_evenly_from_stage_to_stage(total: int, began: int, span: int, data: st.DataObject) -> None:
    life = Timeline(
        (Stage(began, status="IN_PROGRESS", total=total), Stage(began + span, status="COMPLETED", done=True))
    )
    age = data.draw(st.integers(began, began + span - 1))
    moment = life.at(age, 0, {})
    assert moment.completed == (age - began) * total // span
    assert moment.completed / total == pytest.approx((age - began) / span, abs=1 / total)
    assert began <= moment.since <= age
    assert life.at(moment.since, 0, {}).completed == moment.completed
    if moment.since > began:
        assert life.at(moment.since - 1, 0, {}).completed < moment.completed
    assert life.at(began + span, 0, {}).completed == total


@given(lives(), st.integers(0, 11**10))
def test_failing_only_changes_what_would_have_completed(life: Timeline, age: int) -> None:
    plain, failed = life.at(age, 0, {}), life.failing(LOST).at(age, 0, {})
    if plain.status == "COMPLETED" and plain.done:
        assert (failed.status, failed.done, failed.error) == ("FAILED", True, LOST)
        assert (failed.total, failed.completed, failed.since) == (plain.total, plain.completed, plain.since)
    else:
        assert failed == plain


# -- where nothing is said


@pytest.mark.parametrize("call", CALLS)
def test_by_default_an_operation_is_done_within_seconds(call: str) -> None:
    life = default_timeline(call)
    assert not life.at(0, 0, {}).done
    assert life.at(10 * SECOND, 0, {}) == Moment("COMPLETED", True, None, 0, 0, DEFAULTS[call][-1].at or 0)


def test_a_batch_passes_through_its_states() -> None:
    states = statuses(default_timeline("completion_batch"), 0, 0.5, 1, 3.9, 4, 5)
    assert states == [
        (None, False),
        ("PENDING", False),
        ("IN_PROGRESS", False),
        ("IN_PROGRESS", False),
        ("COMPLETED", False),
        ("COMPLETED", True),
    ]


# -- what a fixture says


@pytest.mark.parametrize("call", CALLS)
def test_done_after_is_the_age_at_which_it_is_done(call: str) -> None:
    life = timeline(call, done_after="8s")
    assert [life.at(age, 100, {}).done for age in (8 * SECOND - 1, 8 * SECOND)] == [False, True]


def test_done_after_nothing_is_done_at_once() -> None:
    assert timeline("generate_image", done_after="0").at(0, 0, {}).done


def test_a_spread_is_drawn_from_the_seed() -> None:
    ends = [timeline("generate_image", seed, done_after={"p50": "1s", "p95": "5s"}).stages[-1].at for seed in (1, 1, 2)]
    assert ends[0] == ends[1] != ends[2]


def test_a_batch_that_is_done_after_a_time_is_pending_and_in_progress_before() -> None:
    assert statuses(timeline("completion_batch", done_after="100s"), 4.9, 5, 19.9, 20, 99.9, 100) == [
        (None, False),
        ("PENDING", False),
        ("PENDING", False),
        ("IN_PROGRESS", False),
        ("IN_PROGRESS", False),
        ("COMPLETED", True),
    ]


def test_done_after_polls_counts_gets_and_not_time() -> None:
    life = timeline("completion_async", done_after_polls=3)
    assert [life.at(10**15, polls, {}).done for polls in (0, 2)] == [False, False]
    assert life.at(5, 3, {3: 5}) == Moment("COMPLETED", True, None, 0, 0, 5)
    assert life.at(10**15, 9, {3: 5}).since == 5


@pytest.mark.parametrize(("n", "expected"), [(1, ["COMPLETED"]), (2, ["PENDING", "COMPLETED"])])
def test_a_batch_that_is_done_after_gets_passes_through_its_states_as_far_as_there_is_room(
    n: int, expected: list[str]
) -> None:
    life = timeline("completion_batch", done_after_polls=n)
    assert [life.at(0, polls, {}).status for polls in range(1, n + 1)] == expected
    whole = timeline("completion_batch", done_after_polls=4)
    assert [whole.at(0, polls, {}).status for polls in range(1, 5)] == [
        "PENDING",
        "IN_PROGRESS",
        "IN_PROGRESS",
        "COMPLETED",
    ]


def test_an_error_alone_ends_it_when_it_would_have_completed() -> None:
    life = timeline("completion_async", error="ABORTED")
    (before, end) = (life.at(age, 0, {}) for age in seconds(0.5, 1))
    assert not before.done
    assert (end.status, end.done) == ("FAILED", True)
    assert failure(end, {}).code is Code.ABORTED


def test_at_poll_fails_it_at_that_get_whatever_its_age() -> None:
    life = timeline("completion_async", at_poll=2, error={"code": "INTERNAL", "message": "нет"}, done_after="1h")
    assert not life.at(0, 1, {}).done
    end = life.at(0, 2, {2: 0})
    assert (end.status, end.done, failure(end, {}).message) == ("FAILED", True, "нет")


def test_a_batch_that_a_get_has_ended_gets_no_further() -> None:
    stages = [
        {"at": 0, "status": "IN_PROGRESS", "total_batches": 10},
        {"at": "10s", "status": "COMPLETED", "done": True},
    ]
    life = timeline("completion_batch", timeline=stages, at_poll=1, error="INTERNAL")
    for age in seconds(4, 5, 9, 10, 10**6):
        moment = life.at(age, 1, {1: 4 * SECOND})
        assert (moment.status, moment.completed, moment.total, moment.since) == ("FAILED", 4, 10, 4 * SECOND)


def test_at_poll_does_not_undo_what_has_completed_before() -> None:
    life = timeline("completion_async", at_poll=3, error="INTERNAL", done_after="1s")
    first = life.at(2 * SECOND, 1, {})
    assert (first.status, first.done) == ("COMPLETED", True)
    assert life.at(3 * SECOND, 3, {3: 3 * SECOND}) == first


def test_a_get_at_the_very_instant_at_which_it_completes_does_not_undo_that() -> None:
    life = timeline("completion_async", at_poll=2, error="INTERNAL", done_after="1s")
    first = life.at(1 * SECOND, 1, {})
    assert (first.status, first.done) == ("COMPLETED", True)
    assert life.at(1 * SECOND, 2, {2: 1 * SECOND}) == first


def test_a_timeline_is_followed_stage_by_stage() -> None:
    life = timeline(
        "completion_batch",
        timeline=[
            {"at": "1s", "status": "PENDING"},
            {"at": "2s", "status": "IN_PROGRESS", "total_batches": 10},
            {"at": "12s", "status": "FAILED", "completed_batches": 5, "error": {"code": "INTERNAL", "message": "нет"}},
        ],
    )
    moments = [life.at(age, 0, {}) for age in seconds(0, 1, 2, 4, 11.9, 12)]
    assert [(m.status, m.completed, m.total) for m in moments] == [
        (None, 0, 0),
        ("PENDING", 0, 0),
        ("IN_PROGRESS", 0, 10),
        ("IN_PROGRESS", 1, 10),
        ("IN_PROGRESS", 4, 10),
        ("FAILED", 5, 10),
    ]
    assert failure(moments[-1], {}).message == "нет"


@pytest.mark.parametrize(
    ("stage", "status"),
    [
        ({"error": "ABORTED"}, "FAILED"),
        ({"done": True}, "COMPLETED"),
        ({}, "IN_PROGRESS"),
        ({"status": "cancelled"}, "CANCELED"),
        ({"status": "Canceled"}, "CANCELED"),
    ],
)
def test_a_stage_may_leave_its_status_to_what_it_says_besides(stage: dict[str, Any], status: str) -> None:
    assert timeline("completion_batch", timeline=[{"at": "1s", **stage}]).at(SECOND, 0, {}).status == status


def test_single_gets_may_fail_while_it_lives_on() -> None:
    life = timeline("completion_async", done_after="1s", polls={2: "UNAVAILABLE", 3: {"error": "INTERNAL"}})
    assert {n: fault.code.name for n, fault in life.faults.items()} == {2: "UNAVAILABLE", 3: "INTERNAL"}
    assert life.at(SECOND, 2, {}).status == "COMPLETED"


@pytest.mark.parametrize(("status", "code"), [("CANCELED", Code.CANCELLED), ("FAILED", Code.INTERNAL)])
def test_an_end_that_names_no_error_still_has_one(status: str, code: Code) -> None:
    ended = failure(Moment(status, True), {})
    assert ended.code is code
    assert ended.message


def test_a_timeline_that_counts_batches_is_a_batchs() -> None:
    assert uses_batches(compiled(timeline=[{"at": "1s"}, {"at": "2s", "completed_batches": 1}]).spec)
    assert not uses_batches(compiled(timeline=[{"at": "1s"}]).spec)


# -- where an operation is to be done at the first Get


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("spec", "given_"),
    [
        ({}, False),
        ({"error": "ABORTED"}, False),
        ({"polls": {2: "UNAVAILABLE"}}, False),
        ({"done_after": "1s"}, True),
        ({"done_after_polls": 2}, True),
        ({"timeline": [{"at": "1s", "done": True}]}, True),
        ({"at_poll": 2, "error": "ABORTED"}, True),
    ],
)
def test_a_timeline_knows_whether_its_times_were_given(call: str, spec: dict[str, Any], given_: bool) -> None:
    life = timeline(call, **spec)
    assert life.given is given_
    assert life.failing(LOST).given is given_
    assert (life.at_first_get() == life) is given_


@pytest.mark.parametrize("call", CALLS)
def test_a_life_without_given_times_can_end_at_the_first_get(call: str) -> None:
    life = default_timeline(call).at_first_get()
    assert not life.at(10**15, 0, {}).done
    assert life.at(5, 1, {1: 5}) == Moment("COMPLETED", True, None, 0, 0, 5)
    failed = timeline(call, error="ABORTED", polls={2: "UNAVAILABLE"}).at_first_get()
    assert failure(failed.at(5, 1, {1: 5}), {}).code is Code.ABORTED
    assert list(failed.faults) == [2]
    assert default_timeline(call).failing(LOST).at_first_get().at(5, 1, {1: 5}).error == LOST


# -- what comes next


def test_the_next_stage_is_the_next_by_age_and_then_the_end() -> None:
    life = default_timeline("completion_batch")
    nexts = [life.following(age, 0) for age in seconds(0, 0.5, 1, 4, 5)]
    assert nexts == [*life.stages, None]


def test_the_next_stage_by_gets_is_the_one_with_the_fewest() -> None:
    life = timeline("completion_batch", done_after_polls=4)
    assert [stage.poll for n in range(4) if (stage := life.following(0, n)) is not None] == [1, 2, 4, 4]


def test_a_get_that_ends_it_comes_before_the_end_by_age() -> None:
    life = timeline("completion_batch", at_poll=3, error="INTERNAL", done_after="100s")
    stages = [life.following(age, 0) for age in seconds(0, 5, 20)]
    assert [(stage.at, stage.poll) for stage in stages if stage is not None] == [
        (5 * SECOND, None),
        (20 * SECOND, None),
        (None, 3),
    ]
