"""`fm-emulator ops`, `clock`, `rules`, `reset`, `snapshot` and `sessions`: a running emulator, by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import pytest
from wire.client import Client, asking, drawing

from emulator import Emulator
from emulator.cli.commands import cli

if TYPE_CHECKING:
    from conftest import Connect, Serve

    from .conftest import Run, Write

RULES = {
    "rules": [
        {"name": "hello", "when": {"question": "Привет"}, "reply": {"text": "из файлов"}, "times": 3},
        {"name": "slow", "call": "completion_async", "reply": {"text": "готово"}, "operation": {"done_after": "10h"}},
    ]
}
MINE = {"rules": [{"name": "mine", "when": {"question": "Привет"}, "reply": {"text": "моё"}}]}
NEEDS = (
    "calls",
    "verify",
    "ops list",
    "clock show",
    "rules list",
    "reset",
    "snapshot save -",
    "sessions list",
    "explain",
)


@pytest.fixture
def emulator(serve: Serve) -> Emulator:
    return serve(RULES, frozen=True, now="2026-01-31T12:00:00Z")


@pytest.fixture
def client(emulator: Emulator, connect: Connect) -> Client:
    return connect(emulator)


@pytest.fixture
def on(run: Run, emulator: Emulator) -> Run:
    """`run` with the emulator for its target."""
    return lambda *arguments, **more: run(*arguments, env={"FM_EMULATOR_TARGET": emulator.target}, **more)


def said(client: Client, session: str = "", question: str = "Привет") -> str:
    headers = [("x-emulator-session", session)] if session else []
    text: str = client.complete(asking(question), metadata=headers).only.alternatives[0].message.text
    return text


def begun(client: Client) -> str:
    operation: str = client.call("TextGenerationAsyncService/Completion", asking("в фоне")).only.id
    return operation


# -- operations


def test_operations_are_listed_and_looking_is_no_get(on: Run, client: Client) -> None:
    assert on("ops").output == "no operations\n"
    operation = begun(client)
    for _ in range(2):
        head, row = on("ops").output.splitlines()
        assert head.split() == ["id", "kind", "status", "done", "polls", "batches", "rule"]
        assert row.split()[:2] == [operation, "completion_async"]
        assert row.split()[-3:] == ["no", "0", "slow"]
    assert on("ops").output == on("ops", "list").output


def test_an_operation_is_finished_and_has_its_rules_response(on: Run, client: Client) -> None:
    operation = begun(client)
    assert on("ops", "finish", operation).output == f"{operation}: COMPLETED, done\n"
    assert client.operation(operation).done


def test_an_operation_fails_with_the_status_that_is_named(on: Run, client: Client) -> None:
    operation = begun(client)
    told = on("ops", "fail", operation, "--code", "unavailable", "--message", "нет мест").output
    assert told.startswith(f"{operation}: ")
    assert told.endswith(", done, UNAVAILABLE: нет мест\n")
    assert client.operation(operation).error.message == "нет мест"
    assert on("ops").output.splitlines()[-1] == "    UNAVAILABLE: нет мест"


def test_a_code_alone_fails_it_in_the_words_for_its_call(on: Run, client: Client) -> None:
    told = on("ops", "fail", begun(client), "--code", "RESOURCE_EXHAUSTED").output
    assert "RESOURCE_EXHAUSTED: ai.textGenerationAsyncCompletionRequestsPerSecond.rate" in told


def test_a_failure_needs_no_more_than_the_id(on: Run, client: Client) -> None:
    assert ", done, INTERNAL: " in on("ops", "fail", begun(client)).output


def test_an_operation_is_cancelled_and_stepped(on: Run, client: Client) -> None:
    assert json.loads(on("ops", "cancel", begun(client), "--json").output)["status"] == "CANCELED"
    assert on("ops", "step", begun(client)).output.endswith(": COMPLETED, done\n")


@pytest.mark.parametrize("verb", ["finish", "fail", "cancel", "step"])
def test_an_operation_that_is_not_there_is_told(on: Run, verb: str) -> None:
    result = on("ops", verb, "nothing")
    assert result.exit_code == 1
    assert "nothing" in result.output


def test_operations_in_json_have_numbers_and_times(on: Run, client: Client) -> None:
    begun(client)
    (operation,) = json.loads(on("ops", "--json").output)["operations"]
    assert (operation["polls"], operation["total_batches"], operation["error"]) == (0, 0, None)
    assert operation["created_at"] == "2026-01-31T12:00:00Z"


# -- the clock


def test_the_clock_shows_its_time_and_who_waits(on: Run) -> None:
    assert on("clock").output == "2026-01-31 12:00:00.000 UTC, frozen, 0 calls wait for it\n"
    assert json.loads(on("clock", "--json").output) == {
        "now": "2026-01-31T12:00:00Z", "frozen": True, "speed": 1.0, "sleepers": 0,
    }  # fmt: skip


def test_advancing_the_clock_ends_operations(on: Run, client: Client) -> None:
    operation = begun(client)
    assert on("clock", "advance", "9h59m").exit_code == 0
    assert not client.operation(operation).done
    assert on("clock", "advance", "1m").output.startswith("2026-01-31 22:00:00.000 UTC, frozen")
    assert client.operation(operation).done


def test_the_clock_runs_on_and_is_frozen_at_a_time(on: Run) -> None:
    assert ", runs at speed 60, " in on("clock", "run", "--speed", "60").output
    assert on("clock", "freeze", "--at", "2026-02-01T00:00:00+03:00").output.startswith("2026-01-31 21:00:00.000 UTC")
    assert json.loads(on("clock", "advance", "1s", "--json").output)["clock"]["now"] == "2026-01-31T21:00:01Z"


def test_waiting_for_sleepers_returns_when_they_are_there_or_says_how_many_are(on: Run) -> None:
    assert on("clock", "wait", "0").exit_code == 0
    result = on("clock", "wait", "1", "--timeout", "0.1")
    assert result.exit_code == 1
    assert result.output == "fm-emulator: after 0.1 s 0 calls wait for the clock, not 1\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["advance", "72"], "fm-emulator: advance: `72` needs a unit: 20ms, 2s, 5m, 72h\n"),
        (
            ["advance", "-1h"],
            "fm-emulator: advance: the clock doesn't go back, so not by -1h; "
            "`fm-emulator reset clock` puts it to its start\n",
        ),
        (["freeze", "--at", "noon"], "fm-emulator: at: 'noon' is not a time; write it like 2026-01-31T12:00:00Z\n"),
        (["run", "--speed", "0"], "fm-emulator: speed: 0 must be more than 0 and at most 1000000\n"),
        (["wait", "1", "--timeout", "0"], "fm-emulator: timeout: 0 must be more than 0 seconds\n"),
    ],
)
def test_a_time_that_can_not_be_is_told_in_a_sentence(on: Run, arguments: list[str], sentence: str) -> None:
    result = on("clock", *arguments)
    assert (result.exit_code, result.output) == (1, sentence)


def test_the_clock_does_not_go_back(on: Run) -> None:
    result = on("clock", "freeze", "--at", "2026-01-01")
    assert result.exit_code == 1
    assert "the clock doesn't go back" in result.output


# -- rules


def test_rules_are_listed_in_the_order_they_are_tried(on: Run, client: Client) -> None:
    said(client)
    lines = on("rules").output.splitlines()
    assert lines[0].split() == ["rule", "where", "layer", "calls", "chosen", "expect"]
    assert [line.split()[0] for line in lines[1:]] == ["hello", "slow"]
    assert "1 of 3" in lines[1]
    assert [rule["chosen"] for rule in json.loads(on("rules", "--json").output)["rules"]] == [1, 0]


def test_applied_rules_stand_above_those_of_the_files_and_replace_each_other(
    on: Run, client: Client, write: Write
) -> None:
    file = write(MINE)
    for _ in range(2):
        assert on("rules", "apply", file).output == "1 rule in 1 file applied\n"
        assert [line.split()[0] for line in on("rules").output.splitlines()[1:]] == ["mine", "hello", "slow"]
    assert said(client) == "моё"
    assert on("reset", "rules").output == "reset: rules\n"
    assert said(client) == "из файлов"


def test_a_folder_goes_with_what_its_rules_refer_to_and_the_environment_here(
    on: Run, client: Client, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WHO", "Тверь")
    write("Дорогой друг", "f/letter.md")
    rules = [
        {"when": {"question": "письмо"}, "reply": {"text": {"file": "letter.md"}}},
        {"when": {"question": "кто"}, "reply": {"text": "{{ vars.who }}"}},
    ]
    folder = write({"vars": {"who": "${WHO}"}, "rules": rules}, "f/chat.yaml").parent
    assert on("rules", "apply", folder).exit_code == 0
    assert [said(client, question=q) for q in ("письмо", "кто")] == ["Дорогой друг", "Тверь"]


def test_several_paths_are_tried_in_the_order_they_are_given(on: Run, client: Client, write: Write) -> None:
    one, two = (write({"rules": [{"reply": {"text": text}}]}, f"{text}/rules.yaml") for text in ("раз", "два"))
    assert on("rules", "apply", two, one).output.endswith("2 rules in 2 files applied\n")
    assert said(client) == "два"
    on("rules", "apply", one.parent, two.parent)
    assert said(client) == "раз"


def test_rules_of_one_session_are_not_anothers_and_shared_ones_are_everyones(
    on: Run, client: Client, write: Write
) -> None:
    file = write(MINE)
    on("rules", "apply", file, "--session", "job-1")
    assert [said(client, "job-1"), said(client, "job-2"), said(client)] == ["моё", "из файлов", "из файлов"]
    assert on("rules", "apply", file, "--shared").exit_code == 0
    assert [said(client, "job-2"), said(client)] == ["моё", "моё"]


def test_added_rules_are_a_layer_that_can_be_taken_away(on: Run, client: Client, write: Write) -> None:
    file = write(MINE)
    layers = [on("rules", "add", file).output.strip() for _ in range(3)]
    assert len(set(layers)) == 3
    assert said(client) == "моё"
    assert on("rules", "remove", layers[0]).output == "1 rule removed\n"
    assert on("rules", "remove").output == "2 rules removed\n"
    assert said(client) == "из файлов"
    gone = on("rules", "remove", layers[0])
    assert gone.exit_code == 1
    assert f"no layer {layers[0]}" in gone.output


@pytest.mark.parametrize("verb", ["apply", "add"])
def test_rules_may_use_snippets_that_only_the_emulator_has(on: Run, write: Write, client: Client, verb: str) -> None:
    on("rules", "apply", write({"snippets": {"busy": {"text": "занято"}}, "rules": []}, "s.yaml"), "--shared")
    write("Дорогой друг", "f/letter.md")
    rules = [
        {"when": {"question": "а"}, "replies": [{"use": "busy"}, {"use": "busy", "text": {"file": "letter.md"}}]},
        {"call": "text_embedding", "reply": {"use": "nobody"}},
    ]
    folder = write({"rules": rules[:1]}, "f/chat.yaml").parent
    assert on("rules", verb, folder).exit_code == 0
    assert [said(client, question="а") for _ in range(2)] == ["занято", "Дорогой друг"]
    file = write({"rules": rules}, "f/chat.yaml")
    result = on("rules", verb, file)
    assert result.exit_code == 1
    assert f": {file}:11: reply.use: no such snippet: nobody; there are busy\n" in result.output


@pytest.mark.parametrize("verb", ["apply", "add"])
def test_mistakes_are_told_by_the_names_that_files_have_here(on: Run, write: Write, client: Client, verb: str) -> None:
    file = write("rules:\n- reply: {txt: a}\n")
    result = on("rules", verb, file)
    assert result.exit_code == 1
    assert result.output.startswith(f"{file}:2: reply.txt: no such field")
    assert result.output.endswith("1 mistake; nothing was loaded\n")
    assert said(client) == "из файлов"


def test_warnings_are_told_by_the_names_that_files_have_here(on: Run, write: Write) -> None:
    file = write({"rules": [{"reply": {"text": "a"}}, {"reply": {"text": "b"}}]}, "f/chat.yaml")
    result = on("rules", "apply", file.parent)
    assert result.exit_code == 0
    assert re.match(rf"{re.escape(str(file))}:\d+: never reached: .*\(warning\)\n", result.stderr)
    (warning,) = json.loads(on("rules", "apply", file.parent, "--json").stdout)["warnings"]
    assert warning.startswith(f"{file}:")


def test_fixtures_that_are_too_large_for_a_request_are_refused_with_their_size(
    on: Run, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("emulator.cli.rules.LARGEST_REQUEST", 4 << 20)
    write("я" * (2 << 20), "f/long.md")
    file = write({"rules": [{"reply": {"text": {"file": "long.md"}}}]}, "f/chat.yaml")
    result = on("rules", "apply", file)
    assert result.exit_code == 1
    assert result.output.startswith("fm-emulator: the fixtures are 4.0 MiB in all, and one request holds 4.0 MiB; ")
    assert f"the largest file is {file.parent / 'long.md'} with 4.0 MiB" in result.output


def test_nothing_to_apply_is_not_taken_for_no_rules(on: Run, tmp_path: Path) -> None:
    assert on("rules", "apply").exit_code == 2
    result = on("rules", "apply", tmp_path)
    assert (result.exit_code, result.output) == (1, f"fm-emulator: no *.yaml or *.yml file in {tmp_path}\n")


# -- the whole session


def test_a_part_is_reset_and_the_others_stay(on: Run, client: Client) -> None:
    said(client)
    operation = begun(client)
    assert on("reset", "journal", "counters").output == "reset: journal, counters\n"
    assert on("calls").output == "no such calls\n"
    assert operation in on("ops").output
    assert json.loads(on("reset", "--json").output) == {}
    assert on("ops").output == "no operations\n"
    assert on("reset", "rulez").exit_code == 2


def test_a_snapshot_brings_back_what_was(on: Run, client: Client, write: Write, tmp_path: Path) -> None:
    on("rules", "apply", write(MINE))
    operation = begun(client)
    file = tmp_path / "before.json"
    assert on("snapshot", "save", file).output == f"wrote {file} ({file.stat().st_size} bytes)\n"
    on("reset")
    assert on("snapshot", "restore", file).output == "restored: 3 rules, 1 operation\n"
    assert said(client) == "моё"
    assert operation in on("ops").output


def test_a_snapshot_goes_through_pipes(on: Run, client: Client) -> None:
    begun(client)
    saved = on("snapshot", "save", "-").stdout_bytes
    assert json.loads(saved)["kind"] == "fm-emulator snapshot"
    on("reset")
    assert json.loads(on("snapshot", "restore", "-", "--json", input=saved).output) == {"rules": 2, "operations": 1}


def test_what_is_no_snapshot_is_refused(on: Run, write: Write, tmp_path: Path) -> None:
    assert "no snapshot" in on("snapshot", "restore", write("rules: []")).output
    missing = on("snapshot", "restore", tmp_path / "none")
    assert (missing.exit_code, missing.output) == (
        1, f"fm-emulator: {tmp_path / 'none'} can't be read: No such file or directory\n",
    )  # fmt: skip
    unwritable = on("snapshot", "save", tmp_path)
    assert (unwritable.exit_code, unwritable.output) == (
        1,
        f"fm-emulator: {tmp_path} can't be written: Is a directory\n",
    )


def test_sessions_are_listed_and_ended(on: Run, client: Client) -> None:
    said(client, "job-1")
    lines = on("sessions").output.splitlines()
    assert [line.split()[0] for line in lines] == ["session", "(the", "job-1"]
    assert [session["id"] for session in json.loads(on("sessions", "--json").output)["sessions"]] == ["", "job-1"]
    assert on("sessions", "delete", "job-1").output == "job-1: deleted\n"
    again = on("sessions", "delete", "job-1")
    assert again.exit_code == 1
    assert "no such session: job-1" in again.output


def test_listing_sessions_begins_none(on: Run) -> None:
    on("sessions", "--session", "job-1")
    assert "job-1" not in on("sessions").output


def test_a_command_is_about_the_session_that_is_named(on: Run, run: Run, emulator: Emulator, client: Client) -> None:
    client.complete(asking("что?"), metadata=[("x-emulator-session", "job-1")])
    assert "explain c1 --session job-1` tells why" in on("calls", "--session", "job-1").output
    assert on("calls").output == "no such calls\n"
    both = {"FM_EMULATOR_TARGET": emulator.target, "FM_EMULATOR_SESSION": "job-1"}
    assert "что?" in run("calls", env=both).output


# -- who may


@pytest.fixture
def guarded() -> Iterator[Emulator]:
    with Emulator(token="s3cret") as emulator:
        yield emulator


@pytest.mark.parametrize("command", NEEDS)
def test_a_token_is_asked_for_and_taken_from_option_or_environment(run: Run, guarded: Emulator, command: str) -> None:
    words = [*command.split(), "--target", guarded.target]
    refused = run(*words)
    assert refused.exit_code == 1
    assert "needs the emulator's token" in refused.output
    assert "--token or FM_EMULATOR_TOKEN" in refused.output
    wrong = run(*words, "--token", "guess")
    assert wrong.exit_code == 1
    assert "not the emulator's token" in wrong.output
    right = run(*words, "--token", "s3cret"), run(*words, env={"FM_EMULATOR_TOKEN": "s3cret"})
    assert all("the emulator's token" not in result.output for result in right)


@pytest.mark.parametrize("option", ["--token", "--session"])
def test_what_can_not_travel_as_a_header_is_told(on: Run, option: str) -> None:
    result = on("clock", option, "тест")
    assert result.exit_code == 1
    assert "it travels as a header; give printable ASCII" in result.output


def _leaves(group: click.Group, above: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _leaves(command, (*above, name))
        elif command is not None:
            yield (*above, name), command


VERBS = [(words, command) for words, command in _leaves(cli) if len(words) > 1]


@pytest.mark.parametrize(("words", "command"), VERBS, ids=[" ".join(words) for words, _ in VERBS])
def test_every_verb_and_its_options_are_in_the_reference(words: tuple[str, ...], command: Any) -> None:
    page = (Path(__file__).parents[2] / "emulator" / "cli" / "README.md").read_text("utf-8")
    section = page.partition(f"\n## `fm-emulator {words[0]}")[2].partition("\n## ")[0]
    assert f"`{' '.join(words[1:])}" in section
    for option in command.params:
        if isinstance(option, click.Option):
            row = next((line for line in section.splitlines() if line.startswith(f"| `{option.opts[0]}")), "")
            assert row, f"{' '.join(words)} {option.opts[0]} is not there"
            assert not option.envvar or f"`{option.envvar}`" in row


def test_a_picture_does_not_flood_the_terminal(on: Run, client: Client) -> None:
    operation = client.call("ImageGenerationAsyncService/Generate", drawing("кот")).only.id
    on("ops", "finish", operation)
    client.operation(operation)
    shown = on("calls", "--messages", "--last", "1").output
    whole = json.loads(on("calls", "--messages", "--last", "1", "--json").output)
    image = whole["calls"][0]["replies"][0]["response"]["image"]
    assert f"({len(image)} characters)" in shown
    assert len(shown) < 3000 < len(image)
