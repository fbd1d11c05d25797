"""Numbers for a JSON Schema: within its bounds and a multiple of what it asks for, reckoned in fractions."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from emulator.replies.shapes import is_number
from emulator.seed import Seed


def number_for(schema: dict[str, Any], seed: Seed, nth: int, *, whole: bool) -> int | float:
    """A number within the bounds, from 1 to 100 if they leave the choice, of two decimals if they allow it."""
    step = schema.get("multipleOf")
    unit = abs(Fraction(str(step))) if step and is_number(step) else Fraction(1 if whole else "0.01")
    if whole:
        unit = Fraction(unit.numerator)
    low, high = _range(schema, unit)
    first, last = math.ceil(low / unit), math.floor(high / unit)
    first += _excluded(schema, "exclusiveMinimum", first * unit)
    last -= _excluded(schema, "exclusiveMaximum", last * unit)
    if first > last:
        return _told(low if whole else (low + high) / 2)
    chosen = seed.integer(first, last)
    for shift in range(20):
        number = _told((first + (chosen - first + nth + shift) % (last - first + 1)) * unit)
        # Validators divide in floating point, where 0.3 is no multiple of 0.1.
        if not isinstance(step, float) or isinstance(number, int) or (number / step).is_integer():
            break
    return number


def _range(schema: dict[str, Any], unit: Fraction) -> tuple[Fraction, Fraction]:
    lows = [Fraction(str(schema[word])) for word in ("minimum", "exclusiveMinimum") if is_number(schema.get(word))]
    highs = [Fraction(str(schema[word])) for word in ("maximum", "exclusiveMaximum") if is_number(schema.get(word))]
    width = max(Fraction(99), 100 * unit)
    if lows:
        return max(lows), min(highs) if highs else max(lows) + width
    if not highs:
        return Fraction(1), 1 + width
    return (Fraction(1) if min(highs) >= 1 else min(highs) - width), min(highs)


def _excluded(schema: dict[str, Any], word: str, number: Fraction) -> bool:
    bound = schema.get(word)
    if bound is True:  # as draft 4 has it
        return number == schema.get(word.removeprefix("exclusive").lower())
    return is_number(bound) and number == Fraction(str(bound))


def _told(number: Fraction) -> int | float:
    return number.numerator if number.denominator == 1 else float(number)
