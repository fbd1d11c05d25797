"""How what is logged is written: what can be read by machines, and what no terminal acts on."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any

import pytest

from emulator.cli.logs import LIBRARIES, JsonFormatter, TextFormatter, set_up

Logged = Callable[[str], None]
NASTY = ["раз\nдва\r\u2028три", "\x1b[31mред\x07\x9b2J", "\ud800", "\0", '"\\', "👨‍👩‍👧", "я" * 20_000]


@pytest.fixture
def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Logged]:
    """`logged(form)` sends what is logged from now on to a file of an old encoding, called so."""
    names = ("emulator", *LIBRARIES)
    before = {name: (logging.getLogger(name).handlers[:], logging.getLogger(name).propagate) for name in names}
    files: list[IO[str]] = []

    def begin(form: str) -> None:
        file = (tmp_path / form).open("w", encoding="koi8-r", errors="backslashreplace")
        files.append(file)
        monkeypatch.setattr(sys, "stderr", file)
        set_up("info", form)

    yield begin
    for file in files:
        file.close()
    for name, (handlers, propagate) in before.items():
        logging.getLogger(name).handlers[:] = handlers
        logging.getLogger(name).propagate = propagate


def lines(tmp_path: Path, form: str) -> list[str]:
    sys.stderr.flush()
    return (tmp_path / form).read_bytes().decode("utf-8").split("\n")[:-1]


def test_whatever_is_logged_is_one_line_of_json_in_utf_8(logged: Logged, tmp_path: Path) -> None:
    logged("json")
    for text in NASTY:
        logging.getLogger("emulator").warning("%s", text)
    found = [json.loads(line)["message"] for line in lines(tmp_path, "json")]
    assert found == NASTY


def test_lines_of_threads_do_not_mix(logged: Logged, tmp_path: Path) -> None:
    logged("json")
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: logging.getLogger("emulator").info("%s", f"{n}:" + "я" * 20_000), range(64)))
    numbers = {json.loads(line)["message"].partition(":")[0] for line in lines(tmp_path, "json")}
    assert numbers == set(map(str, range(64)))


def test_a_traceback_is_a_field_and_libraries_are_logged_alike(logged: Logged, tmp_path: Path) -> None:
    logged("json")
    try:
        raise ValueError("раз\nдва")
    except ValueError:
        logging.getLogger("asyncio").exception("не вышло")
    (line,) = lines(tmp_path, "json")
    told = json.loads(line)
    assert (told["level"], told["event"], told["message"]) == ("error", "log", "не вышло")
    assert told["traceback"].endswith("ValueError: раз\nдва")


def record(text: str, level: int = logging.INFO, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("emulator.calls", level, "", 0, "%s", (text,), None)
    made.__dict__.update(more)
    return made


@pytest.mark.parametrize("text", NASTY)
def test_no_terminal_acts_on_what_is_logged(text: str) -> None:
    line = TextFormatter().format(record(text))
    assert line.isprintable()


def test_a_terminal_gets_colours_for_what_failed() -> None:
    fields = {"status": "ABORTED"}
    coloured = TextFormatter(True).format(record("c1 Completion ABORTED 1.0ms", fields=fields))
    assert "\x1b[31mABORTED\x1b[0m" in coloured
    assert "\x1b" not in TextFormatter().format(record("c1 Completion ABORTED 1.0ms", fields=fields))


def test_notes_and_calls_are_told_apart() -> None:
    written = [json.loads(JsonFormatter().format(one)) for one in (record("a", fields={"call": "c1"}), record("b"))]
    assert [line["event"] for line in written] == ["call", "note"]
    assert "message" not in written[0]
