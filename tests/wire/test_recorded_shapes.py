"""Exchanges in the shape of recorded traffic, written as fixtures, come back equal field by field, ids and times apart.

Each `recordings/*.json` lists calls with their requests and replies in order; the `.yaml` beside it is what a user
would write to get them. A later request may name an id that an earlier reply gave: the emulator's own replaces it.
Before a call `advance` lets time pass, on a clock that stands still, and `put` uploads a file to the last URL.
"""

from __future__ import annotations

import datetime
import json
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from emulator.api import METHODS, from_dict, to_dict

from .client import Client, path

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from emulator import Emulator

RECORDINGS = sorted((Path(__file__).parent / "recordings").glob("*.json"))
ID = re.compile("[a-z][a-z0-9]{2}[0-9a-v]{17}")
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")
IDS = {
    "createdBy",
    "createdById",
    "datasetId",
    "foundation_models_batch_task_id",
    "foundation_models_source_dataset",
    "id",
    "operationId",
    "resultDatasetId",
    "sourceDatasetId",
    "taskId",
}
TIMES = {"createdAt", "finishedAt", "modifiedAt", "startedAt", "updatedAt"}
BEGINS = datetime.datetime(2025, 9, 2, 8, 15, 30, 125_000, tzinfo=datetime.timezone.utc)


def replayed(emulator: Emulator, client: Client, calls: list[dict[str, Any]]) -> None:
    """Make the calls in order; assert that every reply is the recorded one."""
    given: dict[str, str] = {}
    url = ""
    for call in calls:
        if "advance" in call:
            emulator.clock.advance(call["advance"])
        if "put" in call:
            uploaded(url, RECORDINGS[0].with_name(call["put"]))
        method = METHODS[path(call["method"].rpartition(".")[2])]
        asked = {
            name: given.get(value, value) if isinstance(value, str) else value
            for name, value in call["request"].items()
        }
        reply = client.call(method.path, from_dict(asked, method.input))
        assert reply.code == "OK", reply.text
        assert len(reply.messages) == len(call["replies"])
        for message, recorded in zip(reply.messages, call["replies"], strict=True):
            told = to_dict(message, camel=True)
            same(recorded, told, given)
            url = told.get("uploadUrl", url)


def uploaded(url: str, file: Path) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, data=file.read_bytes(), method="PUT")) as response:
        assert (response.status, response.read()) == (200, b"")
        assert re.fullmatch('"[0-9a-f]{32}"', response.headers["ETag"])


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
        there, here = TIME.fullmatch(recorded), TIME.fullmatch(told)
        assert there is not None
        assert here is not None
        assert (there[1] is None) == (here[1] is None), "whole seconds, or not"
    elif name == "name" and recorded.startswith("Batch inference "):
        assert told == recorded.replace(recorded.split()[2], given[recorded.split()[2]])
    elif name == "sizeBytes":  # of a Parquet file, which each writer writes in its own way
        assert int(told) > 0
    elif name == "uploadUrl":
        theirs, ours = urllib.parse.urlsplit(recorded), urllib.parse.urlsplit(told)
        assert [given.get(step, step) for step in theirs.path.split("/")] == ours.path.split("/")
        parts = (urllib.parse.parse_qs(theirs.query), urllib.parse.parse_qs(ours.query))
        assert list(parts[0]) == list(parts[1])
    else:
        assert told == recorded


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.stem)
def test_a_recording_written_as_fixtures_comes_back_equal(serve: Serve, connect: Connect, recording: Path) -> None:
    calls = json.loads(recording.read_text(encoding="utf-8"))
    timed: Any = {"frozen": True, "now": BEGINS} if any("advance" in call for call in calls) else {}
    emulator = serve(str(recording.with_suffix(".yaml")), strict=True, **timed)
    replayed(emulator, connect(emulator), calls)
    assert {entry.code for entry in emulator.sessions.default.journal} == {"OK"}


def test_every_recorded_shape_is_there() -> None:
    assert {recording.stem for recording in RECORDINGS} == {
        "batch_create",
        "batch_run",
        "chat",
        "function_call",
        "image_run",
        "run",
        "run_deferred",
        "run_stream",
        "structured_output",
        "tokenize",
    }
