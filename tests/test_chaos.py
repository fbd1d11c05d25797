"""Which calls a fault strikes, and how, is a function of the seed, the fault and the calls it concerns."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.chaos import Fault, failing
from emulator.engine.book import load
from emulator.engine.layers import Layer, dumped, revived, stacked
from emulator.errors import Code, FixtureError, Status
from emulator.replies.statuses import ScriptedStatus
from emulator.replies.strike import Strike
from emulator.seed import Seed

SECOND = 1_000_000_000


def worded(error: ScriptedStatus) -> Status:
    return error.status({})


def faults(*specs: dict[str, Any]) -> tuple[Fault, ...]:
    found = load([{"chaos": list(specs)}]).chaos
    assert found is not None
    return found


def only(**spec: Any) -> Fault:
    (fault,) = faults(spec)
    return fault


def struck(fault: Fault, n: int, seed: int = 0) -> list[Strike | None]:
    return [fault.strike(i, Seed(seed), worded) for i in range(n)]


def codes(fault: Fault, n: int, seed: int = 0) -> list[str]:
    return [s.status.code.name if s is not None and s.status is not None else "" for s in struck(fault, n, seed)]


def test_a_share_of_the_calls_is_struck() -> None:
    n = sum(strike is not None for strike in struck(only(share=0.2, error="UNAVAILABLE"), 5000))
    assert 900 < n < 1100


def test_a_share_of_nothing_and_of_all() -> None:
    assert set(struck(only(share=0, drop=True), 100)) == {None}
    assert None not in struck(only(share=1, drop=True), 100)


def test_the_first_so_many_are_struck_and_then_none() -> None:
    assert codes(only(first=2, error="ABORTED"), 4) == ["ABORTED", "ABORTED", "", ""]


def test_codes_come_as_often_as_their_weights_say() -> None:
    fault = only(error=["UNAVAILABLE", {"code": "INTERNAL", "weight": 3}, {"code": "UNKNOWN", "weight": 0.001}])
    found = codes(fault, 4000)
    assert 2800 < found.count("INTERNAL") < 3200
    assert 800 < found.count("UNAVAILABLE") < 1200


@given(st.integers(0, 2**64), st.floats(0, 1), st.integers(1, 40))
def test_the_same_seed_gives_the_same_faults(seed: int, share: float, n: int) -> None:
    spec = {"share": share, "error": ["UNAVAILABLE", "INTERNAL"], "delay": {"min": "1ms", "max": "1s"}}
    once, again = struck(only(**spec), n, seed), struck(only(**spec), n, seed)
    assert [(s.delay, s.status.code) for s in once if s and s.status] == [
        (s.delay, s.status.code) for s in again if s and s.status
    ]
    assert [s is None for s in once] == [s is None for s in again]


def test_another_seed_gives_others() -> None:
    fault = only(share=0.5, drop=True)
    assert len({tuple(s is None for s in struck(fault, 64, seed)) for seed in range(20)}) == 20


def test_delays_are_drawn_between_bounds_and_from_percentiles() -> None:
    between = [s.delay for s in struck(only(delay={"min": "10ms", "max": "20ms"}), 500) if s]
    assert 10_000_000 <= min(between) < 10_500_000
    assert 19_500_000 < max(between) <= 20_000_000
    spread = sorted(s.delay for s in struck(only(delay={"p50": "100ms", "p95": "2s"}), 1001) if s)
    assert 80_000_000 < spread[500] < 120_000_000
    assert 1_500_000_000 < spread[950] < 2_600_000_000


@pytest.mark.parametrize(
    ("bounds", "during"),
    [
        ({"from": "10s"}, [False, True, True]),
        ({"until": "20s"}, [True, True, False]),
        ({"from": "10s", "until": "20s"}, [False, True, False]),
        ({"from": "1970-01-01T00:01:50Z", "until": "20s"}, [False, True, False]),
        ({}, [True, True, True]),
    ],
)
def test_an_outage_begins_and_ends_by_the_clock(bounds: dict[str, str], during: list[bool]) -> None:
    fault, began = only(error="UNAVAILABLE", **bounds), 100 * SECOND
    assert [fault.in_force(began + after, began) for after in (0, 10 * SECOND, 20 * SECOND)] == during


@given(st.integers(0, 50), st.integers(1, 60))
def test_a_stream_is_always_struck_before_its_last_message(after: int, messages: int) -> None:
    assert Strike(after=after).place(messages) == min(after, messages - 1)


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 60))
def test_a_place_anywhere_is_before_the_last_message(fraction: float, messages: int) -> None:
    assert 0 <= Strike(after=fraction).place(messages) < messages


# -- as rules


def test_a_fault_is_known_by_its_name_or_by_what_it_does() -> None:
    one, same, other, named = faults(
        {"drop": True}, {"drop": True}, {"drop": True, "share": 0.5}, {"name": "x", "drop": True}
    )
    assert len({one.identity, same.identity, other.identity, named.identity}) == 4
    assert (named.identity, named.label, same.identity) == ("x", "x", f"{one.identity}#2")
    assert one.label.endswith("chaos[0]")


def test_faults_of_several_files_are_all_in_force_and_names_are_their_own() -> None:
    one, other = {"chaos": {"name": "a", "drop": True}}, {"chaos": [{"name": "b", "drop": True}]}
    book = load([one, other])
    assert [fault.label for fault in book.chaos or ()] == ["a", "b"]
    with pytest.raises(FixtureError, match="another file has a fault that is called a already"):
        load([one, one])


def test_the_first_layer_with_chaos_says_all_of_it() -> None:
    files = Layer("files", load([{"chaos": {"name": "files", "drop": True}}]))
    none, own = Layer("r1", load([{"chaos": []}])), Layer("r2", load([{"rules": [{"reply": {"text": "a"}}]}]))
    assert [fault.label for fault in stacked([own, files]).chaos or ()] == ["files"]
    assert stacked([none, own, files]).chaos == ()
    assert load([{"rules": []}]).chaos is None


def test_chaos_survives_being_written_down() -> None:
    book = load([{"chaos": {"share": 0.5, "error": ["INTERNAL"], "from": "1s"}}])
    again = revived(dumped(book))
    assert again.chaos is not None
    assert book.chaos is not None
    assert [fault.identity for fault in again.chaos] == [fault.identity for fault in book.chaos]


def test_the_option_is_a_share_of_all_calls() -> None:
    assert failing(0) == ()
    (fault,) = failing(0.5)
    assert set(codes(fault, 100)) == {"", Code.UNAVAILABLE.name}


# -- what can't be


@pytest.mark.parametrize(
    ("chaos", "line", "told"),
    [
        ("  share: 1.5\n  drop: true", 2, "chaos.share: must be at most 1; found `1.5`"),
        ("  share: 10%\n  drop: true", 2, "chaos.share: needs a number; found `10%`"),
        ("  first: 0\n  drop: true", 2, "chaos.first: must be at least 1; found `0`"),
        ("  share: 0.5", 1, "chaos: does nothing; give delay, or one of error, drop, truncate and stall"),
        ("  drop: false", 1, "chaos: does nothing; give delay, or one of error, drop, truncate and stall"),
        ("  - share: 0.5", 2, "chaos[0]: does nothing; give delay, or one of error, drop, truncate and stall"),
        ("  error: UNAVAILBLE", 2, "chaos.error: no such status code: UNAVAILBLE; did you mean UNAVAILABLE?"),
        ("  error: 503", 2, "chaos.error: give the code by its name: UNAVAILABLE"),
        ("  error:\n  - INTERNAL\n  - OK", 4, "chaos.error[1]: OK is no error; leave error out"),
        ("  error:\n  - {code: NOPE}", 3, "chaos.error[0].code: no such status code: NOPE"),
        ("  error: []", 2, "chaos.error: an empty list fails nothing; name a status"),
        ("  error: [{code: INTERNAL, weight: 0}]", 2, "chaos.error[0].weight: must be more than 0; found `0`"),
        ("  error: INTERNAL\n  drop: true", 3, "chaos.drop: a call ends in one way: leave out either error or drop"),
        ("  drop: true\n  from: 20s\n  until: 10s", 4, "chaos.until: this is not after `from`, so it never strikes"),
        ("  drop: true\n  until: 0", 3, "chaos.until: this is over before it begins"),
        ("  drop: true\n  from: soon", 3, "or a time: 2026-01-31T12:00:00Z"),
        ("  drop: true\n  from: 2026-13-31T12:00:00Z", 3, "is not a time; write it like 2026-01-31T12:00:00Z"),
        ("  drop: true\n  after: -1", 3, "chaos.after: needs a number of messages up to 100000, or `anywhere`"),
        ("  drop: true\n  after: somewhere", 3, "needs a number of messages up to 100000, or `anywhere`"),
        ("  delay: 1s\n  after: 3", 3, "chaos.after: nothing comes after those messages"),
        ("  delay: {min: 2s, max: 1s}", 2, "chaos.delay: max must not be less than min"),
        (
            "  delay: {min: 2s, p95: 1s}",
            2,
            "chaos.delay: a spread delay is p50 and p95, or min and max; found p95 and min",
        ),
        ("  delay: {p50: 2s}", 2, "chaos.delay: a spread delay is p50 and p95, or min and max; found p50"),
        ("  stall: long", 2, "`long` is no duration"),
        ("  drop: true\n  call: []", 3, "chaos.call: an empty list names no call; leave it out for all of them"),
        ("  drop: true\n  call: batch_row", 3, "chaos.call: needs one of 12 words such as"),
        ("  drop: true\n  when: {row: 5}", 3, "only rows of batches have that, and they are no calls"),
        (
            "  drop: true\n  call: operations\n  when: {model: yandexgpt}",
            3,
            "operations does not have what the conditions",
        ),
        (
            "  drop: true\n  call: tokenize\n  when: {question: x}",
            3,
            "tokenize does not have what the conditions look at",
        ),
        ("  drop: true\n  call: tokenize\n  after: 1", 3, "chaos.call: tokenize does not stream"),
        ("  truncate: true\n  call: [completion, datasets]", 3, "chaos.call: datasets does not stream"),
        ("  drop: true\n  when: {prompt: x}\n  after: 3", 3, "chaos.when: no stream has that"),
        ("  drop: true\n  when: {metadata: {X-Job: a}}", 3, "write x-job"),
        ("  drop: true\n  name: ''", 3, "chaos.name: an empty name names nothing; leave it out"),
        (
            "  - {name: a, drop: true}\n  - {name: a, drop: true}",
            3,
            "chaos[1].name: this name is taken by another fault",
        ),
        ("  drop: true\n  shared: 1", 3, "chaos.shared: no such field; did you mean share?"),
        (
            "  drop: true\n  per: call",
            3,
            "chaos.per: needs `folder`, `idempotency-key`, `question`, `request` or `session`",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place_and_its_remedy(tmp_path: Any, chaos: str, line: int, told: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"chaos:\n{chaos}\n", encoding="utf-8")
    with pytest.raises(FixtureError) as failed:
        load([file])
    (mistake,) = failed.value.mistakes
    assert str(mistake).startswith(f"{file}:")
    assert told in str(mistake)
    assert mistake.line == line


def test_the_mistakes_of_all_faults_are_told_in_one_go(tmp_path: Any) -> None:
    file = tmp_path / "a.yaml"
    faults = ["{share: 2, drop: true}", "{error: NOPE}", "{first: 0, drop: true}", "{until: 0, drop: true}"]
    file.write_text("chaos:\n" + "".join(f"- {fault}\n" for fault in faults), encoding="utf-8")
    with pytest.raises(FixtureError) as failed:
        load([file])
    assert [(mistake.line, mistake.text.partition(":")[0]) for mistake in failed.value.mistakes] == [
        (2, "chaos[0].share"),
        (3, "chaos[1].error"),
        (4, "chaos[2].first"),
        (5, "chaos[3].until"),
    ]


@pytest.mark.parametrize(
    ("chaos", "told"),
    [
        ("{share: 2, drop: true}", "chaos.share: must be at most 1"),
        ("{call: completion, drop: true}", "chaos.call: no such field"),
        ("{when: {question: x}, drop: true}", "chaos.when: no such field"),
        ("[{error: NOPE}]", "chaos[0].error: no such status code: NOPE"),
    ],
)
def test_a_mistake_in_a_rules_own_is_told_as_well(tmp_path: Any, chaos: str, told: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(f"rules:\n- reply: {{text: a}}\n  chaos: {chaos}\n", encoding="utf-8")
    with pytest.raises(FixtureError) as failed:
        load([file])
    assert str(failed.value).startswith(f"{file}:3: {told}")
