"""The command, as a user runs it: settings come from the environment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from assistant.cli import main

if TYPE_CHECKING:
    from emulator import Emulator


@pytest.fixture
def environment(fm_emulator: Emulator) -> dict[str, str]:
    """What a shell would have exported."""
    return {
        "YC_FOLDER_ID": "b1ghelpdesk",
        "YC_API_KEY": "any-key",
        "YC_API_ENDPOINT": fm_emulator.target,
        "ASSISTANT_VERIFY_TLS": "no",
        "ASSISTANT_BACKOFF": "0.01",
        "ASSISTANT_POLL_EVERY": "0.01",
    }


def test_ask_prints_the_answer(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Какая погода, Москва?"], environment) == 0
    assert capsys.readouterr().out == "Сейчас там +20, ясно.\n"


def test_job_waits_and_prints(environment: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["job", "Нужна сводка"], environment) == 0
    assert capsys.readouterr().out == "За день 12 обращений, все закрыты.\n"


def test_draw_writes_a_file(fm_emulator: Emulator, environment: dict[str, str], tmp_path: Path) -> None:
    assert main(["draw", "маяк", str(tmp_path / "picture.jpg")], environment) == 0
    assert (tmp_path / "picture.jpg").read_bytes()[:2] == b"\xff\xd8"
    fm_emulator.assert_called(1, kind="generate_image", rule="lighthouse")


def test_a_failure_is_a_sentence_and_an_exit_status(
    fm_emulator: Emulator, environment: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    fm_emulator.rule(reply={"error": "UNAUTHENTICATED"})
    assert main(["ask", "Привет"], environment) == 1
    assert capsys.readouterr().err == "\nКлюч не принят, проверьте YC_API_KEY\n"


def test_what_is_missing_from_the_environment_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ask", "Привет"], {"YC_FOLDER_ID": "b1ghelpdesk"}) == 1
    assert "YC_API_KEY" in capsys.readouterr().err
