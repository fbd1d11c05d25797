"""What a plain scalar means by the YAML 1.2 core schema."""

from __future__ import annotations

import math
import re
from typing import Any

MAX_DIGITS = 100

NULL = frozenset(("", "~", "null", "Null", "NULL"))
TRUE = frozenset(("true", "True", "TRUE"))
FALSE = frozenset(("false", "False", "FALSE"))
ALMOST_BOOL = frozenset(("yes", "no", "on", "off", "y", "n", "да", "нет"))
INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


def scalar_of(text: str) -> Any:
    """A plain scalar by the YAML 1.2 core schema; ValueError for a number of absurd length."""
    if text in NULL:
        return None
    if text in TRUE:
        return True
    if text in FALSE:
        return False
    if text[0] not in "+-.0123456789":
        return text
    if INTEGER.fullmatch(text):
        return _integer(text)
    if FLOAT.fullmatch(text):
        return float(text)
    if _NOT_FINITE.fullmatch(text):
        return float(text.replace(".", "").lower())
    return text


def number_of(text: str, whole: bool) -> int | float | None:
    """The number that a plain scalar is, or None; ValueError for one that is too large."""
    if INTEGER.fullmatch(text):
        value = _integer(text)
        return value if whole else float(value)
    if whole or not FLOAT.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("the number is too large")
    return number


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError(f"a number of more than {MAX_DIGITS} digits; quote it if it is a text")
    if text.startswith(("0x", "0o")):
        return int(text, 0)
    return int(text)
