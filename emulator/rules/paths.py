"""Paths into a request: `messages.-1.text`, `messages.*.role`, `completion_options.max_tokens`.

A path is checked against the descriptor when fixtures are loaded and read from a message when a call is matched.
Wrappers are their values, enums their names, oneofs and wrappers that aren't set are None; `*` is any element; a number
counts from 0, a negative one from the end. Below a Struct anything goes.
"""

from __future__ import annotations

from typing import Any

from ..api import plain_struct, to_dict
from .text import Text

_WRAPPERS = {
    f"google.protobuf.{name}Value"
    for name in ("Double", "Float", "Int64", "UInt64", "Int32", "UInt32", "Bool", "String", "Bytes")
}


def check(path: str, descriptor: Any) -> str | None:
    """What is wrong with `path` for messages of `descriptor`, or None."""
    steps = path.split(".")
    at: Any = descriptor
    repeated = False
    for i, step in enumerate(steps):
        so_far = ".".join(steps[:i]) or descriptor.name
        if repeated:
            if step != "*" and not _is_index(step):
                return f"{so_far} is a list: name an element by its number, the last by -1, any by *"
            repeated = False
            continue
        if at is None:
            return f"{so_far} is a single value: nothing is below it"
        if at.full_name in ("google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"):
            return None
        field = at.fields_by_name.get(step)
        if field is None:
            import difflib

            near = difflib.get_close_matches(step, at.fields_by_name, 1)
            there = f"did you mean {near[0]}?" if near else f"there are {', '.join(at.fields_by_name)}"
            return f"{so_far} has no field {step!r}; {there}"
        repeated = _repeated(field)
        at = field.message_type
        if at is not None and at.full_name in _WRAPPERS:
            at = None
    return None


def read(message: Any, steps: tuple[str, ...]) -> Any:
    """The value at `steps`: Text, int, float, bool, None, or a tuple of these under `*`."""
    return _read(message, None, steps)


def _read(value: Any, field: Any, steps: tuple[str, ...]) -> Any:
    if value is None:
        return None
    if not steps:
        return _leaf(value, field)
    step, rest = steps[0], steps[1:]
    if hasattr(value, "DESCRIPTOR"):
        return _below_message(value, step, rest, steps)
    if isinstance(value, dict):
        return _read(value.get(step), None, rest)
    if step == "*":
        found = (_read(element, field, rest) for element in value)
        return tuple(inner for each in found for inner in (each if isinstance(each, tuple) else (each,)))
    if not _is_index(step) or not -len(value) <= int(step) < len(value):
        return None
    return _read(value[int(step)], field, rest)


def _below_message(message: Any, step: str, rest: tuple[str, ...], steps: tuple[str, ...]) -> Any:
    name = message.DESCRIPTOR.full_name
    if name == "google.protobuf.Struct":
        return _read(plain_struct(message), None, steps)
    field = message.DESCRIPTOR.fields_by_name.get(step)
    if field is None:
        return None
    if _repeated(field):
        return _read(getattr(message, step), field, rest)
    if field.has_presence and not message.HasField(step):
        return None
    return _read(getattr(message, step), field, rest)


def _leaf(value: Any, field: Any) -> Any:
    if isinstance(value, str):
        return Text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int) and field is not None and field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return Text(known.name if known is not None else str(value))
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, bytes):
        return Text(value.decode("utf-8", "replace"))
    if hasattr(value, "DESCRIPTOR"):
        if value.DESCRIPTOR.full_name in _WRAPPERS:
            return _leaf(value.value, None)
        return Text(_compact(value))
    if isinstance(value, dict):
        return Text(_json(value))
    return tuple(_leaf(element, field) for element in value) or None


def _repeated(field: Any) -> bool:
    repeated = getattr(field, "is_repeated", None)  # protobuf >= 6.31; `label` is gone from 8
    return bool(field.label == field.LABEL_REPEATED if repeated is None else repeated)


def _is_index(step: str) -> bool:
    digits = step.removeprefix("-")
    return digits.isdecimal() and len(digits) < 10


def _compact(message: Any) -> str:
    try:
        return _json(to_dict(message))
    except ValueError:  # what JSON can't say, such as NaN
        return str(message)


def _json(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
