"""Values in the shape of a JSON Schema, made without a validator.

One `Shaper` makes one value: it merges references, parts and one branch of each union into one flat schema and writes
what that asks for. Where keywords work against each other the value may miss; the next turn takes other branches.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeGuard

from emulator.replies.patterns import example_of
from emulator.seed import Seed

TURNS = 6
_NODES = 4000
_NAMES_A_NODE = 20
_DEEP = 4
_DEEPEST = 24
_LONGEST_TEXT = 10_000
_LONGEST_ARRAY = 1000
_KINDS: dict[str, tuple[str, ...]] = {
    "object": ("properties", "required", "additionalProperties", "minProperties", "patternProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("pattern", "format", "minLength", "maxLength"),
}
_ANY_KIND = ("string", "object", "integer", "array", "boolean", "null")
_TIGHTER: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": max, "exclusiveMinimum": max, "minLength": max, "minItems": max, "minProperties": max,
    "maximum": min, "exclusiveMaximum": min, "maxLength": min, "maxItems": min, "maxProperties": min,
}  # fmt: skip


class Shaper:
    """Makes one value for the schema `root`, which holds plain dicts, lists and scalars, whole numbers as ints.

    `turn` counts the tries from 0 to `TURNS` - 1: each takes other branches, later ones leave examples aside. A value
    has at most 1,000 items, 10,000 characters and 24 levels. Schemas without sense may raise whatever they provoke.
    """

    def __init__(self, root: Any, seed: Seed, turn: int) -> None:
        self._root = root
        self._seed = seed
        self._turn = turn
        self._left = _NODES
        self._trail: list[str] = []

    def value(self, kind: str | None = None) -> Any:
        """The value, of JSON type `kind` if one is given; `{}` for a schema that says nothing."""
        schema = self._flat(self._root, 0)
        if kind is not None:
            schema["type"] = kind
        elif _any_value(schema):
            return {}
        return self._value(schema, "", 0, 0)

    @property
    def exhausted(self) -> bool:
        """Whether the work came to its bound, so that another turn would fare no better."""
        return self._left < 0

    def _value(self, schema: Any, name: str, depth: int, nth: int) -> Any:
        """A value in place `name`, `depth` levels down; equal places with another `nth` want another value."""
        self._left -= 1
        above = len(self._trail)
        value = self._written(self._flat(schema, depth), name, depth, nth)
        del self._trail[above:]
        return value

    def _ends(self, depth: int) -> bool:
        """Whether to write the least from here on: deep down, within what refers to itself, and when short of work."""
        return depth > _DEEP or self._left < 0 or len(set(self._trail)) < len(self._trail)

    def _written(self, flat: dict[str, Any], name: str, depth: int, nth: int) -> Any:
        if "const" in flat:
            return flat["const"]
        if options := _listed(flat.get("enum")):
            return options[(self._seed.integer(0, len(options) - 1, name, "enum") + nth + self._turn) % len(options)]
        if self._turn < TURNS // 2 and (given := _given(flat)):
            return given[(nth + self._turn) % len(given)]
        kind = self._kind(flat, depth)
        if kind == "object":
            return self._object(flat, depth)
        if kind == "array":
            return self._array(flat, name, depth)
        if kind in ("integer", "number"):
            # Its fractions are the slowest thing to import here, and few processes come this way.
            from emulator.replies.numbers import number_for

            return number_for(flat, self._seed.at(name), nth + self._turn, whole=kind == "integer")
        if kind == "boolean":
            return (nth + self._turn) % 2 == 0
        return None if kind == "null" else _text(flat, name, self._seed.at(name), nth)

    def _kind(self, schema: dict[str, Any], depth: int) -> str:
        kinds = [kind for kind in _listed(schema.get("type")) or [schema.get("type")] if isinstance(kind, str)]
        if not kinds:
            told = (kind for kind, words in _KINDS.items() if any(word in schema for word in words))
            return next(told, _ANY_KIND[self._turn % len(_ANY_KIND)])
        if "null" in kinds and self._ends(depth):
            return "null"
        kinds = [kind for kind in kinds if kind != "null"] or ["null"]
        return kinds[self._turn % len(kinds)]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        known = _named(schema.get("properties"))
        self._left -= len(known) // _NAMES_A_NODE
        required = dict.fromkeys(name for name in _listed(schema.get("required")) if isinstance(name, str))
        if depth >= _DEEPEST:
            return {}
        names = [name for name, of in known.items() if of is not False]
        if self._ends(depth):
            names = [name for name in names if name in required]
        most = _limit(schema, "maxProperties", _LONGEST_ARRAY)
        if len(names) > most:
            names = sorted(names, key=lambda name: name not in required)[: max(most, len(required))]
        other = schema.get("additionalProperties", True)
        missing = [name for name in required if name not in known]
        value: dict[str, Any] = {}
        for name in dict.fromkeys([*names, *missing]):
            if self._left >= 0 or name in required:
                value[name] = self._value(known.get(name, other), name, depth + 1, 0)
        value.update(self._further(schema, value, depth))
        return value

    def _further(self, schema: dict[str, Any], value: dict[str, Any], depth: int) -> dict[str, Any]:
        """Members that no property names, as many as the object needs; one for show in a map of otherwise nothing."""
        other = schema.get("additionalProperties", True)
        patterns = _named(schema.get("patternProperties"))
        show = not value and not self._ends(depth) and bool(patterns or (isinstance(other, dict) and other))
        least = max(_limit(schema, "minProperties", 0), int(show))
        least = min(least, _limit(schema, "maxProperties", least), _LONGEST_ARRAY)
        names_like = _named(schema.get("propertyNames"))
        further: dict[str, Any] = {}
        for nth in range(least - len(value)):
            name, of = f"key_{nth + 1}" if nth else "key", other
            if patterns:
                pattern, of = next(iter(patterns.items()))
                name = example_of(pattern, name, nth=nth) or name
            elif names_like:
                name = str(self._value(names_like, name, depth + 1, nth))
            elif other is False:
                break
            further[name] = self._value(of, name, depth + 1, nth)
        return further

    def _array(self, schema: dict[str, Any], name: str, depth: int) -> list[Any]:
        items = schema.get("items", True)
        first = _listed(schema.get("prefixItems"))
        if isinstance(items, list):
            first, items = items, schema.get("additionalItems", True)
        if depth >= _DEEPEST:
            return []
        least = _limit(schema, "minItems", 0)
        count = max(least, len(first), self._usual(items, depth))
        if self._ends(depth):
            count = least
        if items is False:
            count = min(count, len(first))
        count = min(count, _limit(schema, "maxItems", count), _LONGEST_ARRAY)
        within = schema.get("contains")
        values: list[Any] = []
        for nth in range(count):
            of = first[nth] if nth < len(first) else items
            if isinstance(within, dict) and nth < _limit(schema, "minContains", 1):
                of = {"allOf": [of, within]}
            values.append(self._item(of, name, depth + 1, nth, values if schema.get("uniqueItems") is True else []))
        return values

    def _usual(self, items: Any, depth: int) -> int:
        """How many items show best what an array holds: two scalars, one of what is larger."""
        if items is False:
            return 0
        above = len(self._trail)
        kind = self._kind(self._flat(items, depth), depth)
        del self._trail[above:]
        return 1 if items is True or kind in ("object", "array") else 2

    def _item(self, schema: Any, name: str, depth: int, nth: int, others: Sequence[Any]) -> Any:
        seen = {json.dumps(other, sort_keys=True) for other in others[-100:]}
        for shift in range(8):
            value = self._value(schema, name, depth, nth + shift)
            if not seen or json.dumps(value, sort_keys=True) not in seen:
                break
        return value

    def _flat(self, schema: Any, depth: int, level: int = 0) -> dict[str, Any]:
        """`schema` with its references, its parts and one branch of each union merged into it."""
        self._left -= 1
        if not isinstance(schema, dict) or level > _DEEPEST or self._left < -_NODES:
            return {}
        flat = {word: schema[word] for word in schema if word not in ("$ref", "allOf", "anyOf", "oneOf", "if")}
        parts = [self._target(schema["$ref"])] if isinstance(schema.get("$ref"), str) else []
        parts += _listed(schema.get("allOf"))
        parts += [
            self._branch(branches, depth) for word in ("anyOf", "oneOf") if (branches := _listed(schema.get(word)))
        ]
        if "if" in schema:
            parts += [schema.get("else")] if self._turn % 2 else [schema["if"], schema.get("then")]
        for part in parts:
            flat = _merged(flat, self._flat(part, depth, level + 1))
        return flat

    def _branch(self, branches: list[Any], depth: int) -> Any:
        """The first branch that is more than null; far down, or short of work, the plainest, so that trees end."""
        branches = [branch for branch in branches if branch is not False] or [False]
        if self._ends(depth):
            return min(branches, key=_weight)
        branches = [branch for branch in branches if _weight(branch)] or branches
        return branches[self._turn % len(branches)]

    def _target(self, reference: str) -> Any:
        place = self._root
        if not reference.startswith("#"):
            return {}
        self._trail.append(reference)
        for step in reference[1:].split("/")[1:]:
            step = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and step.isdecimal() and int(step) < len(place):
                place = place[int(step)]
            elif isinstance(place, dict):
                place = place.get(step)
            else:
                return {}
        return place


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _named(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _any_value(schema: dict[str, Any]) -> bool:
    told = {"type", "enum", "const", "default", "example", "examples"}.union(*_KINDS.values())
    return told.isdisjoint(schema)


def _given(schema: dict[str, Any]) -> list[Any]:
    """The values that the schema's author put forward."""
    examples = list(_listed(schema.get("examples")))
    return examples + [schema[word] for word in ("example", "default") if schema.get(word) is not None]


