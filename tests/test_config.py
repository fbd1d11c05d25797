"""Options, whoever gives them: what they may be, and what is said of those that can't."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from emulator.config import OPTIONS, Config, from_values, instant
from emulator.errors import UsageError

NOON = 1_769_860_800_000_000_000  # 2026-01-31T12:00:00Z


def test_nothing_given_is_the_defaults() -> None:
    config = from_values({})
    assert config == Config()
    assert (config.host, config.port, config.seed, config.speed, config.strict) == ("localhost", 50051, 0, 1.0, False)


def test_every_option_says_what_it_is_for() -> None:
    for one in OPTIONS.values():
        assert one.help.endswith(".")
        assert one.kind in (str, int, float, bool)


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("prot", 1, "no such option: prot; there are fixtures, host, port"),
        ("port", 65536, "port: 65536 is not a port; give a number from 0 to 65535"),
        ("port", -1, "port: -1 is not a port"),
        ("http_port", 70000, "http_port: 70000 is not a port"),
        ("speed", 0, "speed: 0 must be more than 0 and at most 1000000"),
        ("speed", -1.5, "speed: -1.5 must be more than 0"),
        ("speed", float("nan"), "speed: nan must be more than 0"),
        ("speed", float("inf"), "speed: inf must be"),
        ("now", "yesterday", "now: 'yesterday' is not a time; write it like 2026-01-31T12:00:00Z"),
        ("now", "1969-12-31T23:59:59Z", "is out of range"),
        ("now", "9950-01-01T00:00:00Z", "is out of range"),
        ("now", -1, "now"),
        ("now", 10**30, "now"),
        ("now", 1.5, "now"),
        ("advertise", "emulator", "advertise: 'emulator' is not HOST:PORT, e.g. emulator:50051"),
        ("advertise", ":50051", "is not HOST:PORT"),
        ("advertise", "emulator:0", "is not HOST:PORT"),
        ("advertise", "emulator:99999", "is not HOST:PORT"),
        ("advertise", "emulator:http", "is not HOST:PORT"),
        ("log_level", "loud", "log_level: 'loud' is none of debug, info, warning, error"),
        ("log_format", "xml", "log_format: 'xml' is none of text, json"),
        # what the command line can't give but Python can
        ("port", "50051", "port"),
        ("speed", "fast", "speed"),
        ("seed", "lucky", "seed"),
        ("strict", "false", "strict"),
        ("lenient", "no", "lenient"),
        ("host", 127, "host"),
        ("host", " ", "host: it is empty; give an address of this machine"),
        ("engine", "go", "engine: 'go' is none of grpc.aio, native"),
        ("advertise", 50051, "advertise"),
        ("require_auth", "yes", "require_auth"),
        ("api_key", "", "api_key: it travels as a header; give printable ASCII without spaces"),
        ("api_key", ["AQVN-one", "AQVN two"], "api_key: it travels as a header"),
        ("api_key", ["ключ"], "api_key: it travels as a header"),
        ("api_key", [5], "api_key: it travels as a header"),
    ],
)
def test_a_value_that_can_not_be_is_refused_by_name(name: str, value: Any, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        from_values({name: value})
    assert told in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 0), ("port", 65535), ("speed", 1_000_000), ("speed", 0.001), ("advertise", "[::1]:1"), ("seed", -5)],
)
def test_values_up_to_the_bounds_are_taken(name: str, value: Any) -> None:
    assert getattr(from_values({name: value}), name) == value


@pytest.mark.parametrize(
    ("given", "held"),
    [
        ("a.yaml", ("a.yaml",)),
        (Path("a.yaml"), (Path("a.yaml"),)),
        ({"rules": []}, ({"rules": []},)),
        (["a.yaml", {"rules": []}], ("a.yaml", {"rules": []})),
        (("a", "b"), ("a", "b")),
        (None, ()),
        ((), ()),
    ],
)
def test_fixtures_are_one_thing_or_several(given: Any, held: tuple[Any, ...]) -> None:
    assert from_values({"fixtures": given}).fixtures == held


@pytest.mark.parametrize(
    "written",
    [
        "2026-01-31T12:00:00Z",
        "2026-01-31T12:00:00z",
        "2026-01-31T12:00:00",
        "2026-01-31 12:00",
        "2026-01-31T15:00:00+03:00",
        datetime.datetime(2026, 1, 31, 12),
        datetime.datetime(2026, 1, 31, 15, tzinfo=datetime.timezone(datetime.timedelta(hours=3))),
        NOON,
    ],
)
def test_a_time_is_utc_unless_it_says_otherwise(written: Any) -> None:
    assert instant(written) == NOON


def test_a_time_keeps_its_microseconds() -> None:
    assert instant("2026-01-31T12:00:00.000001Z") == NOON + 1000


@pytest.mark.parametrize(
    ("host", "alone"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("[::1]", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.7", False),
        ("127.example.org", False),
    ],
)
def test_only_loopback_addresses_keep_others_out(host: str, alone: bool) -> None:
    assert Config(host=host).loopback_only is alone
