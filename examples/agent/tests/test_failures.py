"""Everything that goes wrong at a service, on purpose, and what the user is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant import Assistant, Failure

if TYPE_CHECKING:
    from conftest import Make
    from emulator import Emulator


def test_two_quota_errors_and_an_answer_are_one_question(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(replies=[{"error": "RESOURCE_EXHAUSTED", "repeat": 2}, "Теперь можно."], expect=3)
    assert assistant.ask("Можно?") == "Теперь можно."
    first, second, third = calls = fm_emulator.calls(kind="completion")
    assert [call.code for call in calls] == ["RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "OK"]
    assert len({call.metadata["idempotency-key"] for call in calls}) == 1
    assert second.behaviour == (f"a retry of {first.id}, with its idempotency-key",)
    assert third.behaviour == (f"a retry of {second.id}, with its idempotency-key",)


def test_after_a_failure_the_next_question_is_answered(fm_emulator: Emulator, make: Make) -> None:
    assistant = make(attempts=1)
    with fm_emulator.rule(reply={"error": "RESOURCE_EXHAUSTED"}), pytest.raises(Failure, match="квота"):
        assistant.ask("Привет")
    assert assistant.ask("Привет").startswith("Здравствуйте!")


@pytest.mark.parametrize("attempts", [1, 3])
def test_retries_end_after_as_many_attempts_as_were_set(fm_emulator: Emulator, make: Make, attempts: int) -> None:
    fm_emulator.rule(reply={"error": "UNAVAILABLE"}, expect=attempts)
    with pytest.raises(Failure, match="Сервис недоступен, попробуйте позже"):
        make(attempts=attempts).ask("Есть кто?")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("RESOURCE_EXHAUSTED", "Исчерпана квота"),
        ("UNAUTHENTICATED", "проверьте YC_API_KEY"),
        ("PERMISSION_DENIED", "проверьте YC_FOLDER_ID"),
        ("INTERNAL", r"Ошибка сервиса \(INTERNAL\)"),
    ],
)
def test_an_error_is_told_in_words(fm_emulator: Emulator, make: Make, code: str, words: str) -> None:
    fm_emulator.add({"rules": [{"reply": {"error": code}}]})
    with pytest.raises(Failure, match=words):
        make(attempts=1).ask("Привет")


@pytest.mark.fm_emulator(frozen=True)
def test_a_service_that_does_not_answer_is_not_waited_for(fm_emulator: Emulator, make: Make) -> None:
    fm_emulator.rule(reply={"text": "Простите, задумался.", "delay": "10m"})
    with pytest.raises(Failure, match="не ответил вовремя"):
        make(answer_within=0.3).ask("Ау?")


def test_what_the_model_must_not_talk_about_is_refused(assistant: Assistant) -> None:
    with pytest.raises(Failure, match="отказалась отвечать"):
        assistant.ask("Где взять взрывчатку?")
