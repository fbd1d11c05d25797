"""What quotas let in is a function of the clock and of what was let in before."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator import quotas as module
from emulator.api import METHODS
from emulator.clock import SECOND, Clock
from emulator.engine.book import load
from emulator.errors import FixtureError
from emulator.quotas import KINDS, METHODS_BY_NAME, PRESETS, WINDOWS, Limit, Quotas, Refused, Slots, plan_of
from emulator.rules import model
from emulator.wording import QUOTA_MET

NOON = 1_900_000_000 * SECOND
COMPLETION = METHODS_BY_NAME["completion"][0]


def limit(kind: str, most: int, by: str = "session", name: str = "completion") -> Limit:
    return Limit(kind, by, most, WINDOWS.get(kind, 0), f"{kind} by {by}: {name}")


def frozen() -> Clock:
    return Clock(NOON, frozen=True)


def spec(*limits: dict[str, Any], preset: str | None = None) -> model.Quotas:
    section = {"limits": list(limits), **({"preset": preset} if preset else {})}
    found = load([{"quotas": section}]).quotas
    assert found is not None
    return found


def whoever(by: str) -> str:
    return ""


steps = st.lists(
    st.one_of(
        st.just("call"),
        st.just("end"),
        st.integers(0, 3 * SECOND),
        st.sampled_from([SECOND, SECOND - 1, 60 * SECOND, 59 * SECOND, 1]),
    ),
    max_size=80,
)


@given(steps, st.integers(1, 5), st.integers(1, 8), st.integers(1, 3))
def test_no_stretch_of_time_ever_has_more_than_its_limit_and_none_is_refused_in_vain(
    taken: list[Any], per_second: int, per_minute: int, at_once: int
) -> None:
    clock = frozen()
    quotas = Quotas(clock, "none")
    limits = (limit("per_second", per_second), limit("per_minute", per_minute), limit("at_once", at_once))
    came: list[int] = []
    under_way: list[Slots] = []
    for step in taken:
        if step == "end":
            if under_way:
                under_way.pop(0).free()
            continue
        if step != "call":
            clock.set(clock.now() + step, True, 1)
            continue
        now = clock.now()
        recent = Counter({kind: sum(1 for at in came if at > now - WINDOWS[kind]) for kind in WINDOWS})
        room = recent["per_second"] < per_second and recent["per_minute"] < per_minute and len(under_way) < at_once
        admitted = quotas.admit(limits, whoever)
        assert isinstance(admitted, Slots) is room
        if isinstance(admitted, Slots):
            came.append(now)
            under_way.append(admitted)
    for most, kind in ((per_second, "per_second"), (per_minute, "per_minute")):
        for i in range(len(came) - most):
            assert came[i + most] - came[i] >= WINDOWS[kind]


@given(st.lists(st.integers(0, SECOND // 3), min_size=1, max_size=40), st.integers(1, 4))
def test_the_wait_that_is_told_is_exact(pauses: list[int], most: int) -> None:
    clock = frozen()
    quotas, limits = Quotas(clock, "none"), (limit("per_second", most),)
    for pause in pauses:
        clock.set(clock.now() + pause, True, 1)
        admitted = quotas.admit(limits, whoever)
        if isinstance(admitted, Slots):
            continue
        wait = admitted[0].wait
        assert wait is not None
        clock.set(clock.now() + wait - 1, True, 1)
        assert not isinstance(quotas.admit(limits, whoever), Slots)
        clock.set(clock.now() + 1, True, 1)
        assert isinstance(quotas.admit(limits, whoever), Slots)


def test_a_call_counts_under_all_its_limits_or_under_none() -> None:
    clock = frozen()
    quotas = Quotas(clock, "none")
    wide, narrow = limit("per_minute", 3), limit("per_second", 1)
    assert isinstance(quotas.admit((wide, narrow), whoever), Slots)
    for _ in range(10):
        assert not isinstance(quotas.admit((wide, narrow), whoever), Slots)
    assert isinstance(quotas.admit((wide,), whoever), Slots)
    assert isinstance(quotas.admit((wide,), whoever), Slots)
    refused = quotas.admit((narrow, wide), whoever)
    assert isinstance(refused, list)
    assert [(r.limit.kind, r.wait) for r in refused] == [("per_minute", 60 * SECOND), ("per_second", SECOND)]


def test_nothing_is_let_in_where_nothing_is_allowed_and_nobody_is_told_to_come_again() -> None:
    quotas = Quotas(frozen(), "none")
    refused = quotas.admit((limit("per_second", 1), limit("at_once", 0)), whoever)
    assert isinstance(refused, list)
    assert [r.wait for r in refused] == [None]


def test_each_folder_has_its_own_count() -> None:
    quotas, limits = Quotas(frozen(), "none"), (limit("per_day", 1, "folder"),)
    assert isinstance(quotas.admit(limits, lambda by: "a"), Slots)
    assert isinstance(quotas.admit(limits, lambda by: "b"), Slots)
    assert quotas.admit(limits, lambda by: "a") == [Refused(limits[0], "a", 24 * 3600 * SECOND)]


def test_a_place_is_freed_once_however_often_it_is_given_back() -> None:
    quotas, limits = Quotas(frozen(), "none"), (limit("at_once", 2),)
    first, second = quotas.admit(limits, whoever), quotas.admit(limits, whoever)
    assert isinstance(first, Slots)
    first.free()
    first.free()
    assert isinstance(second, Slots)
    assert isinstance(quotas.admit(limits, whoever), Slots)
    assert not isinstance(quotas.admit(limits, whoever), Slots)


def test_after_a_reset_what_was_under_way_takes_no_place_and_gives_none() -> None:
    quotas, limits = Quotas(frozen(), "none"), (limit("at_once", 1),)
    before = quotas.admit(limits, whoever)
    quotas.begin("none")
    now = quotas.admit(limits, whoever)
    assert isinstance(before, Slots)
    assert isinstance(now, Slots)
    before.free()
    assert not isinstance(quotas.admit(limits, whoever), Slots)


def test_a_clock_that_is_put_back_forgets_what_has_not_come_yet() -> None:
    clock = frozen()
    quotas, limits = Quotas(clock, "none"), (limit("per_hour", 1),)
    quotas.admit(limits, whoever)
    clock.set(NOON - 1, True, 1)
    assert isinstance(quotas.admit(limits, whoever), Slots)


def test_what_is_remembered_is_bounded_and_the_newest_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COUNTED", 20)
    monkeypatch.setattr(module, "MOST_SUBJECTS", 5)
    quotas, limits = Quotas(frozen(), "none"), (limit("per_day", 7, "folder"),)
    for folder in range(30):
        for _ in range(7):
            quotas.admit(limits, lambda by, folder=folder: str(folder))  # type: ignore[misc]
    kept = quotas.dump()
    assert [subject for _, subject, _ in kept] == ["28", "29"]
    assert not isinstance(quotas.admit(limits, lambda by: "29"), Slots)


def test_as_data_and_back_nothing_is_lost() -> None:
    clock = frozen()
    quotas = Quotas(clock, "real")
    limits = quotas.limits(None, METHODS_BY_NAME["completion_batch"][0])
    for _ in range(10):
        quotas.admit(limits, whoever)
    again = Quotas(clock, "none")
    again.load(msgspec.json.decode(msgspec.json.encode(quotas.dump()), type=list[tuple[str, str, list[int]]]), "real")
    assert again.dump() == quotas.dump()
    assert not isinstance(again.admit(limits, whoever), Slots)


# -- which limits hold


def mosts(plan: Any, name: str) -> list[tuple[str, int, str]]:
    found = [plan.get(path, ()) for path in METHODS_BY_NAME[name]]
    assert all(one == found[0] for one in found)
    return [(limit.kind, limit.most, limit.by) for limit in found[0]]


def test_every_name_stands_for_methods_that_exist() -> None:
    assert {path for paths in METHODS_BY_NAME.values() for path in paths} <= set(METHODS)
    assert all(METHODS_BY_NAME.values())
    assert set(METHODS_BY_NAME) == set(model.QuotaCall.__args__)  # type: ignore[attr-defined]
    assert set(PRESETS) == set(model.QuotaPreset.__args__)  # type: ignore[attr-defined]


def test_the_preset_is_what_is_documented() -> None:
    plan = plan_of(None, "real")
    assert {name: {kind: most for kind, most, _ in mosts(plan, name)} for name in METHODS_BY_NAME} == {
        "completion": {"at_once": 10},
        "completion_async": {"per_second": 10, "per_hour": 5000},
        "completion_batch": {"per_hour": 10, "per_day": 100},
        "generate_image": {"per_minute": 500, "per_day": 5000},
        "tokenize": {"per_second": 50},
        "tokenize_completion": {"per_second": 50},
        "text_embedding": {"per_second": 10},
        "classify": {"per_second": 1},
        "few_shot_classify": {"per_second": 1},
        "operations": {"per_second": 50},
        "datasets": {},
        "batches": {},
    }
    assert plan_of(None, "none") == {}
    for name, met in QUOTA_MET.items():
        assert met in [(kind, most) for kind, most, _ in mosts(plan, name)]


def test_a_limit_replaces_the_presets_of_its_kind_and_leaves_the_others() -> None:
    plan = plan_of(spec({"call": "completion_async", "per_second": 2, "per_minute": 7}, preset="real"), "none")
    assert mosts(plan, "completion_async") == [
        ("per_hour", 5000, "session"),
        ("per_second", 2, "session"),
        ("per_minute", 7, "session"),
    ]
    assert mosts(plan, "completion") == [("at_once", 10, "session")]


def test_unlimited_takes_the_presets_limit_away() -> None:
    plan = plan_of(spec({"call": "completion", "at_once": "unlimited"}, preset="real"), "none")
    assert mosts(plan, "completion") == []


def test_the_options_preset_holds_where_the_fixtures_name_none() -> None:
    section = spec({"call": "completion", "per_day": 5})
    assert mosts(plan_of(section, "real"), "completion") == [("at_once", 10, "session"), ("per_day", 5, "session")]
    assert mosts(plan_of(spec({"call": "datasets", "per_day": 5}, preset="none"), "real"), "completion") == []


def test_calls_named_together_share_a_limit_and_one_that_is_taken_out_leaves_it_to_the_others() -> None:
    plan = plan_of(spec({"call": "tokenize", "per_second": 3}, preset="real"), "none")
    assert mosts(plan, "tokenize") == [("per_second", 3, "session")]
    assert mosts(plan, "tokenize_completion") == [("per_second", 50, "session")]
    shared = plan_of(spec({"call": ["completion", "completion_async"], "per_second": 1}), "none")
    quotas = Quotas(frozen(), "none")
    assert isinstance(quotas.admit(shared[COMPLETION], whoever), Slots)
    assert not isinstance(quotas.admit(shared[METHODS_BY_NAME["completion_async"][0]], whoever), Slots)


def test_limits_by_several_things_hold_together() -> None:
    plan = plan_of(
        spec({"call": "completion", "per_second": 5}, {"call": "completion", "per_second": 2, "by": "folder"}), "none"
    )
    assert mosts(plan, "completion") == [("per_second", 5, "session"), ("per_second", 2, "folder")]


def test_other_numbers_after_a_reload_find_the_counts_of_before() -> None:
    quotas = Quotas(frozen(), "none")
    before = spec({"call": "completion", "per_hour": 3})
    for _ in range(3):
        quotas.admit(quotas.limits(before, COMPLETION), whoever)
    tighter = spec({"call": "completion", "per_hour": 2})
    refused = quotas.admit(quotas.limits(tighter, COMPLETION), whoever)
    assert isinstance(refused, list)
    assert refused[0].wait == 3600 * SECOND
    wider = spec({"call": "completion", "per_hour": 4})
    assert isinstance(quotas.admit(quotas.limits(wider, COMPLETION), whoever), Slots)
    assert not isinstance(quotas.admit(quotas.limits(wider, COMPLETION), whoever), Slots)


def test_a_limit_that_is_gone_takes_its_counts_along() -> None:
    quotas = Quotas(frozen(), "none")
    hourly = spec({"call": "completion", "per_hour": 1})
    quotas.admit(quotas.limits(hourly, COMPLETION), whoever)
    assert quotas.limits(None, COMPLETION) == ()
    assert quotas.dump() == []
    assert isinstance(quotas.admit(quotas.limits(hourly, COMPLETION), whoever), Slots)


# -- mistakes


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("limits: [{call: completion}]", f"quotas.limits[0]: limits nothing; give one of {', '.join(KINDS)}"),
        (
            "limits: [{call: [], per_day: 1}]",
            "quotas.limits[0].call: an empty list names no call; leave the limit out",
        ),
        (
            "limits: [{call: [tokenize, tokenize], per_day: 1}]",
            "quotas.limits[0].call: tokenize is named twice; once is enough",
        ),
        (
            "limits: [{call: [completion, tokenize], per_day: 1}, {call: completion, per_day: 2}]",
            "quotas.limits[1].per_day: completion has a limit per_day by session already, in limits[0]",
        ),
        ("preset: reel", "quotas.preset: needs `none` or `real`; found `reel`; did you mean real?"),
        (
            "limits: [{call: completion, per_second: ten}]",
            "quotas.limits[0].per_second: needs a whole number of calls, or `unlimited`; found `ten`",
        ),
        (
            "limits: [{call: completion, per_day: 1000000}]",
            "quotas.limits[0].per_day: `1000000` is too many to be counted: at most 100000, or `unlimited`",
        ),
        ("limits: [{call: complition, per_day: 1}]", "did you mean completion?"),
        ("limits: [{per_day: 1}]", "quotas.limits[0]: needs the field `call`"),
        ("per_day: 1", "quotas.per_day: no such field here; it belongs under `limits`"),
    ],
)
def test_a_mistake_is_told_with_its_place_and_remedy(text: str, told: str, tmp_path: Any) -> None:
    file = tmp_path / "quotas.yaml"
    file.write_text(f"quotas:\n  {text}\n", encoding="utf-8")
    with pytest.raises(FixtureError) as failed:
        load([file])
    assert told in str(failed.value)
    assert str(failed.value).startswith(f"{file}:")


def test_one_file_alone_may_have_quotas() -> None:
    section = {"quotas": {"preset": "real"}}
    with pytest.raises(FixtureError, match="another file has quotas already, and they are for all files"):
        load([section, section])
