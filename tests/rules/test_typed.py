"""What Python code may say is what a file may say, and a type checker knows it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from emulator.rules import duration, model, typed
from emulator.rules.files import load_sources

SAMPLE = Path(__file__).with_name("typing_sample.py")
ROOT = Path(__file__).parent.parent.parent
STRUCTS = {
    name: value
    for name, value in {**vars(model), "Spread": duration.Spread}.items()
    if isinstance(value, type) and issubclass(value, msgspec.Struct) and not name.startswith("_") and name != "Struct"
}
DICTS = {name: value for name, value in vars(typed).items() if name.endswith("Dict") and name != "TypedDict"}


def test_every_type_of_the_language_has_its_dict() -> None:
    assert {f"{name}Dict" for name in STRUCTS} == set(DICTS)


@pytest.mark.parametrize("name", STRUCTS)
def test_a_dict_has_the_keys_that_a_file_has(name: str) -> None:
    keys = DICTS[f"{name}Dict"].__optional_keys__ | DICTS[f"{name}Dict"].__required_keys__
    assert keys == set(STRUCTS[name].__struct_encode_fields__)


@pytest.mark.parametrize(
    ("literal", "mirrored"),
    [(typed.CallName, model.Call), (typed.Per, model.Per), (typed.AfterLast, model.AfterLast)],
    ids=["CallName", "Per", "AfterLast"],
)
def test_the_words_to_choose_from_are_those_of_a_file(literal: Any, mirrored: Any) -> None:
    assert get_args(literal) == get_args(mirrored)


def test_importing_it_imports_nothing_but_typing() -> None:
    code = (
        "import sys, typing, importlib.util as u\n"
        f"s = u.spec_from_file_location('typed', {typed.__file__!r})\n"
        "m = u.module_from_spec(s)\n"
        "import __future__\n"
        "before = set(sys.modules)\n"
        "s.loader.exec_module(m)\n"
        "print(sorted(set(sys.modules) - before))\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_mypy_takes_what_is_right_and_nothing_else(tmp_path: Path, version: str) -> None:
    # What the package imports is its own check's business.
    options = (
        "--strict",
        "--follow-imports=silent",
        "--no-error-summary",
        "--python-version",
        version,
        "--cache-dir",
        str(tmp_path),
    )
    command = [sys.executable, "-m", "mypy", "--config-file=", "--warn-unused-ignores", *options, str(SAMPLE)]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (told.stdout, told.returncode) == ("", 0), told.stderr


def test_the_loader_takes_what_mypy_takes() -> None:
    sample: dict[str, Any] = {"__name__": "typing_sample"}
    exec(compile(SAMPLE.read_text(encoding="utf-8"), str(SAMPLE), "exec"), sample)
    sources = load_sources(sample["ACCEPTED"])
    assert [str(mistake) for source in sources for mistake in source.problems.mistakes] == []
    assert all(source.file is not None for source in sources)
