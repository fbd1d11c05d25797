"""Nodes become values of the asked type, and everything that does not fit is told with its place."""

from __future__ import annotations

import enum
import math
from typing import Annotated, Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET, Meta, UnsetType

from emulator.rules.decode import INVALID, decode, nearest
from emulator.rules.document import parse
from emulator.rules.duration import Delay, Duration
from emulator.rules.inline import nodes_of
from emulator.rules.problems import Problems, dotted


class Color(enum.Enum):
    RED = "red"
    GREEN = "green"


class Status(enum.IntEnum):
    UNAVAILABLE = 14
    RESOURCE_EXHAUSTED = 8


class Stop(msgspec.Struct, rename={"for_": "for"}):
    after: int
    for_: Duration | None = None


class Stream(msgspec.Struct, rename="kebab"):
    stop: Stop | None = None
    first_after: Duration | None = None


class Reply(msgspec.Struct):
    text: str | None = None
    stream: Stream | None = None
    template: bool = True
    error: Status | None = None


class Condition(msgspec.Struct, rename={"not_": "not", "any_": "any"}):
    contains: str | list[str] | None = None
    not_: Condition | None = None
    any_: list[Condition] = []


class Rule(msgspec.Struct):
    name: str
    when: Condition | str | None = None
    reply: Reply | None = None
    priority: Annotated[int, Meta(ge=0, le=9)] = 0


class File(msgspec.Struct):
    rules: list[Rule] = []
    fallback: Reply | None = None


class Picky(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low must not pass high")


def read(text: str, type_: Any) -> tuple[Any, list[str]]:
    problems = Problems("f.yaml")
    node = parse(text, "f.yaml", problems.mistakes, problems.warnings)
    value = decode(node, type_, problems) if node is not None else None
    return value, [f"{mistake.line}:{mistake.column} {mistake.text}" for mistake in sorted(problems.mistakes)]


def value_of(text: str, type_: Any) -> Any:
    """What the field `v` of that type makes of `text`; the mistake's text if it is refused."""
    value, mistakes = read(f"v: {text}", dict[str, type_])
    if mistakes:
        assert value is INVALID
        (mistake,) = mistakes
        assert mistake.startswith("1:1 v: ")
        return mistake.removeprefix("1:1 v: ")
    return value["v"]


def same(left: Any, right: Any) -> bool:
    return type(left) is type(right) and left == right


@pytest.mark.parametrize(
    "text", ["12:30", "no", "2024-01-01", "+20", "0x1F", "1e3", "007", "true", "Привет", "=", "1_000", ".5"]
)
def test_a_text_field_takes_a_scalar_as_it_is_written(text: str) -> None:
    assert value_of(text, str) == text
    assert value_of(text, str | None) == text


def test_nothing_is_no_text() -> None:
    assert "needs a text; found nothing" in value_of("", str)
    assert "quote it if `null` is the text" in value_of("null", str)
    assert value_of("''", str) == ""
    assert value_of("'null'", str | None) == "null"
    assert [value_of(text, str | None) for text in ("", "~", "null")] == [None, None, None]


@pytest.mark.parametrize(
    ("text", "type_", "value"),
    [
        ("+20", int, 20),
        ("0x1F", int, 31),
        ("0o17", int, 15),
        ("007", int, 7),
        ("5", float, 5.0),
        ("-1e3", float, -1000.0),
        (".5", float, 0.5),
        ("True", bool, True),
        ("FALSE", bool, False),
        ("red", Color, Color.RED),
        ("UNAVAILABLE", Status, Status.UNAVAILABLE),
        ("14", Status, Status.UNAVAILABLE),
        ("no", Literal["yes", "no"], "no"),
        ("2", Literal[1, 2], 2),
        ("~", Literal["a", None], None),
        ("20ms", Duration, Duration(20_000_000)),
        ("0", Duration, Duration(0)),
        ("{p50: 800ms, p95: 3s}", Delay | None, Delay(800_000_000, 3_000_000_000)),
        ("[1, 2]", tuple[int, ...], (1, 2)),
        ("[1, a]", tuple[int, str], (1, "a")),
        ("[1, 1]", frozenset[int], frozenset({1})),
        ("{1: a, 0x2: b}", dict[int, str], {1: "a", 2: "b"}),
        ("{1: a, null: b}", dict[str, str], {"1": "a", "null": "b"}),
        ("5", int | UnsetType, 5),
    ],
)
def test_a_field_reads_what_its_type_says(text: str, type_: Any, value: Any) -> None:
    assert same(value_of(text, type_), value)


@pytest.mark.parametrize(
    ("text", "type_", "told"),
    [
        ("1.5", int, "needs a whole number; found `1.5`"),
        ("many", int, "needs a whole number; found `many`"),
        ("'5'", int, 'needs a whole number, without quotes; found the text "5"'),
        ("9" * 5000, int, "a number of more than 100 digits"),
        ("1e999999", int, "needs a whole number"),
        ("1e999999", float, "the number is too large"),
        (".nan", float, "needs a number; found `.nan`"),
        ("yes", bool, "write true or false instead of `yes`"),
        ("off", bool, "write true or false instead of `off`"),
        ("'true'", bool, "needs true or false, without quotes"),
        ("1", bool, "needs true or false; found `1`"),
        ("gren", Color, "needs `red` or `green`; found `gren`; did you mean green?"),
        ("unavailable", Status, "did you mean UNAVAILABLE?"),
        ("5", Duration, "needs a unit: 20ms, 2s, 5m, 72h"),
        ("[5s]", Duration, "needs a duration; found a list"),
        ("{p50: 1s, p95: 2s}", Duration, "needs a duration; found a mapping"),
        ("{p50: 3s, p95: 1s}", Delay, "p95 must not be less than p50"),
        ("{p50: 0s, p95: 1s}", Delay, "p50 must be more than 0"),
        ("a", list[str], "needs a list; found `a`"),
        ("[a]", str, "needs a text; found a list"),
        ("[b: c]", str, "needs a text; found a list"),
        ("{b: c}", str, "needs a text; found a mapping (if a colon split a text, quote the text)"),
        ("[1]", tuple[int, str], "takes exactly 2 items, has 1"),
        ("5", Annotated[int, Meta(gt=5)], "must be more than 5; found `5`"),
        ("5", Annotated[int, Meta(ge=6)], "must be at least 6; found `5`"),
        ("5.5", Annotated[float, Meta(lt=5)], "must be less than 5; found `5.5`"),
        ("5", Annotated[int, Meta(multiple_of=2)], "must be a multiple of 2; found `5`"),
        ("''", Annotated[str, Meta(min_length=1)], "must not be empty"),
        ("abc", Annotated[str, Meta(max_length=2)], "takes at most 2 characters, has 3"),
        ("abc", Annotated[str, Meta(pattern="^[0-9]+$")], "must match `^[0-9]+$`; found `abc`"),
        ("[]", Annotated[list[int], Meta(min_length=1)], "takes at least 1 item, has 0"),
        ("{}", Annotated[dict[str, int], Meta(min_length=1)], "takes at least 1 entry, has 0"),
        ("a", int | bool, "needs a whole number or true or false; found `a`"),
        ("a", dict[str, int] | list[int], "found `a`"),
        ("{low: 2, high: 1}", Picky, "low must not pass high"),
        ("text", Stop, "needs a mapping with the fields `after` and `for`; found `text`"),
        ("{}", Stop, "needs the field `after`"),
    ],
)
def test_what_does_not_fit_is_told_in_the_words_of_the_type(text: str, type_: Any, told: str) -> None:
    assert told in value_of(text, type_)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("1.5", 1.5),
        ("true", True),
        ("~", None),
        ("yes", "yes"),
        ("'5'", "5"),
        ("12:30", "12:30"),
        ("[a]", ["a"]),
        ("{a: 1}", {"a": 1}),
    ],
)
def test_a_union_takes_the_member_that_the_node_looks_like(text: str, value: Any) -> None:
    assert same(value_of(text, None | bool | int | float | str | list[str] | dict[str, int]), value)
    assert same(value_of(text, Any), value)


