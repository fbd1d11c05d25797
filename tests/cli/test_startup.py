"""What `serve` must not import before its first call, or it would start slowly and take more memory."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

NEVER = {
    *("aiohttp", "click", "cryptography", "jinja2", "jsonschema", "PIL", "pyarrow", "regex", "rich"),
    *("dataclasses", "difflib", "fractions", "hashlib", "json", "pickle", "shlex", "tempfile", "xml.etree"),
    *("google.protobuf.descriptor_pool", "google.protobuf.json_format", "google.protobuf.text_format"),
    *("google.protobuf.internal.python_message", "grpc_reflection.v1alpha"),
    *("emulator.batches", "emulator.cli.commands", "emulator.control", "emulator.presigned", "emulator.snapshots"),
    *("emulator.engine.explain", "emulator.engine.query", "emulator.engine.rows", "emulator.engine.verify"),
    *("emulator.http.app", "emulator.replies.schema", "emulator.replies.stored", "emulator.rows.parquet"),
    *("emulator.rows.types", "emulator.rules.sandbox", "emulator.services.batch", "emulator.services.dataset"),
    *("emulator.services.iam_token", "emulator.tls", "emulator.transport.secured"),
}
OF_FIXTURES = {"yaml", "emulator.engine.reach", "emulator.rules.decode", "emulator.rules.files"}
RULES = """
vars: {city: Москва}
rules:
  - when: {question: {contains: [привет, здравствуй], word: сказк*}}
    reply: {text: Здравствуйте!, stream: {tokens: 2, every: 20ms}}
  - when: {model: yandexgpt/*, turn: {at_least: 2}, metadata: {x-city: "{{ vars.city }}"}}
    reply: {error: UNAVAILABLE}
"""


def imported(*options: str, until: str = " serving on ") -> set[str]:
    """The modules that a server has imported by the moment it says it serves."""
    command = [sys.executable, "-X", "importtime", "-m", "emulator", "serve", "--port", "0", *options]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FM_EMULATOR_")}
    names = set()
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=environment) as process:
        assert process.stderr is not None
        try:
            for line in process.stderr:
                if until in line:
                    return names
                names.update(re.findall(r"^import time: .*\| +(\S+)$", line))
        finally:
            process.send_signal(signal.SIGKILL)
    raise AssertionError("it ended before it served")


def test_without_fixtures_nothing_of_yaml_is_imported() -> None:
    names = imported()
    assert "emulator.server" in names
    assert sorted(names & (NEVER | OF_FIXTURES)) == []


@pytest.mark.parametrize("option", ["--fixtures", "--fixtures="])
def test_rules_import_yaml_and_nothing_else_that_is_heavy(option: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.yaml"
    file.write_text(RULES, encoding="utf-8")
    names = imported(*([f"{option}{file}"] if option.endswith("=") else [option, str(file)]))
    assert names >= OF_FIXTURES
    assert sorted(names & NEVER) == []
