"""What the two READMEs show is run: Python as it stands, YAML as a fixture, commands as far as they exist."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from emulator import Emulator
from emulator.engine.book import load

ROOT = Path(__file__).parent.parent


def blocks(page: str, kind: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{kind}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def test_the_python_of_the_readme_runs_against_an_emulator(
    serve: Callable[..., Emulator], capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    shown = blocks("README.md", "python")
    assert len(shown) == 2
    for block in shown:
        exec(block.replace("localhost:50051", serve().target), names)
    assert "Привет!" in capsys.readouterr().out


def test_the_python_of_the_page_for_embedders_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (block,) = blocks("emulator/README.md", "python")
    exec(block, {})
    target, mistake = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"127\.0\.0\.1:\d+", target)
    assert "did you mean text?" in mistake


def test_the_rules_of_the_readme_load_and_retire_as_told() -> None:
    (block,) = blocks("README.md", "yaml")
    assert [rule.name for rule in load([yaml.safe_load(block)]).rules] == ["greeting", "quota-then-fine"]


def test_the_readme_names_only_files_that_are_there() -> None:
    for page in ("README.md", "emulator/README.md"):
        links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text(encoding="utf-8"))
        assert all((ROOT / page).parent.joinpath(link).exists() for link in links)


def test_the_test_of_the_readme_passes(fm_emulator: Emulator) -> None:
    (block,) = blocks("README.md", "py")
    names: dict[str, Any] = {}
    exec(block, names)
    names["test_it_answers"](fm_emulator)
