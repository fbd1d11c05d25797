"""A command line of `serve` that needs no parser: options by their full names, with values that can only be right.

To import click and build its commands takes a tenth of the time until the emulator serves. Whatever is not plain (help,
mistakes, switches in the environment) is left to it, so that it alone says what is wrong.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from ..config import ENVIRONMENT_PREFIX, OPTIONS, Option

_FIELDS = {"--" + name.replace("_", "-"): field for name, field in OPTIONS.items()}
_LONGEST_NUMBER = 9


def options_in(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any] | None:
    """The values that `arguments` and the `FM_EMULATOR_*` variables give to fields of `Config`; None where click has to
    look at them.
    """
    values: dict[str, Any] = {}
    left = iter(arguments)
    for argument in left:
        flag, given, text = argument.partition("=")
        field = _FIELDS.get(flag)
        if field is None or (given and field.kind is bool):
            return None
        if field.kind is bool:
            values[field.name] = True
            continue
        value = _value(field, text if given else next(left, "-"))
        if value is None:
            return None
        values[field.name] = (*values.get(field.name, ()), value) if field.many else value
    for field in _FIELDS.values():
        text = environment.get(ENVIRONMENT_PREFIX + field.name.upper(), "")
        if not text or field.name in values:
            continue
        if field.name == "fixtures":
            values[field.name] = tuple(text.split(os.pathsep))
            continue
        value = None if field.many else _value(field, text)
        if value is None:
            return None
        values[field.name] = value
    return values


def _value(field: Option, text: str) -> str | int | None:
    """What `text` says; None where that is not plain."""
    kind, choices = field.kind, field.choices
    if text.startswith("-") or not text.isprintable() or (choices and text not in choices):
        return None
    if kind is str:
        return text
    whole = kind is int and text.isascii() and text.isdecimal() and len(text) <= _LONGEST_NUMBER
    return int(text) if whole else None
