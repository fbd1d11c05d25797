"""Questions, and the tools that the answers rest on; the rules are in fixtures/helpdesk.yaml or in the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from assistant import Assistant, Failure
from assistant.tools import HelpDesk, Tool, Toolbox

if TYPE_CHECKING:
    from conftest import Make
    from emulator import Emulator


def test_a_greeting_is_answered(fm_emulator: Emulator, assistant: Assistant) -> None:
    assert assistant.ask("Привет!") == "Здравствуйте! Спросите о погоде или заведите обращение."
    fm_emulator.assert_called(1, rule="greeting", when={"system": {"contains": "службы поддержки"}, "stream": True})


def test_the_answer_rests_on_what_the_tool_said(fm_emulator: Emulator, assistant: Assistant) -> None:
    assert assistant.ask("Какая погода, Тверь?") == "Сейчас там +15, дождь."
    assert [call.rule for call in fm_emulator.calls(kind="completion")] == ["weather-asks", "weather-answers"]


def test_a_ticket_is_filed_as_the_model_said_and_once(assistant: Assistant, desk: HelpDesk) -> None:
    assert assistant.ask("Принтер не работает") == "Завели обращение HD-1."
    assert desk.tickets == ["Принтер не работает (high)"]


def test_tools_that_are_called_at_once_run_at_once_and_report_in_order(
    fm_emulator: Emulator, make: Make, desk: HelpDesk
) -> None:
    fm_emulator.rule(
        when={"question": {"contains": "где теплее"}},
        reply={"tool_calls": [{"get_weather": {"city": "Москва"}}, {"get_weather": {"city": "Тверь"}}]},
        expect=1,
    )
    both = threading.Barrier(2)

    def get_weather(city: str) -> str:
        both.wait(timeout=5)  # nobody passes alone
        return desk.get_weather(city)

    assistant = make()
    assistant.toolbox = Toolbox([Tool("get_weather", "Погода", {"type": "object"}, get_weather)])
    assert assistant.ask("Где теплее?") == "Сейчас там +20, ясно\n+15, дождь."


def test_a_tool_that_fails_says_so_to_the_model(fm_emulator: Emulator, assistant: Assistant) -> None:
    assert assistant.ask("Какая погода, Китеж?") == "Не знаю такого города."
    fm_emulator.assert_called(when={"tool_results": {"get_weather": "Ошибка: нет данных о погоде в городе Китеж"}})


def test_a_tool_that_nobody_offered_is_not_called(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(when={"question": {"word": "удали"}}, reply={"tool_calls": [{"delete_all": {}}]})
    fm_emulator.rule(
        when={"tool_results": {"delete_all": {"contains": "инструмента delete_all нет"}}}, reply="Не умею удалять."
    )
    assert assistant.ask("Удали всё") == "Не умею удалять."
    first, _ = fm_emulator.calls(kind="completion")
    assert first.notes == ("called delete_all, which the request does not offer",)


def test_a_model_that_asks_for_tools_for_ever_is_stopped(fm_emulator: Emulator, make: Make, desk: HelpDesk) -> None:
    rule = fm_emulator.rule(
        when={"any": [{"turn": 1}, {"tool_results": {"*": {"present": True}}}]},
        reply={"tool_calls": [{"create_ticket": {"title": "ещё одно"}}]},
    )
    with pytest.raises(Failure, match="вызывала инструменты 3 раз"):
        make(rounds=3).ask("Заведи обращение")
    assert rule.times == 3
    assert len(desk.tickets) == 3


def test_no_call_waits_for_ever(fm_emulator: Emulator, make: Make) -> None:
    make(answer_within=20).ask("Какая погода, Москва?")
    for call in fm_emulator.calls(kind="completion"):
        assert call.deadline is not None
        assert 0 < call.deadline.total_seconds() < 21
        assert call.behaviour == ()
