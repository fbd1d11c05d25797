"""What a test author is told when something did not go as scripted."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from assistant import Assistant, Failure

if TYPE_CHECKING:
    from emulator import Emulator

on_purpose = pytest.mark.fm_emulator(verify=False)
"""These tests do what a strict test must not."""


@on_purpose
def test_a_question_without_a_rule_fails_and_says_what_was_nearest(fm_emulator: Emulator, assistant: Assistant) -> None:
    with pytest.raises(Failure, match="FAILED_PRECONDITION") as failed:
        assistant.ask("Какая погодка, Тверь?")
    assert "weather-asks" in str(failed.value)
    whole = fm_emulator.explain()
    assert "✗ question: " in whole
    assert "a rule that matches it:" in whole


@on_purpose
def test_an_expectation_that_is_not_met_is_shown(fm_emulator: Emulator, assistant: Assistant) -> None:
    fm_emulator.rule(name="twice", when={"question": "Привет"}, reply="И вам.", expect=2)
    assistant.ask("Привет")
    with pytest.raises(AssertionError, match="twice"):
        fm_emulator.verify()


def test_an_assertion_about_calls_shows_the_nearest_one(fm_emulator: Emulator, assistant: Assistant) -> None:
    assistant.ask("Привет")
    with pytest.raises(AssertionError) as failed:
        fm_emulator.assert_called(when={"question": "Привет!"})
    assert "Привет!" in str(failed.value)
