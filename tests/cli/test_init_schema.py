"""`fm-emulator init` and `fm-emulator schema`: a file to start from, and the schema that editors check with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

if TYPE_CHECKING:
    from .conftest import Run, Write

FIXTURES = sorted((Path(__file__).parent.parent.parent / "fixtures").glob("*.yaml"))


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_init_writes_a_file_that_loads_without_warnings_and_answers(run: Run, here: Path) -> None:
    result = run("init")
    assert result.exit_code == 0
    assert result.output == "wrote fixtures/starter.yaml; now: fm-emulator serve --fixtures fixtures\n"
    checked = run("check", "fixtures")
    assert (checked.exit_code, checked.output.count("\n")) == (0, 1)
    assert "Здравствуйте!" in run("try", "--fixtures", "fixtures", "--strict", "Привет").output


def test_init_leaves_a_file_that_is_there_alone(run: Run, here: Path) -> None:
    file = here / "mine.yaml"
    file.write_text("mine")
    result = run("init", file)
    assert result.exit_code == 1
    assert result.output == (
        f"fm-emulator: {file} is there already; name another file, or give --force to write over it\n"
    )
    assert file.read_text() == "mine"
    assert run("init", "--force", file).exit_code == 0
    assert "rules:" in file.read_text("utf-8")


def test_init_into_a_folder_writes_starter_yaml_there_and_makes_folders(run: Run, here: Path) -> None:
    assert run("init", here).exit_code == 0
    assert (here / "starter.yaml").exists()
    assert run("init", "a/b/c.yaml").exit_code == 0
    assert (here / "a/b/c.yaml").exists()


def test_init_says_so_where_a_file_stands_in_the_way_of_a_folder(run: Run, here: Path) -> None:
    (here / "a").write_text("")
    result = run("init", "a/b.yaml")
    assert result.exit_code == 1
    assert result.output.startswith("fm-emulator: a/b.yaml can't be written: ")


@pytest.fixture
def schema(run: Run) -> Any:
    result = run("schema")
    assert result.exit_code == 0
    return json.loads(result.output)


def wrong(schema: Any, text: str) -> list[str]:
    validator = jsonschema.Draft202012Validator(schema)
    return [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_the_schema_is_a_schema(schema: Any) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"


@pytest.mark.parametrize("file", FIXTURES, ids=lambda file: file.stem)
def test_every_example_is_valid(schema: Any, file: Path) -> None:
    assert wrong(schema, file.read_text("utf-8")) == []


def test_the_starter_file_is_valid(schema: Any, run: Run, here: Path) -> None:
    run("init", "a.yaml")
    assert wrong(schema, (here / "a.yaml").read_text("utf-8")) == []


SOUND = [
    "rules: []",
    "rules:\n- when: {question: 12, turn: 3, stream: true, state: {x: 1}}\n  reply: {text: 5}",
    "chaos: {share: 0.5, from: 10s, until: '2026-01-31T12:00:00Z', error: [INTERNAL, {code: ABORTED, weight: 0.5}]}",
    "chaos: [{call: [completion, operations], first: 2, per: question, delay: {min: 0, max: 1s}, stall: forever}]",
    "rules:\n- {reply: {text: a}, chaos: [{after: anywhere, truncate: true}, {after: 3, drop: true}]}",
    "rules:\n- when: {question: [a, b], not: {folder: x}}\n  reply: {text: {file: a.md}, delay: {p50: 1s, p95: 2s}}",
    "rules:\n- call: [completion, completion_async]\n  expect: 2\n  replies: [{text: a, repeat: 2}, {error: ABORTED}]",
    "rules:\n- reply: {text: a, stream: {words: 1, stall: {after: 0, for: forever}, stop: {after: 1}}}",
    "rules:\n- operation: {done_after: 0, polls: {2: UNAVAILABLE}}",
    "rules:\n- reply: {json: null}",
    "rules:\n- reply: {json: [1, {a: b}]}",
]


@pytest.mark.parametrize("text", SOUND)
def test_what_the_loader_takes_is_valid(schema: Any, run: Run, write: Write, text: str) -> None:
    write("a", "a.md")
    assert run("check", write(text)).exit_code == 0
    assert wrong(schema, text) == []


MISTAKEN = [
    "rule: []",
    "rules: {}",
    "rules:\n- reply: {txt: a}",
    "rules:\n- reply: {text: a, strem: {}}",
    "rules:\n- when: {qestion: a}\n  reply: {text: a}",
    "rules:\n- question: a\n  reply: {text: a}",
    "rules:\n- when: {question: {contain: a}}\n  reply: {text: a}",
    "rules:\n- call: complete\n  reply: {text: a}",
    "rules:\n- reply: {text: a}\n  times: 0",
    "rules:\n- reply: {text: a}\n  times: many",
    "rules:\n- replies: []",
    "rules:\n- replies: [{text: a, repeat: 0}]",
    "rules:\n- replies: [{text: a}]\n  per: user",
    "rules:\n- replies: [{text: a}]\n  after_last: stop",
    "rules:\n- reply: {text: a, stream: {words: 0}}",
    "rules:\n- reply: {text: a, stream: {stop: {}}}",
    "rules:\n- reply: {text: a, delay: 5}",
    "rules:\n- reply: {text: a, delay: soon}",
    "rules:\n- reply: {text: a, delay: {p50: 1s}}",
    "rules:\n- reply: {text: a, delay: {p50: 1s, max: 2s}}",
    "chaos: {share: 2, drop: true}",
    "chaos: [{first: 0, drop: true}]",
    "chaos: {error: [{code: INTERNAL, weight: 0}]}",
    "chaos: {drop: true, after: somewhere}",
    "rules:\n- chaos: {call: completion, drop: true}",
    "rules:\n- reply: {error: {message: a}}",
    "rules:\n- reply: {text: null}",
    "rules:\n- reply: a",
    "rules:\n- operation: {timeline: [{status: PENDING}]}",
    "rules:\n- operation: {done_after_polls: 0}",
    "fallback: a",
]


@pytest.mark.parametrize("text", MISTAKEN)
def test_usual_mistakes_are_invalid_as_they_are_for_the_loader(schema: Any, run: Run, write: Write, text: str) -> None:
    assert run("check", write(text)).exit_code == 1
    assert wrong(schema, text)