def _weight(schema: Any) -> int:
    if not isinstance(schema, dict):
        return 1
    kind = schema.get("type")
    if kind == "null" or ("const" in schema and schema["const"] is None):
        return 0
    if "enum" in schema or "const" in schema or kind in ("string", "integer", "number", "boolean"):
        return 1
    return 2 if kind == "array" else 3


def _merged(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    """What both ask for."""
    merged = left | right
    for word in left.keys() & right.keys():
        merged[word] = _both(word, left[word], right[word])
    return merged


def _both(word: str, left: Any, right: Any) -> Any:
    if left == right:
        return left
    if word in _TIGHTER and is_number(left) and is_number(right):
        return _TIGHTER[word](left, right)
    if word == "type":
        return _common_types(left, right) or right
    if word == "enum":
        return [option for option in _listed(left) if option in _listed(right)] or right
    if word == "required":
        return _listed(left) + _listed(right)
    if word in ("properties", "patternProperties"):
        left, right = _named(left), _named(right)
        both = {name: {"allOf": [left[name], right[name]]} for name in left.keys() & right.keys()}
        return {name: both.get(name, of) for name, of in (left | right).items()}
    if word in ("items", "additionalProperties", "contains", "propertyNames"):
        return False if left is False or right is False else {"allOf": [left, right]}
    return right


def _common_types(left: Any, right: Any) -> list[Any]:
    left, right = _listed(left) or [left], _listed(right) or [right]
    common = [kind for kind in left if kind in right]
    if "integer" not in common and {"integer", "number"} <= {kind for kind in left + right if isinstance(kind, str)}:
        common.append("integer")
    return common


def is_number(value: Any) -> TypeGuard[int | float]:
    """Whether a keyword's value can be reckoned with: neither a boolean nor infinite."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _limit(schema: dict[str, Any], word: str, otherwise: int) -> int:
    value = schema.get(word)
    return max(0, math.ceil(value)) if is_number(value) else otherwise


def _text(schema: dict[str, Any], name: str, seed: Seed, nth: int) -> str:
    least = min(_limit(schema, "minLength", 0), _LONGEST_TEXT)
    most = _limit(schema, "maxLength", _LONGEST_TEXT)
    plain = _fitting(name or "text", nth, least, most)
    if isinstance(pattern := schema.get("pattern"), str):
        return example_of(pattern, plain, nth=nth, at_least=least, at_most=most) or plain
    written = _formatted(schema.get("format"), name or "text", seed.at(nth), nth)
    return written if written is not None and least <= len(written) <= most else plain


def _fitting(name: str, nth: int, least: int, most: int) -> str:
    ending = f" {nth + 1}" if nth else ""
    text = name
    if len(text) + len(ending) < least:
        text = (f"{name} " * (least // (len(name) + 1) + 1))[: least - len(ending)]
        text = text[:-1] + "." if text.endswith(" ") else text
    return (text[: max(0, most - len(ending))] + ending)[-most:] if most else ""


def _formatted(form: Any, name: str, seed: Seed, nth: int) -> str | None:
    slug = "".join(char if char.isascii() and char.isalnum() else "-" for char in name.lower()).strip("-") or "name"
    slug = f"{slug}-{nth + 1}" if nth else slug
    day = f"2025-{seed.integer(1, 12, 'month'):02}-{seed.integer(1, 28, 'day'):02}"
    time = f"{seed.integer(8, 19, 'hour'):02}:{seed.integer(0, 59, 'minute'):02}:00Z"
    formats = {
        "date": day,
        "date-time": f"{day}T{time}",
        "time": time,
        "duration": f"PT{nth + 5}M",
        "uuid": seed.uuid("uuid"),
        "email": f"{slug}@example.com",
        "idn-email": f"{slug}@example.com",
        "uri": f"https://example.com/{slug}",
        "iri": f"https://example.com/{slug}",
        "url": f"https://example.com/{slug}",
        "uri-reference": f"/{slug}",
        "hostname": f"{slug[:50].rstrip('-')}.example.com",
        "ipv4": f"192.0.2.{nth % 250 + 1}",
        "ipv6": f"2001:db8::{nth + 1:x}",
        "json-pointer": f"/{slug}",
        "regex": f"^{slug}$",
    }
    return formats.get(form) if isinstance(form, str) else None
