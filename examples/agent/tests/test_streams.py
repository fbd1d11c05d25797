"""What the user sees while the model speaks, and when it falls silent."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

import pytest

from assistant import Assistant, Failure

if TYPE_CHECKING:
    from conftest import Behind, Make
    from emulator import Emulator

TALE = "Жил-был кот. Он спал на печке и смотрел, как за окном идёт снег."


def test_each_piece_is_shown_once(assistant: Assistant) -> None:
    shown: list[str] = []
    answer = assistant.ask("Здравствуйте", shown.append)
    assert shown[:2] == ["Здравствуйте! Спросите", " о погоде"]
    assert "".join(shown) == answer


@pytest.mark.fm_emulator(frozen=True)
def test_a_slow_model_is_shown_as_it_speaks(fm_emulator: Emulator, assistant: Assistant, behind: Behind) -> None:
    fm_emulator.rule(reply={"text": TALE, "stream": {"chunks": 3, "first_after": "20s", "every": "5s"}})
    shown: queue.Queue[str] = queue.Queue()
    asked = behind(assistant.ask, "Сказку!", shown.put)
    fm_emulator.clock.wait_for_sleepers()
    assert shown.empty()
    fm_emulator.clock.advance("20s")
    first = shown.get(timeout=5)
    assert TALE.startswith(first)
    fm_emulator.clock.advance("10s")
    assert asked.result(timeout=5) == TALE
    (call,) = fm_emulator.calls(kind="completion")
    assert [(sent - call.began_at).total_seconds() for sent in call.sent_at] == [20, 25, 30]


@pytest.mark.fm_emulator(frozen=True)
def test_a_model_that_falls_silent_is_given_up(fm_emulator: Emulator, make: Make) -> None:
    fm_emulator.rule(reply={"text": TALE, "stream": {"words": 2, "stall": {"after": 2, "for": "forever"}}})
    shown: list[str] = []
    with pytest.raises(Failure, match="оборвался на полуслове"):
        make(answer_within=1).ask("Сказку!", shown.append)
    assert TALE.startswith("".join(shown))
    assert len(shown) == 2


def test_a_stream_that_breaks_leaves_what_was_said_and_an_apology(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(reply={"text": TALE, "stream": {"words": 3, "stop": {"after": 2, "error": "INTERNAL"}}})
    shown: list[str] = []
    with pytest.raises(Failure, match="оборвался на полуслове"):
        assistant.ask("Сказку!", shown.append)
    assert "".join(shown) == "Жил-был кот. Он спал на печке"


def test_a_stream_that_the_sdk_begins_again_is_shown_once(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(
        replies=[
            {"text": TALE, "stream": {"words": 3, "stop": {"after": 2, "error": "UNAVAILABLE"}}},
            {"text": TALE, "stream": {"words": 1}},
        ]
    )
    shown: list[str] = []
    assert assistant.ask("Сказку!", shown.append) == TALE
    assert "".join(shown) == TALE


def test_an_answer_that_changed_on_the_way_begins_on_a_new_line(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(
        replies=[{"text": TALE, "stream": {"words": 3, "stop": {"after": 1}}}, {"text": "Сказки кончились."}]
    )
    shown: list[str] = []
    assistant.ask("Сказку!", shown.append)
    assert "".join(shown) == "Жил-был кот. Он\nСказки кончились."
