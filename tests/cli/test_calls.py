"""`fm-emulator calls`: what there was, and what comes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from wire.client import asking, embedding

from emulator import Emulator
from emulator.journal import LIMIT_BYTES, Subscription

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from .conftest import Run

RULES = {
    "rules": [
        {
            "name": "hello",
            "when": {"question": "Привет"},
            "reply": {"text": "раз два три", "stream": {"words": 1, "every": "1s"}},
        },
        {
            "name": "busy",
            "when": {"question": "занято"},
            "reply": {"error": {"code": "ABORTED", "message": "нет\nмест"}},
        },
    ]
}
_MAIN = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from emulator.cli import main; main()"
Follow = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def asked(serve: Serve, connect: Connect) -> Emulator:
    """An emulator that was asked three things: one is answered, one fails, one is matched by no rule."""
    emulator = serve(RULES, now="2026-01-31T12:00:00Z", speed=1000)
    client = connect(emulator)
    client.complete(asking("Привет", stream=True))
    client.complete(asking("занято"))
    client.complete(asking("где \x1b[31mбарсук?"))
    return emulator


@pytest.fixture
def follow() -> Iterator[Follow]:
    """`follow(emulator, *arguments)` runs `calls --follow` as a process; what is left at the end is killed."""
    with ExitStack() as stack:

        def begun(emulator: Emulator, *arguments: str) -> subprocess.Popen[str]:
            process = stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", _MAIN, "calls", "--follow", "--target", emulator.target, *arguments],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                    encoding="utf-8",
                )
            )
            stack.callback(process.kill)
            return process

        yield begun


def line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def told(process: subprocess.Popen[str]) -> str:
    """What it said on standard error, once it has ended."""
    assert process.stderr is not None
    return process.stderr.read()


def ids(output: str) -> list[str]:
    return [line.split()[0] for line in output.splitlines() if line.startswith("c")]


def test_each_call_is_a_line_with_its_rule_its_status_and_what_it_was_about(run: Run, asked: Emulator) -> None:
    result = run("calls", "--target", asked.target)
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["id", "time", "method", "rule", "code", "chunks", "about"]
    first = lines[1].split()
    assert (first[0], first[1], *first[3:]) == (
        "c1", "2026-01-31", "TextGenerationService/Completion", "hello", "OK", "3", "Привет",
    )  # fmt: skip
    assert {line.index("TextGeneration") for line in lines if "TextGeneration" in line} == {lines[0].index("method")}


def test_the_text_of_a_status_and_remarks_are_below_the_call(run: Run, asked: Emulator) -> None:
    lines = run("calls", "--target", asked.target).output.splitlines()
    assert "    нет\\nмест" in lines
    assert "    no rule matched; `fm-emulator explain c3` tells why" in lines


def test_what_a_client_sent_does_not_reach_the_terminal_as_commands(run: Run, asked: Emulator) -> None:
    output = run("calls", "--messages", "--target", asked.target).output
    assert "\x1b" not in output
    assert "\\x1b[31mбарсук" in output


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--last", "2"], ["c2", "c3"]),
        (["--rule", "hello"], ["c1"]),
        (["--code", "aborted"], ["c2"]),
        (["--unmatched"], ["c3"]),
        (["--when", "question: {contains: барсук}"], ["c3"]),
        (["--kind", "completion", "--method", "TextGenerationService/Completion"], ["c1", "c2", "c3"]),
        (["--kind", "generate_image"], []),
    ],
)
def test_conditions_choose_among_the_calls(run: Run, asked: Emulator, arguments: list[str], found: list[str]) -> None:
    result = run("calls", "--target", asked.target, *arguments)
    assert (result.exit_code, ids(result.output)) == (0, found)
    assert ("no such calls" in result.output) is not found


def test_no_calls_are_told_in_words(run: Run, serve: Serve) -> None:
    assert run("calls", "--target", serve().target).output == "no such calls\n"


def test_messages_are_shown_with_their_instants(run: Run, asked: Emulator) -> None:
    lines = run("calls", "--messages", "--rule", "hello", "--target", asked.target).output.splitlines()
    request, *replies = lines[-4:]
    assert request.startswith('    request: {"model_uri": ')
    found = [re.match(r"    reply (\d) after ([\d.]+) s: \{", reply) for reply in replies]
    shown = [(match[1], float(match[2])) for match in found if match is not None]
    assert [number for number, _ in shown] == ["1", "2", "3"]
    assert [round(at - shown[0][1], 2) for _, at in shown] == [0, 1, 2]


def test_a_vector_is_cut_and_whole_in_json(run: Run, serve: Serve, connect: Connect) -> None:
    emulator = serve()
    connect(emulator).call("EmbeddingsService/TextEmbedding", embedding("Привет"))
    shown = run("calls", "--kind", "text_embedding", "--messages", "--target", emulator.target).output
    assert "… (256 numbers)" in shown
    assert len(shown) < 1000
    whole = run("calls", "--json", "--messages", "--target", emulator.target).output
    assert len(json.loads(whole)["calls"][0]["replies"][0]["embedding"]) == 256


def test_json_has_every_field_and_the_messages_as_objects(run: Run, asked: Emulator) -> None:
    result = run("calls", "--json", "--messages", "--last", "1", "--target", asked.target)
    document = json.loads(result.output)
    assert document["evicted"] == 0
    (call,) = document["calls"]
    assert (call["id"], call["unmatched"], call["code"]) == ("c3", True, "OK")
    assert call["began_at"].startswith("2026-01-31T")
    assert call["request"]["messages"] == [{"role": "user", "text": "где \x1b[31mбарсук?"}]
    assert call["replies"][0]["alternatives"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--code", "NOPE"], "code: no such status: NOPE"),
        (["--when", "question: {contain: a}"], "filter: when"),
    ],
)
def test_a_condition_that_can_not_be_is_told(run: Run, asked: Emulator, arguments: list[str], sentence: str) -> None:
    result = run("calls", "--target", asked.target, *arguments)
    assert result.exit_code == 1
    assert sentence in result.output


def test_calls_that_were_dropped_are_counted(run: Run, serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES)
    client = connect(emulator)
    for _ in range(1002):
        client.call("/some.where.Else/Do", b"")
    assert run("calls", "--last", "1", "--target", emulator.target).output.endswith(
        "\nnote: 2 older calls were dropped to make room\n"
    )


def test_following_tells_what_was_and_then_each_call_as_it_ends(
    asked: Emulator, connect: Connect, follow: Follow
) -> None:
    process = follow(asked, "--json", "--last", "1")
    assert json.loads(line(process))["id"] == "c3"
    client = connect(asked)
    for n in (4, 5):
        client.complete(asking("Привет"))
        call: dict[str, Any] = json.loads(line(process))
        assert (call["id"], call["rule"], call["request"]) == (f"c{n}", "hello", None)
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    assert told(process) == ""


def test_following_without_json_is_a_table_that_grows(asked: Emulator, connect: Connect, follow: Follow) -> None:
    process = follow(asked, "--code", "OK")
    assert [line(process).split()[0] for _ in range(4)] == ["id", "c1", "c3", "no"]
    connect(asked).complete(asking("Привет"))
    assert line(process).split()[0] == "c4"


def test_following_too_slowly_tells_how_many_calls_are_left_out(
    serve: Serve, connect: Connect, follow: Follow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Subscription.__init__, "__defaults__", (10, LIMIT_BYTES))  # how many may wait
    emulator = serve()
    client = connect(emulator)
    client.complete(asking("Привет"))
    process = follow(emulator, "--json", "--messages")
    assert json.loads(line(process))["missed"] == 0
    process.send_signal(signal.SIGSTOP)
    for _ in range(100):  # more than sockets hold
        client.complete(asking("x" * 100_000))
    process.send_signal(signal.SIGCONT)
    client.complete(asking("Привет"))
    missed = 0
    while not missed:
        missed = json.loads(line(process))["missed"]
    process.send_signal(signal.SIGINT)
    assert process.wait(20) == 0
    note = f"note: {missed} calls are left out, since they ended faster than this could read them\n"
    assert told(process).startswith(note)


def test_following_ends_with_a_sentence_when_the_emulator_stops(follow: Follow) -> None:
    with Emulator(fixtures=RULES) as emulator:
        process = follow(emulator)
        run_until_followed(emulator, process)
        target = emulator.target
    assert process.wait(20) == 1
    assert told(process) == f"{target}: the emulator is shutting down\n"


def test_a_reader_that_leaves_ends_following_without_a_traceback(
    asked: Emulator, connect: Connect, follow: Follow
) -> None:
    process = follow(asked)
    assert line(process).startswith("id ")
    assert process.stdout is not None
    process.stdout.close()
    client = connect(asked)
    while process.poll() is None:
        client.complete(asking("Привет"))
    assert process.wait(20) == 1
    assert told(process) == ""


def run_until_followed(emulator: Emulator, process: subprocess.Popen[str]) -> None:
    """Make a call, and wait for the line that tells of it."""
    from wire.client import Client

    with Client(emulator.target) as client:
        client.complete(asking("Привет"))
    assert line(process).startswith("id ")
    assert line(process).startswith("c1 ")


def test_what_chaos_did_to_a_call_is_told(serve: Serve, connect: Connect, run: Run) -> None:
    emulator = serve({"chaos": {"name": "storm", "error": "UNAVAILABLE"}})
    connect(emulator).complete(asking("x"))
    told = run("calls", "--target", emulator.target).output
    assert "UNAVAILABLE" in told
    assert "    chaos: storm: UNAVAILABLE\n" in told
    (call,) = json.loads(run("calls", "--json", "--target", emulator.target).output)["calls"]
    assert call["faults"] == ["storm: UNAVAILABLE"]
