"""What tests of commands share: a way to run one, and fixture files to run it on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from emulator.cli.commands import cli

Run = Callable[..., Result]
Write = Callable[..., Path]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Run:
    """`run("check", path)` gives what the command printed, on both streams, and its exit status."""
    for name in ("FIXTURES", "SEED", "STRICT", "LENIENT", "TARGET", "TOKEN", "SESSION", "PORT"):
        monkeypatch.delenv(f"FM_EMULATOR_{name}", raising=False)

    def invoked(*arguments: Any, **more: Any) -> Result:
        result = CliRunner().invoke(cli, [str(argument) for argument in arguments], **more)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return invoked


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """`write(file, name)` gives the path of a file with that YAML, or with what a mapping says in YAML."""

    def written(file: Any, name: str = "rules.yaml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = file if isinstance(file, str) else yaml.safe_dump(file, allow_unicode=True, sort_keys=False)
        path.write_text(text, "utf-8")
        return path

    return written
