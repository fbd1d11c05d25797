"""`fm-emulator info`: what runs there, how full it is, and nothing that is secret."""

from __future__ import annotations

import json
import os
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import __version__ as protobuf_version
from wire.client import asking, drawing

from emulator import Emulator, __version__, installation

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from .conftest import Run

ROOT = Path(__file__).parents[2]
LOOP = "asyncio" if find_spec("uvloop") is None else "uvloop"
SECRETS = ("token-of-mine", "key-of-mine")
SHADOWED = {"rules": [{"reply": {"text": "a"}}, {"name": "never", "reply": {"text": "b"}}]}


def told(run: Run, emulator: Emulator, *more: str) -> dict[str, Any]:
    result = run("info", "--target", emulator.target, "--json", *more)
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.output)
    return found


def test_it_tells_what_runs_and_how_it_was_set_up(run: Run, serve: Serve) -> None:
    emulator = serve(SHADOWED, frozen=True, now="2026-01-31T12:00:00Z", seed=7, tls=True)
    info = told(run, emulator)
    assert info["version"] == __version__
    assert (info["target"], info["http_target"]) == (emulator.target, emulator.http_target)
    assert info["tls_target"] == emulator.tls_target
    assert (info["engine"], info["event_loop"]) == ("grpc.aio", LOOP)
    assert info["pid"] == os.getpid()
    assert info["memory_bytes"] > 10_000_000
    assert info["clock"] == {"now": "2026-01-31T12:00:00Z", "frozen": True, "speed": 1.0, "sleepers": 0}
    assert "never" in " ".join(info["warnings"])
    options = {option["name"]: option["value"] for option in info["options"]}
    assert (options["seed"], options["frozen"], options["tls"]) == ("7", "on", "on")
    assert options["now"] == "2026-01-31T12:00:00Z"
    assert "strict" not in options
    versions = {library["name"]: library["version"] for library in info["libraries"]}
    assert (versions["grpcio"], versions["protobuf"]) == (grpc.__version__, protobuf_version)


def test_it_counts_what_all_sessions_hold(run: Run, serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    client.complete(asking("раз"))
    client.call("TextGenerationService/Completion", asking("два"), [("x-emulator-session", "job")])
    client.call("ImageGenerationAsyncService/Generate", drawing("кот"))
    info = told(run, emulator)
    assert (info["sessions"], info["operations"], info["journal_calls"], info["open_calls"]) == (2, 1, 3, 0)
    assert info["journal_bytes"] > 0
    assert info["journal_evicted"] == 0


def test_asking_for_a_session_begins_none(run: Run, serve: Serve) -> None:
    assert told(run, serve(), "--session", "job")["sessions"] == 1


def test_people_get_a_line_for_each(run: Run, serve: Serve) -> None:
    emulator = serve(SHADOWED, strict=True)
    result = run("info", "--target", emulator.target)
    lines = dict(line.split(maxsplit=1) for line in result.output.splitlines() if not line.startswith(" "))
    assert lines["gRPC"] == f"{emulator.target}, by grpc.aio in {LOOP}"
    assert lines["TLS"] == "off"
    assert lines["rules"] == "2 of 1 file"
    assert "warning: " in result.output
    assert lines["options"] == "fixtures=(from Python), port=0, strict=on"
    assert "grpcio " in lines["libraries"]


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_secrets_are_told_to_be_set_and_no_more(run: Run, serve: Serve, more: tuple[str, ...]) -> None:
    token, key = SECRETS
    emulator = serve(token=token, api_key=[key, key + "2"])
    output = run("info", "--target", emulator.target, "--token", token, *more).output
    assert "****" in output
    assert not any(secret in output for secret in SECRETS)


def test_where_nothing_serves_it_says_so_and_points_to_local(run: Run) -> None:
    result = run("info", "--target", "localhost:1")
    assert result.exit_code == 1
    assert result.stdout == ""
    assert "nothing answers there" in result.stderr
    assert "info --local" in result.stderr


def test_local_tells_what_is_installed_and_asks_nobody(run: Run) -> None:
    result = run("info", "--local", "--target", "localhost:1", "--json")
    assert result.exit_code == 0
    info = json.loads(result.output)
    assert info["version"] == __version__
    assert {"name": "grpcio", "version": grpc.__version__} in info["libraries"]
    assert f"grpcio {grpc.__version__}" in run("info", "--local").output


def test_extras_are_those_that_the_package_declares() -> None:
    written = (ROOT / "pyproject.toml").read_text("utf-8")
    section = written.partition("[project.optional-dependencies]\n")[2].partition("\n[")[0]
    declared = set(re.findall(r"^(\w+) = ", section, re.MULTILINE))
    # Tests run with uvloop and without; the other extras they install.
    missing = {"native", "uvloop"} if find_spec("uvloop") is None else set()
    assert installation.extras() == sorted(declared - {"all", "fuzz", "test"} - missing)
