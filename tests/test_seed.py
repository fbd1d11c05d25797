"""Randomness that is none: what a choice depends on, and that it never changes."""

from __future__ import annotations

import re
import uuid
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from emulator.seed import Seed

ROOTS = st.integers(-(2**63), 2**63)
STEPS = st.lists(st.one_of(st.text(max_size=10), st.integers(), st.binary(max_size=10)), max_size=4)


def test_the_same_seed_gives_the_same_in_every_process_and_version() -> None:
    seed = Seed(42).at("rule", 7)
    assert seed.identifier("d7q", "operation") == "d7qadmro92l85p4qatq4"
    assert seed.uuid("request") == "ed1749dc-993e-46f2-b21b-ca95bd2b689c"
    assert seed.integer(1, 1000, "delay") == 525


@given(ROOTS, STEPS, STEPS)
def test_a_path_may_be_gone_in_steps_or_at_once(root: int, first: list[object], then: list[object]) -> None:
    assert Seed(root).at(*first).at(*then).bits() == Seed(root).at(*first, *then).bits()
    assert Seed(root).at(*first).bits(*then) == Seed(root).bits(*first, *then)


@given(ROOTS, st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_different_paths_give_different_bits_wherever_the_steps_are_cut(
    root: int, one: list[str], other: list[str]
) -> None:
    assert (Seed(root).bits(*one) == Seed(root).bits(*other)) == (one == other)


@given(ROOTS, ROOTS, STEPS)
def test_the_root_decides(one: int, other: int, steps: list[object]) -> None:
    assert (Seed(one).bits(*steps) == Seed(other).bits(*steps)) == (one == other)


def test_asking_leaves_the_seed_as_it_was() -> None:
    seed = Seed(1).at("a")
    before = seed.bits("x")
    seed.at("b").fraction("c")
    assert seed.bits("x") == before


@given(ROOTS, st.integers(-1000, 1000), st.integers(0, 1000))
def test_whole_numbers_stay_within_both_bounds(root: int, low: int, more: int) -> None:
    assert low <= Seed(root).integer(low, low + more) <= low + more


@given(ROOTS, STEPS)
def test_fractions_are_from_0_to_below_1(root: int, steps: list[object]) -> None:
    assert 0 <= Seed(root).fraction(*steps) < 1


def test_choices_are_spread_evenly() -> None:
    seed = Seed(0)
    counts = Counter(seed.choice("abcd", i) for i in range(4000))
    assert set(counts) == set("abcd")
    assert all(850 < n < 1150 for n in counts.values())


def test_a_spread_has_its_median_and_its_95th_percentile() -> None:
    seed = Seed(0)
    drawn = sorted(seed.lognormal(800, 3000, i) for i in range(2000))
    assert 720 < drawn[1000] < 880
    assert 2600 < drawn[1900] < 3400
    assert drawn[0] > 0


def test_a_spread_without_width_is_its_median() -> None:
    assert Seed(0).lognormal(5.0, 5.0, "x") == 5.0


@given(ROOTS, STEPS)
def test_identifiers_are_shaped_as_the_clouds_are(root: int, steps: list[object]) -> None:
    assert re.fullmatch("d7q[0-9a-v]{17}", Seed(root).identifier("d7q", *steps))


@given(ROOTS, STEPS)
def test_uuids_are_of_version_4(root: int, steps: list[object]) -> None:
    text = Seed(root).uuid(*steps)
    parsed = uuid.UUID(text)
    assert (parsed.version, parsed.variant, str(parsed)) == (4, uuid.RFC_4122, text)
