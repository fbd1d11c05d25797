"""JSON by a schema: values that fit one, and what is wrong with values that don't.

Schemas are a client's: `response_format` and tool parameters, in JSON Schema 2020-12 or draft 7, or nearly so. Numbers
that travelled in a google.protobuf.Struct are floats, and `2.0` is read as 2. What a real model would answer is free;
the values here are our choice: every property is filled, strings say the name of the property they stand in. Nothing is
fetched: a `$ref` leads to a place in the schema itself or nowhere.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from emulator.replies.shapes import TURNS, Shaper
from emulator.replies.validation import keywords, validation_of
from emulator.seed import Seed

_DEEPEST = 200
_LONGEST_MESSAGE = 300
# What only a validator can judge; without these a value is right by the way it is made.
_INTRICATE = {
    "$dynamicRef", "$ref", "additionalItems", "allOf", "anyOf", "const", "contains", "default",
    "dependencies", "dependentRequired", "dependentSchemas", "enum", "example", "examples", "if", "not",
    "oneOf", "pattern", "patternProperties", "propertyNames", "unevaluatedItems", "unevaluatedProperties",
    "uniqueItems",
}  # fmt: skip


def value_for(schema: Mapping[str, Any], seed: Seed) -> Any:
    """A JSON value that is valid against `schema`, the same for the same seed; whole numbers are ints.

    A schema that says nothing gives `{}`. One that makes no sense or can't be satisfied gives what comes near, at worst
    `{}` again: it raises nothing and its work is bounded, to 1,000 items, 10,000 characters and 24 levels.
    """
    return _best(schema, seed, kind=None)


def object_for(schema: Mapping[str, Any], seed: Seed) -> dict[str, Any]:
    """Like `value_for`, but always a JSON object: the arguments of a tool call with these parameters."""
    value = _best(schema, seed, kind="object")
    return value if isinstance(value, dict) else {}


def mismatch(schema: Mapping[str, Any], value: Any) -> str | None:
    """The most telling difference of `value` from `schema`, as `$.path: what is wrong`; None if there is none.

    A schema that can't be used gives a text that begins with `the schema itself is not valid: `. Formats are remarks,
    not held to, as draft 2020-12 has it; `nullable: true` of OpenAPI is understood.
    """
    try:
        return validation_of(json.dumps(_plain(schema))).difference(_plain(value))
    except Exception as error:
        # What the library has no answer to comes from the schema: the value is plain JSON.
        return f"the schema itself is not valid: {type(error).__name__}: {error}"[:_LONGEST_MESSAGE]


def _best(schema: Any, seed: Seed, kind: str | None) -> Any:
    try:
        plain = _plain(schema)
        shaper = Shaper(plain, seed, turn=0)
        first = shaper.value(kind)
        if shaper.exhausted or not any(keyword in _INTRICATE for keyword in keywords(plain)):
            return first
        validation = validation_of(json.dumps(plain))
        if validation.trouble or validation.difference(first) is None:
            return first
        others = (Shaper(plain, seed, turn).value(kind) for turn in range(1, TURNS))
        return next((value for value in others if validation.difference(value) is None), first)
    except Exception:
        # A client may send any schema: whatever this one broke, the call is to be answered.
        return {}


def _plain(value: Any, depth: int = 0) -> Any:
    """`value` in dicts, lists and scalars, whole floats as ints."""
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if depth > _DEEPEST:
        raise RecursionError("it or the value is nested too deep")
    if isinstance(value, Mapping):
        return {str(name): _plain(item, depth + 1) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    return value
