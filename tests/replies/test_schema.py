"""JSON by a schema: values fit the schema they are made for, and differences are told readably."""

from __future__ import annotations

import json
import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emulator.replies.schema import mismatch, object_for, value_for
from emulator.seed import Seed

SEED = Seed(7)
NAMES = st.sampled_from(["city", "город", "temperature", "days", "a b", "ключ"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(allow_nan=True) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def numbers(draw: st.DrawFn) -> dict[str, Any]:
    low = draw(st.integers(-1000, 1000))
    schema: dict[str, Any] = {"type": draw(st.sampled_from(["integer", "number"]))}
    schema |= draw(st.sampled_from([{}, {"minimum": low}, {"exclusiveMinimum": float(low)}]))
    schema |= draw(st.sampled_from([{}, {"maximum": low + 20.0}, {"exclusiveMaximum": low + 20}]))
    return schema | draw(
        st.sampled_from([{}, {"multipleOf": 3.0}, {"multipleOf": 0.5}, {"multipleOf": 0.1}, {"multipleOf": 7}])
    )


@st.composite
def strings(draw: st.DrawFn) -> dict[str, Any]:
    least = draw(st.integers(0, 40))
    lengths = st.sampled_from(
        [{}, {"minLength": float(least)}, {"maxLength": least}, {"minLength": least, "maxLength": least}]
    )
    forms = st.sampled_from(["date", "date-time", "uuid", "email", "ipv4", "ipv6", "time", "hostname"])
    patterns = st.sampled_from(
        [r"^[A-Z]{2}-\d+$", r"^\+7\d{10}$", r"^(yes|no)$", r"\w+@\w+\.ru", r"^[^\s]{3,5}$", r"^[а-яё]+$"]
    )
    return {"type": "string"} | draw(
        st.one_of(
            lengths,
            st.builds(lambda form: {"format": form}, forms),
            st.builds(lambda text: {"pattern": text}, patterns),
        )
    )


def arrays(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    counts = st.sampled_from([{}, {"minItems": 2.0}, {"maxItems": 1.0}, {"minItems": 3, "maxItems": 3}])
    plain = st.builds(lambda item, count: {"type": "array", "items": item} | count, items, counts)
    tuples = st.builds(
        lambda first: {"type": "array", "prefixItems": first, "items": False}, st.lists(items, min_size=1, max_size=3)
    )
    unique = st.builds(
        lambda item: {"type": "array", "items": {"type": item}, "uniqueItems": True, "minItems": 3.0},
        st.sampled_from(["string", "integer", "number"]),
    )
    return st.one_of(plain, tuples, unique)


@st.composite
def objects(draw: st.DrawFn, items: st.SearchStrategy[Any]) -> dict[str, Any]:
    properties = draw(st.dictionaries(NAMES, items, max_size=4))
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    if properties:
        schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
    return schema | draw(
        st.sampled_from(
            [{}, {"additionalProperties": False}, {"additionalProperties": {"type": "integer"}, "minProperties": 6.0}]
        )
    )


LEAVES = st.one_of(
    numbers(),
    strings(),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"enum": ["C", "F", None]},
            {"const": 5.0},
            {"type": "string", "examples": ["Москва", 5]},
            {"type": "integer", "default": "wrong"},
            {"type": ["null", "integer"]},
            {"oneOf": [{"type": "number"}, {"type": "integer"}]},
            {"not": {"type": "string"}},
            True,
            {},
        ]
    ),
)
SCHEMAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        arrays(inner),
        objects(inner),
        st.builds(lambda branches: {"anyOf": branches}, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda part: {"allOf": [part]}, inner),
        st.builds(lambda part: {"$defs": {"it": part}, "anyOf": [part, {"type": "null"}]}, inner),
    ),
    max_leaves=8,
)
WORDS = st.sampled_from(
    """
    type properties required items prefixItems minItems maxItems enum const default examples anyOf oneOf allOf $ref
    minimum maximum exclusiveMinimum multipleOf minLength maxLength pattern format nullable additionalProperties
    minProperties if then else not contains uniqueItems patternProperties propertyNames $id $schema $defs
    """.split()  # noqa: SIM905
)
NONSENSE = st.recursive(
    JSON | st.sampled_from(["#", "#/$defs", "object", "array", "string", "integer", "(a+)+$", "^x$", 1e308, -1, 1e18]),
    lambda inner: st.dictionaries(WORDS, inner, max_size=5) | st.lists(inner, max_size=3),
    max_leaves=12,
)


@given(SCHEMAS, st.integers(0, 9))
@settings(max_examples=150, deadline=None)
def test_a_value_is_valid_against_its_schema(schema: Any, seed: int) -> None:
    value = value_for({"type": "object", "properties": {"value": schema}, "required": ["value"]}, Seed(seed))
    jsonschema.Draft202012Validator(schema).validate(value["value"])  # formats are remarks in this draft
    assert json.loads(json.dumps(value)) == value


@given(NONSENSE)
@settings(max_examples=150, deadline=None)
def test_nonsense_raises_nothing_and_ends(schema: Any) -> None:
    begun = time.process_time()
    value = value_for(schema, SEED)
    assert isinstance(object_for(schema, SEED), dict)
    mismatch(schema, value)
    assert time.process_time() - begun < 5


