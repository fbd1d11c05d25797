"""Holding a JSON value against a JSON Schema, safely.

The `jsonschema` library judges. What a stranger's schema could do with it is prevented here: nothing is fetched,
patterns have a time limit, references that multiply end in an error.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

from emulator.replies.patterns import found

_REFERENCES = 20_000
_DEEPEST = 40  # references within one another, long before Python's own limit, which the library does not survive
_LONGEST_MESSAGE = 300
_NOT_VALID = "the schema itself is not valid: "


class _Endless(Exception):
    """References multiply beyond what any sensible schema needs."""


class Validation:
    """One schema, made ready. `trouble` says why it can't be used, or is None."""

    def __init__(self, schema: Any) -> None:
        self._left, self._depth = _REFERENCES, 0
        self._validator, trouble = self._prepared(schema)
        self.trouble = f"{_NOT_VALID}{_short(trouble)}" if trouble else None

    def difference(self, value: Any) -> str | None:
        """The most telling difference of `value`, as `$.path: what is wrong`, or `trouble`; None if it is valid."""
        import referencing.exceptions
        from jsonschema.exceptions import best_match

        if self.trouble:
            return self.trouble
        self._left, self._depth = _REFERENCES, 0
        try:
            error = best_match(self._validator.iter_errors(value))
        except (_Endless, RecursionError):
            return f"{_NOT_VALID}it refers to itself without end"
        except referencing.exceptions.Unresolvable as problem:
            return f"{_NOT_VALID}$ref {problem.ref} leads nowhere"
        return None if error is None else f"{error.json_path}: {_short(error.message)}"

    def _prepared(self, schema: Any) -> tuple[Any, str | None]:
        from jsonschema import validators
        from jsonschema.exceptions import SchemaError
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]

        trouble = None
        for draft in _drafts(schema):
            try:
                draft.check_schema(schema, format_checker=None)
            except SchemaError as error:
                trouble = trouble or f"{error.json_path}: {error.message}"
                continue
            changes = {**_safe(draft), **self._counted(draft)}
            if {"patternProperties", "unevaluatedProperties"} <= set(keywords(schema)):
                changes["unevaluatedProperties"] = _unjudged
            extend: Any = validators.extend
            return extend(draft, changes)(schema, registry=REGISTRY), None
        return None, trouble

    def _counted(self, draft: Any) -> dict[str, Any]:
        words = ("$ref", "$dynamicRef", "$recursiveRef")
        return {word: self._count(draft.VALIDATORS[word]) for word in words if word in draft.VALIDATORS}

    def _count(self, follow: Any) -> Any:
        def counted(validator: Any, reference: Any, instance: Any, schema: Any) -> Iterator[Any]:
            self._left -= 1
            self._depth += 1
            try:
                if self._left < 0 or self._depth > _DEEPEST:
                    raise _Endless
                yield from follow(validator, reference, instance, schema) or ()
            finally:
                self._depth -= 1

        return counted


@functools.lru_cache(maxsize=64)
def validation_of(schema: str) -> Validation:
    """The validation of a schema in JSON; those used last are kept, since making one takes milliseconds."""
    return Validation(json.loads(schema))


def keywords(schema: Any) -> Iterator[str]:
    """Every key in `schema`, however deep: its keywords, and property names among them."""
    if isinstance(schema, dict):
        yield from schema
    for item in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from keywords(item)


def _drafts(schema: Any) -> tuple[Any, ...]:
    """The drafts to read `schema` by: the one it names, else from the newest down the first that accepts it."""
    import jsonschema

    named = {
        "2020-12": jsonschema.Draft202012Validator,
        "2019-09": jsonschema.Draft201909Validator,
        "draft-07": jsonschema.Draft7Validator,
        "draft-06": jsonschema.Draft6Validator,
        "draft-04": jsonschema.Draft4Validator,
    }
    name = str(schema.get("$schema", "")) if isinstance(schema, dict) else ""
    told = tuple(draft for word, draft in named.items() if word in name)
    return told or (named["2020-12"], named["draft-07"], named["draft-04"])


def _safe(draft: Any) -> dict[str, Any]:
    """Keywords judged in our own way: patterns with a time limit, and `nullable`."""
    from jsonschema.exceptions import ValidationError

    def nullable(word: str) -> Any:
        judge = draft.VALIDATORS[word]

        def judged(validator: Any, told: Any, instance: Any, schema: Any) -> Iterator[Any]:
            if instance is not None or schema.get("nullable") is not True:
                yield from judge(validator, told, instance, schema) or ()

        return judged

    def pattern(validator: Any, told: str, instance: Any, schema: Any) -> Iterator[Any]:
        if isinstance(instance, str) and not _found(told, instance):
            yield ValidationError(f"{instance!r} does not match {told!r}")

    def pattern_properties(validator: Any, told: dict[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
        for name, item in instance.items() if isinstance(instance, dict) else ():
            for expression in (expression for expression in told if _found(expression, name)):
                yield from validator.descend(item, told[expression], path=name, schema_path=expression)

    def additional_properties(validator: Any, told: Any, instance: Any, schema: Any) -> Iterator[Any]:
        known, expressions = schema.get("properties", {}), schema.get("patternProperties", {})
        for name, item in instance.items() if isinstance(instance, dict) else ():
            if name in known or any(_found(expression, name) for expression in expressions):
                continue
            if told is False:
                yield ValidationError(f"{name!r} is not among the properties, and no others are allowed")
            elif isinstance(told, dict):
                yield from validator.descend(item, told, path=name)

    return {
        "type": nullable("type"),
        "enum": nullable("enum"),
        "pattern": pattern,
        "patternProperties": pattern_properties,
        "additionalProperties": additional_properties,
    }


def _unjudged(validator: Any, told: Any, instance: Any, schema: Any) -> Iterator[Any]:
    """`unevaluatedProperties` beside `patternProperties`: the library would search with no time limit."""
    yield from ()


def _found(pattern: str, text: str) -> bool:
    try:
        return found(pattern, text)
    except ValueError:
        # What can't be read or takes too long can't be held against the value.
        return True


def _short(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[: _LONGEST_MESSAGE - 1] + "…"