def test_a_union_with_numbers_falls_back_to_what_it_has() -> None:
    assert same(value_of("5", float | str), 5.0)
    assert same(value_of("1.5", int | str), "1.5")
    assert same(value_of("auto", int | Literal["auto"]), "auto")
    assert "did you mean auto?" in value_of("aut", int | Literal["auto"])


def test_anything_is_read_by_yaml_1_2() -> None:
    text = "{a: [no, 0o17, 0x1F, .5, 2024-01-01, 1_000, off, '1'], b: {c: ~, 3: True}, d: -.inf}"
    assert value_of(text, Any) == {
        "a": ["no", 15, 31, 0.5, "2024-01-01", "1_000", "off", "1"],
        "b": {"c": None, "3": True},
        "d": -math.inf,
    }
    assert math.isnan(value_of(".nan", Any))
    _, mistakes = read("v: {a: " + "9" * 5000 + "}", dict[str, Any])
    assert ["more than 100 digits" in mistake for mistake in mistakes] == [True]


def test_encoded_names_are_the_fields_names_and_defaults_fill_the_rest() -> None:
    value, mistakes = read("stop: {after: 2, for: 3s}\nfirst-after: 1s", Stream)
    assert mistakes == []
    assert value == Stream(stop=Stop(2, Duration(3_000_000_000)), first_after=Duration(1_000_000_000))


def test_unset_stays_unset() -> None:
    class Sparse(msgspec.Struct):
        a: int | UnsetType = UNSET

    assert read("{}", Sparse) == (Sparse(a=UNSET), [])


def test_recursive_types_are_read_to_their_depth() -> None:
    value, mistakes = read("not: {any: [{contains: a}, {not: {contains: [b, c]}}]}", Condition)
    assert mistakes == []
    assert value.not_.any_[1].not_.contains == ["b", "c"]


