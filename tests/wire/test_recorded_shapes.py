"""Exchanges in the shape of recorded traffic, written as fixtures, come back equal field by field, ids and times apart.

Each `recordings/*.json` lists calls with their requests and replies in order; the `.yaml` beside it is what a user
would write to get them. A later request may name an id that an earlier reply gave: the emulator's own replaces it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator.api import METHODS, from_dict, to_dict

from .client import Client, path

if TYPE_CHECKING:
    from conftest import Connect, Serve

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.json"))
ID = re.compile("[a-z][a-z0-9]{2}[0-9a-v]{17}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
IDS, TIMES = {"id", "createdBy", "taskId"}, {"createdAt", "modifiedAt"}


def replayed(client: Client, calls: list[dict[str, Any]]) -> None:
    """Make the calls in order; assert that every reply is the recorded one."""
    given: dict[str, str] = {}
    for call in calls:
        method = METHODS[path(call["method"].rpartition(".")[2])]
        asked = {
            name: given.get(value, value) if isinstance(value, str) else value
            for name, value in call["request"].items()
        }
        reply = client.call(method.path, from_dict(asked, method.input))
        assert reply.code == "OK", reply.text
        assert len(reply.messages) == len(call["replies"])
        for message, recorded in zip(reply.messages, call["replies"], strict=True):
            same(recorded, to_dict(message, camel=True), given)


def same(recorded: Any, told: Any, given: dict[str, str], name: str = "") -> None:
    """Assert that both say the same; ids need the same kind of id, times are whole seconds."""
    if isinstance(recorded, dict):
        assert isinstance(told, dict)
        assert told.keys() == recorded.keys()
        for key, value in recorded.items():
            same(value, told[key], given, key)
    elif isinstance(recorded, list):
        assert len(told) == len(recorded)
        for one, other in zip(recorded, told, strict=True):
            same(one, other, given)
    elif name in IDS and not recorded.isdecimal():  # a token's id is a number
        assert ID.fullmatch(recorded), "an id of a recording has the service's shape"
        assert ID.fullmatch(told)
        assert told[:3] == recorded[:3]
        assert given.setdefault(recorded, told) == told, "an id stays the same through the exchange"
    elif name in TIMES:
        assert TIME.fullmatch(recorded)
        assert TIME.fullmatch(told)
    else:
        assert told == recorded


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.stem)
def test_a_recording_written_as_fixtures_comes_back_equal(serve: Serve, connect: Connect, recording: Path) -> None:
    emulator = serve(str(recording.with_suffix(".yaml")), strict=True)
    replayed(connect(emulator), json.loads(recording.read_text(encoding="utf-8")))
    assert {entry.code for entry in emulator.sessions.default.journal} == {"OK"}


def test_every_recorded_shape_is_there() -> None:
    assert {recording.stem for recording in RECORDINGS} == {
        "batch_create",
        "chat",
        "function_call",
        "image_run",
        "run",
        "run_deferred",
        "run_stream",
        "structured_output",
        "tokenize",
    }
