"""Command lines of `serve` that are read without click mean the same as with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from emulator.cli.plain import options_in
from emulator.cli.serve import command
from emulator.config import Config, from_values

if TYPE_CHECKING:
    from collections.abc import Mapping

COLON = {"FM_EMULATOR_FIXTURES": "one.yaml:two"}


def with_click(arguments: list[str], environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Config:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with command.make_context("serve", list(arguments)) as context:
        return from_values(context.params)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        ([], {}),
        (["--port", "0"], {}),
        (["--port=50061", "--host", "0.0.0.0"], {}),
        (["--fixtures", "a.yaml", "--fixtures=сказки"], {}),
        (["--port", "1", "--port", "2"], {}),
        (["--strict", "--frozen", "--seed", "7", "--now", "2026-01-31T12:00:00Z"], {}),
        (["--quotas", "real", "--log-level=debug", "--log-format", "json"], {}),
        (["--api-key", "one", "--api-key", "two", "--require-auth"], {}),
        (["--ready-file", "a=b.json"], {}),
        ([], {"FM_EMULATOR_HOST": "0.0.0.0", "FM_EMULATOR_FIXTURES": "/fixtures", "FM_EMULATOR_PORT": "50062"}),
        ([], COLON),
        (["--fixtures", "three.yaml"], COLON),
        (["--strict"], {"FM_EMULATOR_HOST": "", "FM_EMULATOR_STRICT": "0", "FM_EMULATOR_SESSION_FROM": "api-key"}),
        ([], {"FM_EMULATOR_UNKNOWN": "1", "HOME": "/"}),
    ],
)
def test_what_is_plain_means_what_click_makes_of_it(
    arguments: list[str], environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    values = options_in(arguments, environment)
    assert values is not None
    assert from_values(values) == with_click(arguments, environment, monkeypatch)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["-h"], {}),
        (["--por", "1"], {}),
        (["--port"], {}),
        (["--port", "many"], {}),
        (["--port", "-1"], {}),
        (["--port", "٣"], {}),
        (["--port", "9" * 5000], {}),
        (["--strict=yes"], {}),
        (["--host", "--strict"], {}),
        (["--host", "\udcff"], {}),
        (["--speed", "60"], {}),
        (["--quotas", "rael"], {}),
        (["fixtures.yaml"], {}),
        (["--", "--strict"], {}),
        (["--port-", "1"], {}),
        (["--http_port", "1"], {}),
        ([], {"FM_EMULATOR_STRICT": "1"}),
        ([], {"FM_EMULATOR_PORT": "x"}),
        ([], {"FM_EMULATOR_API_KEY": "one two"}),
    ],
)
def test_what_is_not_is_left_to_click(arguments: list[str], environment: dict[str, str]) -> None:
    assert options_in(arguments, environment) is None