def test_every_property_is_filled_and_named_after_itself() -> None:
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": "string"}},
        "required": ["city"],
    }
    value = value_for(schema, SEED)
    assert value["city"] == "city"
    assert value["note"] == "note"
    assert type(value["days"]) is int


def test_the_same_seed_gives_the_same_value_and_another_another() -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}, "id": {"type": "string", "format": "uuid"}}}
    assert value_for(schema, Seed(1)) == value_for(schema, Seed(1)) != value_for(schema, Seed(2))


def test_numbers_that_travelled_as_floats_are_understood() -> None:
    schema = {
        "type": "array",
        "items": {"type": "integer", "minimum": 3.0, "maximum": 3.0},
        "minItems": 2.0,
        "maxItems": 2.0,
    }
    assert [(item, type(item)) for item in value_for(schema, SEED)] == [(3, int), (3, int)]
    assert type(value_for({"enum": [4.0]}, SEED)) is int


def test_a_recursive_schema_ends() -> None:
    node = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
        },
        "required": ["name", "children", "next"],
        "additionalProperties": False,
    }
    schema = {"$ref": "#/$defs/node", "$defs": {"node": node}}
    value = value_for(schema, SEED)
    assert mismatch(schema, value) is None
    assert value["children"][0] == value["next"] == {"name": "name", "children": [], "next": None}


@pytest.mark.parametrize(
    "schema",
    [
        {"definitions": {"c": {"type": "string"}}, "type": "object", "properties": {"a": {"$ref": "#/definitions/c"}}},
        {"allOf": [{"type": "object", "required": ["a"]}, {"properties": {"a": {"type": "integer"}}}]},
        {
            "type": "object",
            "patternProperties": {"^x-[a-z]+$": {"type": "integer"}},
            "additionalProperties": False,
            "minProperties": 2,
        },
        {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "items": [{"type": "string"}, {"type": "integer"}], "additionalItems": False},
        {"type": "array", "contains": {"const": 5}, "minItems": 3},
        {"if": {"properties": {"k": {"const": 1}}}, "then": {"required": ["b"]}, "properties": {"k": {"enum": [1, 2]}}},
        {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 1},
        {"type": "integer", "minimum": 5, "exclusiveMinimum": True},
        {"anyOf": [{"type": "null"}, {"type": "string", "maxLength": 3}]},
    ],
)
def test_less_usual_schemas_are_satisfied_too(schema: dict[str, Any]) -> None:
    value = value_for(schema, SEED)
    assert value not in ({}, [], None)
    assert mismatch(schema, value) is None


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"type": "object", "required": ["a", "b"], "properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}}},
        {"$ref": "#/$defs/d0", "$defs": {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}},
        {"type": "string", "pattern": "(a+)+$", "minLength": 1e9},
        {"type": "string", "pattern": "((){1000000000}x{1000}){1000}"},
        {"type": "array", "minItems": 1e9, "items": {"type": "integer"}},
        {"$ref": "https://schemas.example/nowhere.json"},
        {"type": "number", "minimum": 1e308, "maximum": -1e308, "multipleOf": 1e-300},
    ],
)
def test_a_schema_that_asks_for_too_much_is_answered_soon(schema: dict[str, Any]) -> None:
    begun = time.process_time()
    value_for(schema, SEED)
    assert time.process_time() - begun < 3


@pytest.mark.parametrize("schema", [{}, {"type": "string"}, {"type": "array"}, {"type": "nonsense"}, {"enum": [1]}])
def test_arguments_are_always_an_object(schema: dict[str, Any]) -> None:
    assert object_for(schema, SEED) == {}


def test_arguments_follow_the_parameters() -> None:
    schema = {"properties": {"city": {"type": "string"}}, "required": ["city"]}
    assert object_for(schema, SEED) == {"city": "city"}


def test_a_difference_says_where_and_what() -> None:
    schema = {"type": "object", "properties": {"days": {"type": "array", "items": {"type": "integer"}}}}
    assert mismatch(schema, {"days": [1, "two"]}) == "$.days[1]: 'two' is not of type 'integer'"
    assert mismatch(schema, {"days": [1.0, 2]}) is None


def test_a_member_that_is_not_allowed_is_named() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {}},
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }
    assert mismatch(schema, {"a": 1, "x-b": 2}) is None
    assert "'b'" in str(mismatch(schema, {"b": 1}))


@pytest.mark.parametrize(
    "schema",
    [{"type": "nonsense"}, {"$ref": "#/nowhere"}, {"$ref": "https://schemas.example/x.json"}, {"$ref": "#"}, 5, "text"],
)
def test_an_unusable_schema_is_called_so(schema: Any) -> None:
    assert str(mismatch(schema, {})).startswith("the schema itself is not valid: ")


def test_nullable_lets_null_through() -> None:
    assert mismatch({"type": "string", "nullable": True}, None) is None
    assert mismatch({"type": "string"}, None) is not None


def test_a_pattern_that_explodes_is_given_up_rather_than_waited_for() -> None:
    begun = time.process_time()
    mismatch({"pattern": r"^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * 200)
    assert time.process_time() - begun < 2


@pytest.mark.parametrize("form", ["date", "date-time", "uuid", "email", "uri", "time", "ipv4"])
def test_a_text_of_a_format_follows_it(form: str) -> None:
    value = value_for({"type": "string", "format": form}, SEED)
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator({"format": form}, format_checker=checker).validate(value)
