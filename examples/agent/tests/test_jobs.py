"""Deferred jobs and pictures, on a clock that belongs to the test; rules are in fixtures/jobs.yaml or in the test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant import Assistant, Failure

if TYPE_CHECKING:
    from conftest import Behind, Make
    from emulator import Emulator

frozen = pytest.mark.fm_emulator(frozen=True)


def test_a_job_without_a_timeline_is_done_at_the_first_look(assistant: Assistant) -> None:
    assert assistant.look(assistant.begin("Сделай сводку за день")) == "За день 12 обращений, все закрыты."


@frozen
def test_a_job_of_three_days_takes_milliseconds(fm_emulator: Emulator, assistant: Assistant) -> None:
    job = assistant.begin("Разбери архив писем")
    assert assistant.look(job) is None
    fm_emulator.clock.advance("71h59m59s")
    assert assistant.look(job) is None
    fm_emulator.clock.advance("1s")
    assert assistant.look(job) == "Разобрано 40 000 писем."


@frozen
def test_a_job_that_is_waited_for_is_told_as_soon_as_it_is_done(
    fm_emulator: Emulator, assistant: Assistant, behind: Behind
) -> None:
    waited = behind(assistant.wait, assistant.begin("Разбери архив писем"))
    fm_emulator.clock.advance("72h")
    assert waited.result(timeout=5) == "Разобрано 40 000 писем."


def test_a_job_is_asked_for_at_the_interval_that_was_set(fm_emulator: Emulator, make: Make) -> None:
    fm_emulator.rule(call="completion_async", reply="Готово.", operation={"done_after_polls": 3})
    assistant = make(poll_every=0.1)
    assert assistant.wait(assistant.begin("Не спеши")) == "Готово."
    first, *later = fm_emulator.calls(method="OperationService/Get")
    assert first.behaviour == ()
    assert len(later) == 2
    for call in later:  # "the 2nd Get, 0.1 s after the one before"
        assert float(call.behaviour[0].split()[3]) >= 0.1


def test_a_look_that_fails_is_repeated_and_the_job_goes_on(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(
        call="completion_async", reply="Готово.", operation={"done_after_polls": 3, "polls": {2: "UNAVAILABLE"}}
    )
    assert assistant.wait(assistant.begin("Не спеши")) == "Готово."
    assert [call.code for call in fm_emulator.calls(method="Get")] == ["OK", "UNAVAILABLE", "OK"]


@frozen
def test_a_job_that_takes_too_long_is_cancelled(fm_emulator: Emulator, make: Make) -> None:
    assistant = make(job_within=1)
    job = assistant.begin("Разбери архив писем")
    with pytest.raises(Failure, match="не готово за 1 с и отменено"):
        assistant.wait(job)
    fm_emulator.assert_called(1, method="OperationService/Cancel")
    assert fm_emulator.operations.get(job).status == "CANCELED"


@frozen
def test_a_job_that_an_operator_cancels_is_told(fm_emulator: Emulator, assistant: Assistant) -> None:
    job = assistant.begin("Разбери архив писем")
    fm_emulator.operations.cancel(job)
    with pytest.raises(Failure, match="Задание не выполнено"):
        assistant.look(job)


@frozen
def test_a_job_that_fails_half_way_is_told(fm_emulator: Emulator, assistant: Assistant) -> None:
    job = assistant.begin("Разбери архив писем")
    assert fm_emulator.operations.step(job).status == "IN_PROGRESS"
    assert assistant.look(job) is None
    fm_emulator.operations.fail(job, "INTERNAL", "узел потерян")
    with pytest.raises(Failure, match="Задание не выполнено: узел потерян"):
        assistant.wait(job)


@frozen
def test_from_one_snapshot_a_job_is_led_to_two_ends(fm_emulator: Emulator, assistant: Assistant) -> None:
    job = assistant.begin("Разбери архив писем")
    halfway = fm_emulator.snapshot()
    fm_emulator.operations.finish(job)
    assert assistant.look(job) == "Разобрано 40 000 писем."
    fm_emulator.restore(halfway)
    fm_emulator.operations.fail(job)
    with pytest.raises(Failure):
        assistant.look(job)


def test_the_same_seed_gives_the_same_picture(assistant: Assistant) -> None:
    picture = assistant.draw("маяк в шторм", seed=7)
    assert picture[:2] == b"\xff\xd8"  # JPEG begins so
    assert assistant.draw("маяк в шторм", seed=7) == picture
    assert assistant.draw("маяк в шторм", seed=8) != picture
