"""The references are true: their fixtures load, their commands print what is shown, and nothing is left out.

In `fixtures/REFERENCE.md` a ```yaml block is a fixture file, ```yaml fragment a part of one rule, ```yaml wrong a file
with mistakes. A ```text block after one holds commands (`$ fm-emulator ...`), each with lines that it prints in this
order, among others.
"""

from __future__ import annotations

import inspect
import re
import shlex
import shutil
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import pytest
from click.testing import CliRunner

from emulator.cli.commands import cli
from emulator.rules import model, sandbox
from emulator.rules.duration import Spread

ROOT = Path(__file__).parent.parent
LANGUAGE = ROOT / "fixtures" / "REFERENCE.md"
COMMANDS = ROOT / "emulator" / "cli" / "README.md"
BESIDE = ("letter.md", "lighthouse.jpg", "questions.jsonl")
_FENCE = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, what it is called, what it holds, and the commands shown after it."""

    line: int
    kind: str
    body: str
    shown: str

    @property
    def file(self) -> str:
        """The fixture file that the block stands for."""
        if self.kind != "yaml fragment":
            return self.body
        rule = "rules:\n  -\n" + textwrap.indent(self.body, "    ")
        return rule if re.search(r"^repl(y|ies):", self.body, re.MULTILINE) else rule + "    reply:\n      text: ok\n"


def _blocks() -> list[Block]:
    page = LANGUAGE.read_text(encoding="utf-8")
    fences = list(_FENCE.finditer(page))
    out = []
    for fence, after in zip(fences, [*fences[1:], None], strict=True):
        if fence[1].startswith("yaml"):
            shown = after[2] if after is not None and after[1] == "text" else ""
            out.append(Block(page.count("\n", 0, fence.start()) + 1, fence[1], fence[2], shown))
    return out


BLOCKS = _blocks()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory of the commands, with the files that examples name."""
    for name in BESIDE:
        shutil.copy(LANGUAGE.parent / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FOLDER", raising=False)
    return tmp_path


def _run(command: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, shlex.split(command.removeprefix("$ fm-emulator")), prog_name="fm-emulator")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.output


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: f"line-{block.line}")
def test_a_fixture_of_the_reference_loads_unless_it_shows_a_mistake(block: Block, folder: Path) -> None:
    (folder / "rules.yaml").write_text(block.file, encoding="utf-8")
    status, output = _run("check rules.yaml")
    assert (status == 1) is (block.kind == "yaml wrong"), output


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.shown], ids=lambda block: f"line-{block.line}")
def test_commands_print_what_the_reference_shows(block: Block, folder: Path) -> None:
    (folder / "rules.yaml").write_text(block.file, encoding="utf-8")
    for part in re.split(r"^(?=\$ )", block.shown, flags=re.MULTILINE)[1:]:
        command, *wanted = part.splitlines()
        output = _run(command)[1]
        printed = iter(output.splitlines())
        missing = [line for line in wanted if line not in printed]
        assert not missing, f"{command}\n{output}"


def test_every_block_of_output_follows_the_fixture_it_is_of() -> None:
    outputs = [fence for fence in _FENCE.finditer(LANGUAGE.read_text(encoding="utf-8")) if fence[1] == "text"]
    assert len(outputs) == sum(1 for block in BLOCKS if block.shown)
    assert {block.kind for block in BLOCKS} == {"yaml", "yaml fragment", "yaml wrong"}


def _structs() -> list[type[msgspec.Struct]]:
    classes: list[type] = [Spread, *(value for _, value in inspect.getmembers(model, inspect.isclass))]
    return [cls for cls in classes if issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct]


@pytest.mark.parametrize("struct", _structs(), ids=lambda struct: struct.__name__)
def test_every_field_of_the_language_is_on_the_page(struct: type[msgspec.Struct]) -> None:
    page = LANGUAGE.read_text(encoding="utf-8")
    missing = [f.encode_name for f in msgspec.structs.fields(struct) if f"`{f.encode_name}`" not in page]
    assert not missing


@pytest.mark.parametrize("name", ["Call", "Per", "AfterLast"])
def test_every_value_of_a_choice_is_on_the_page(name: str) -> None:
    page = LANGUAGE.read_text(encoding="utf-8")
    assert not [value for value in getattr(model, name).__args__ if f"`{value}`" not in page]


def test_every_filter_and_variable_of_templates_is_on_the_page() -> None:
    from emulator.rules.subject import CONTEXT_NAMES

    page = LANGUAGE.read_text(encoding="utf-8")
    section = page.partition("\n## Templates\n")[2].partition("\n## ")[0]
    filters = {name for name in sandbox.environment().filters if name.isidentifier()}
    assert not [name for name in sorted(filters | CONTEXT_NAMES) if f"`{name}`" not in section]


def _commands() -> dict[str, click.Command]:
    context = click.Context(cli)
    found = {name: cli.get_command(context, name) for name in cli.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


@pytest.mark.parametrize("page", [LANGUAGE, COMMANDS], ids=lambda page: page.name)
def test_a_command_that_a_reference_mentions_exists(page: Path) -> None:
    mentioned = set(re.findall(r"fm-emulator ([a-z]\w+)\b", page.read_text(encoding="utf-8")))
    assert mentioned
    assert mentioned <= set(_commands())


@pytest.mark.parametrize("name", _commands())
def test_every_option_of_a_command_is_in_its_section_with_its_variable_and_default(name: str) -> None:
    page = COMMANDS.read_text(encoding="utf-8")
    section = page.partition(f"\n## `fm-emulator {name}")[2].partition("\n## ")[0]
    assert section, f"no section for {name}"
    for option in _commands()[name].params:
        if isinstance(option, click.Option):
            row = next((line for line in section.splitlines() if line.startswith(f"| `{option.opts[0]}")), None)
            assert row is not None, f"{name} {option.opts[0]} is not there"
            _check_row(row, option)


def _check_row(row: str, option: click.Option) -> None:
    if option.envvar is not None:
        assert f"`{option.envvar}`" in row
    default: Any = option.default
    if isinstance(default, (int, float, str)) and not isinstance(default, bool):
        assert f"`{default:g}`" in row if isinstance(default, float) else f"`{default}`" in row


def test_links_between_sections_lead_somewhere() -> None:
    for page in (LANGUAGE, COMMANDS):
        text = page.read_text(encoding="utf-8")
        heads = re.findall(r"^#+ (.+)$", _FENCE.sub("", text), re.MULTILINE)
        anchors = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
        assert set(re.findall(r"\]\(#([^)]*)\)", text)) <= anchors
        files = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert all((page.parent / link).exists() for link in files)
