"""Durations have units; spreads are drawn from a seed."""

from __future__ import annotations

import copy
import pickle
import statistics

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.rules.duration import LONGEST_NS, Delay, Duration, Spread, draw, parse
from emulator.seed import Seed


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("0", 0),
        ("0s", 0),
        ("7ns", 7),
        ("250us", 250_000),
        ("250µs", 250_000),
        ("250μs", 250_000),
        ("20ms", 20_000_000),
        ("1.5s", 1_500_000_000),
        ("0.1s", 100_000_000),
        ("2m", 120_000_000_000),
        ("1h30m", 5_400_000_000_000),
        ("72h", 259_200_000_000_000),
        ("3d", 259_200_000_000_000),
        ("3650d", LONGEST_NS),
    ],
)
def test_a_duration_is_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert parse(text) == ns


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("5", "needs a unit: 20ms, 2s, 5m, 72h"),
        ("1.5", "needs a unit"),
        ("", "needs a duration"),
        ("null", "is no duration"),
        ("-1s", "is negative"),
        ("1 s", "is no duration"),
        ("soon", "is no duration"),
        ("1w", "is no duration"),
        ("3651d", "at most 3650d"),
        ("9" * 60 + "s", "at most 3650d"),
        ("9" * 5000 + "s", "needs a duration"),
        ("1e999999s", "is no duration"),
    ],
)
def test_what_is_no_duration_is_told_why(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        parse(text)


@given(st.text())
def test_random_text_is_a_duration_or_a_value_error(text: str) -> None:
    try:
        assert 0 <= parse(text) <= LONGEST_NS
    except ValueError:
        return


def test_durations_are_values() -> None:
    assert Duration(5) == Delay(5) == Delay(5, 5) != Delay(5, 6)
    assert len({Duration(5), Delay(5), Delay(5, 6)}) == 2
    assert (Delay(5, 6).ns, Delay(5, 6).p50_ns, Delay(5, 6).p95_ns, Duration(5).p95_ns) == (5, 5, 6, 5)
    assert repr([Duration(5), Delay(5), Delay(5, 6)]) == "[Duration(5), Delay(5), Delay(5, 6)]"
    for duration in (Duration(5), Delay(5, 6)):
        assert pickle.loads(pickle.dumps(duration)) == copy.deepcopy(duration) == duration
        with pytest.raises(AttributeError, match="immutable"):
            duration.ns = 6


@pytest.mark.parametrize(
    ("p50", "p95", "told"),
    [
        (-1, None, "0 or more"),
        (5, 4, "p95 must not be less"),
        (0, 4, "p50 must be more than 0"),
        (1, LONGEST_NS + 1, "at most 3650d"),
    ],
)
def test_impossible_delays_can_not_be_made(p50: int, p95: int | None, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Delay(p50, p95)


def test_draws_follow_the_percentiles_and_repeat_with_the_seed() -> None:
    value, seed = Delay(800_000_000, 3_000_000_000), Seed(1)
    draws = sorted(draw(value, seed, "delay", index) for index in range(2000))
    written = Spread(Duration(800_000_000), Duration(3_000_000_000))
    assert draw(value, seed, "delay", 0) == draw(written, Seed(1), "delay", 0)
    assert statistics.median(draws) == pytest.approx(800_000_000, rel=0.1)
    assert draws[1900] == pytest.approx(3_000_000_000, rel=0.15)


def test_a_fixed_duration_is_always_drawn_as_it_is() -> None:
    assert {draw(Duration(20), Seed(seed)) for seed in range(5)} == {20}


def test_the_schema_takes_what_the_decoder_takes() -> None:
    import jsonschema

    class Model(msgspec.Struct):
        delay: Delay | None = None
        at: Duration | None = None

    schema = msgspec.json.schema(Model, schema_hook=lambda cls: cls.json_schema())
    accepts = jsonschema.Draft202012Validator(schema).is_valid
    spread = {"p50": "800ms", "p95": "3s"}
    for delay in ("20ms", "1h30m", "0", 0, None, spread):
        assert accepts({"delay": delay}), delay
    for delay in ("5", 5, "soon", {"p50": "800ms"}):
        assert not accepts({"delay": delay}), delay
    assert accepts({"at": "3d"})
    assert not accepts({"at": spread})