def test_every_mistake_of_a_file_is_told_at_its_line() -> None:
    text = """\
rules:
  - name: one
    priority: 10
    reply:
      strem: {}
      template: yes
  - when: {contans: x}
    reply:
      stream:
        stop: {for: 5}
  - name: fine
    reply: {text: ok}
fallback: {error: BUSY}
"""
    value, mistakes = read(text, File)
    assert value is INVALID
    assert mistakes == [
        "3:5 priority: must be at most 9; found `10`",
        "5:7 reply.strem: no such field; did you mean stream?",
        "6:7 reply.template: write true or false instead of `yes`",
        "7:5 needs the field `name`",
        "7:12 when.contans: no such field; did you mean contains?",
        "10:9 reply.stream.stop: needs the field `after`",
        "10:16 reply.stream.stop.for: `5` needs a unit: 20ms, 2s, 5m, 72h",
        "13:12 fallback.error: needs `UNAVAILABLE` or `RESOURCE_EXHAUSTED`; found `BUSY`",
    ]


def test_what_the_parser_complained_about_is_not_complained_about_again() -> None:
    _, mistakes = read("text: {{ question }}\ntemplate: !x true\nstream: !y {}", Reply)
    assert [mistake[:3] for mistake in mistakes] == ["1:7", "2:1", "3:9"]


def test_an_unknown_field_far_from_all_lists_them_and_thinks_of_split_texts() -> None:
    assert "there are `after` and `for`" in read("after: 1\nxyz: 1", Stop)[1][0]
    assert "quote the text" in read("{text: Привет, мир: да}", Reply)[1][0]
    assert "mixes Latin and Cyrillic" in read("after: 1\nfооо: 1", Stop)[1][0]


def test_a_key_written_twice_in_different_ways_is_a_duplicate() -> None:
    _, mistakes = read("1: a\n0x1: b", dict[int, str])
    assert mistakes == ["2:1 0x1: the same key as one before, written differently"]


def test_later_stages_report_at_the_nearest_known_place() -> None:
    text = "rules:\n  - name: a\n    reply:\n      text: x\n"
    problems = Problems("f.yaml")
    node = parse(text, "f.yaml", problems.mistakes, problems.warnings)
    assert node is not None
    decode(node, File, problems)
    problems.at(("rules", 0, "reply", "text", "deeper"), "no")
    problems.at(("rules", 7), "no")
    problems.warn(("rules", 0), "maybe")
    assert [str(mistake) for mistake in problems.mistakes] == ["f.yaml:4: reply.text.deeper: no", "f.yaml:1: no"]
    assert [str(warning) for warning in problems.warnings] == ["f.yaml:2: maybe"]
    assert problems.mark(()) == (1, 1)


def test_a_part_of_a_file_can_be_decoded_on_its_own() -> None:
    problems = Problems("f.yaml")
    root = parse("a: 1\nreply:\n  text: [x]\n", "f.yaml", problems.mistakes, problems.warnings)
    assert root is not None
    assert decode(root.value[1][1], Reply, problems, ("snippets", "s")) is INVALID
    assert [str(mistake) for mistake in problems.mistakes] == ["f.yaml:3: snippets.s.text: needs a text; found a list"]


def test_inline_python_values_pass_through_the_same_types() -> None:
    problems = Problems("inline")
    rule = decode(nodes_of({"name": "12", "reply": {"text": "no", "template": False}}), Rule, problems)
    assert rule == Rule(name="12", reply=Reply(text="no", template=False))
    assert decode(nodes_of({"name": "a", "priority": "3"}), Rule, problems) is INVALID
    assert [str(mistake) for mistake in problems.mistakes] == [
        'inline: priority: needs a whole number, without quotes; found the text "3"'
    ]


def test_a_type_that_fixtures_can_not_have_is_the_programmers_error() -> None:
    with pytest.raises(TypeError, match="can't be the type of a fixture field"):
        decode(nodes_of("x"), bytes, Problems("f"))
    with pytest.raises(TypeError, match="needs from_scalar"):
        decode(nodes_of("x"), complex, Problems("f"))


def test_paths_begin_below_the_rule() -> None:
    assert dotted(("rules", 3, "replies", 0, "text")) == "replies[0].text"
    assert dotted(("snippets", "busy")) == "snippets.busy"
    assert dotted(("rules", 3)) == ""
    assert dotted(("rules",)) == "rules"


def test_nearest_overlooks_case_and_dashes() -> None:
    assert nearest("First_After", ["first-after", "every"]) == "first-after"
    assert nearest("xyz", ["first-after"]) is None


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**60), 10**60) | st.floats() | st.text(st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["rules", "name", "reply", "when", "text", "any", "not", "stream", "stop", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(values, st.sampled_from([File, list[Rule], Rule, Condition, Reply]))
def test_random_values_decode_or_are_told_about(value: object, type_: Any) -> None:
    problems = Problems("f.yaml")
    result = decode(nodes_of(value), type_, problems)
    assert (result is INVALID) == bool(problems.mistakes)


@given(values.filter(lambda value: value == value))
def test_python_values_come_back_as_they_went_in(value: object) -> None:
    problems = Problems("f.yaml")
    result = decode(nodes_of(value), Any, problems)
    assert repr(result) == repr(value)
    assert problems.mistakes == []
