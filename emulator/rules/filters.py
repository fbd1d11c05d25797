"""What templates may do to values: the filters, and the limits on what they may make.

Whatever could grow is measured before it is made. This module imports jinja2: import it only when a template is really
used.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import Any

from jinja2 import filters
from jinja2.runtime import Undefined
from jinja2.utils import Namespace

from ..clock import Monotonic
from .text import fold, words_of

_MOST_ITEMS = 100_000
_MOST_STEPS = 1_000_000
_LONGEST_FORMAT = 10_000
_WRAPPED = 100_000


class Limits:
    """What one rendering may still use: seconds, characters, steps of loops. Raises ValueError when it is used up."""

    __slots__ = ("captured", "deadline", "deep", "left", "seconds", "size", "steps")

    def __init__(self, seconds: float, size: int) -> None:
        self.seconds = seconds
        self.size = size
        self.deadline = Monotonic.now() + seconds
        self.steps = _MOST_STEPS
        # Texts made on the way and thrown away count too, so more than the result's own size.
        self.left = 4 * size
        self.deep = 0
        self.captured: Any = None

    def tick(self) -> None:
        """One step of work."""
        self.steps -= 1
        if self.steps < 0:
            raise ValueError(f"it loops more than {_MOST_STEPS} times")
        if Monotonic.now() > self.deadline:
            raise ValueError(f"it takes more than {self.seconds:g} s")

    def write(self, characters: int) -> None:
        """`characters` more of output, even if into a variable."""
        self.left -= characters
        if self.left < 0:
            self.refuse()

    def fits(self, characters: int) -> None:
        """A text that is going to be made."""
        if characters > self.size:
            self.refuse()

    def refuse(self) -> None:
        raise ValueError(f"it makes more than {self.size} characters")

    def measure(self, value: Any) -> int:
        """Roughly how many characters `value` has when written out; refuses what is too large, however nested."""
        characters = items = 0
        pending: list[Any] = [value]
        while pending:
            one = pending.pop()
            if isinstance(one, str):
                characters += len(one)
            elif isinstance(one, Mapping):
                items += len(one)
                pending += [*one.keys(), *one.values()]
            elif isinstance(one, (list, tuple, set, frozenset)):
                items += len(one)
                pending += one
            elif isinstance(one, Namespace):
                items += 1
                pending.append(_attributes(one))
            else:
                characters += 8
            if items > _MOST_ITEMS:
                raise ValueError(f"it makes a list or mapping of more than {_MOST_ITEMS} entries")
            if characters > self.size:
                self.refuse()
        return characters + 4 * items


def _attributes(namespace: Namespace) -> dict[str, Any]:
    attributes: dict[str, Any] = object.__getattribute__(namespace, "_Namespace__attrs")
    return attributes


# -- values


_LISTED = (list, tuple, set, frozenset, range, KeysView, ValuesView, ItemsView)


def plain(value: Any) -> Any:
    """`value` in JSON's types, a copy. Raises ValueError for what has no such form, jinja2's error for an undefined."""
    if isinstance(value, Undefined):
        # A strict one raises; that of an `if` without `else` is nothing.
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, _LISTED):
        return list(map(plain, value))
    if isinstance(value, Iterator):
        raise ValueError("a sequence is not made yet: add | list")
    if callable(value):
        raise ValueError("a function is no value: call it with ()")
    if isinstance(value, Namespace):
        raise ValueError("a namespace is no value: take one of its fields")
    return str(value)


def written(value: Any) -> str:
    """`value` as it stands in a text: what isn't a text or number, as JSON."""
    if isinstance(value, str):
        return str(value)
    value = plain(value)
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


# -- filters


def _text(value: Any) -> str:
    return value if isinstance(value, str) else written(value)


def _center(limits: Limits, value: Any, width: int = 80) -> str:
    limits.fits(width)
    return _text(value).center(width)


def _indent(limits: Limits, value: Any, width: int | str = 4, first: bool = False, blank: bool = False) -> str:
    text = _text(value)
    step = width if isinstance(width, int) else len(width)
    limits.fits(len(text) + step * (len(text.splitlines()) + 1))
    return filters.do_indent(text, width, first, blank)


def _wordwrap(
    limits: Limits, env: Any, value: Any, width: int = 79, break_long_words: bool = True, wrapstring: str = "\n"
) -> str:
    text = _text(value)
    if len(text) > _WRAPPED:
        raise ValueError(f"wordwrap takes texts of up to {_WRAPPED} characters")
    limits.fits(len(text) + len(wrapstring) * (len(text) // max(1, width) + len(text.splitlines()) + text.count(" ")))
    return filters.do_wordwrap(env, text, width, break_long_words, wrapstring)


def _replace(limits: Limits, value: Any, old: Any, new: Any, count: int = -1) -> str:
    text, old, new = _text(value), _text(old), _text(new)
    limits.fits(len(text) + len(new) * text.count(old))
    return text.replace(old, new, count)


def _join(limits: Limits, value: Any, d: str = "") -> str:
    items = []
    for item in value:
        limits.tick()
        limits.measure(item)
        items.append(written(item))
        limits.write(len(items[-1]) + len(d))
    limits.fits(sum(map(len, items)) + len(d) * len(items))
    return d.join(items)


def _format(limits: Limits, value: Any, *args: Any, **kwargs: Any) -> str:
    if args and kwargs:
        raise ValueError("format takes values either by position or by name")
    return percent(limits, _text(value), kwargs or args)


_SPEC = re.compile(r"%(?:\([^)%]*\))?[-#0 +]*(\*|\d+)?(?:\.(\*|\d+)?)?")


def percent(limits: Limits, source: str, values: Any) -> str:
    """`source % values`, with widths bounded."""
    if len(source) > _LONGEST_FORMAT:
        raise ValueError(f"a format may have up to {_LONGEST_FORMAT} characters")
    for match in _SPEC.finditer(source):
        if any(part == "*" or len(part or "") > 3 for part in match.groups()):
            raise ValueError("a width in a format may have up to 3 digits")
    limits.fits(len(source) + source.count("%") * (1000 + limits.measure(values)))
    result: str = source % values
    return result


def _sum(limits: Limits, env: Any, iterable: Any, attribute: str | int | None = None, start: Any = 0) -> Any:
    if attribute is not None:
        iterable = map(filters.make_attrgetter(env, attribute), iterable)
    total = start
    for number in iterable:
        limits.tick()
        total = _number(total) + _number(number)
    return total


def _number(value: Any) -> Any:
    if not isinstance(value, (int, float)):
        raise ValueError("sum adds numbers only")
    return value


def _round(limits: Limits, value: Any, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 300:
        raise ValueError("round takes a precision of up to 300")
    return filters.do_round(value, precision, method)


def _slice(limits: Limits, value: Any, slices: int, fill_with: Any = None) -> list[Any]:
    _few(slices)
    return list(filters.sync_do_slice(value, slices, fill_with))


def _batch(limits: Limits, value: Any, linecount: int, fill_with: Any = None) -> list[Any]:
    _few(linecount)
    return list(filters.do_batch(value, linecount, fill_with))


def _few(number: int) -> None:
    if not 1 <= number <= _MOST_ITEMS:
        raise ValueError(f"a count must be from 1 to {_MOST_ITEMS}")


def _list(limits: Limits, value: Any) -> list[Any]:
    items = []
    for item in value:
        limits.tick()
        limits.write(limits.measure(item))
        items.append(item)
    return items


def _tojson(limits: Limits, value: Any, indent: int | None = None) -> str:
    if indent is not None and not 0 <= indent <= 16:
        raise ValueError("tojson takes an indent of up to 16")
    limits.fits(2 * limits.measure(value))
    return json.dumps(plain(value), ensure_ascii=False, indent=indent)


def _words(value: Any) -> list[str]:
    return words_of(_text(value))


def _first_word(value: Any) -> str:
    return next(iter(_words(value)), "")


def _last_word(value: Any) -> str:
    return next(reversed(_words(value)), "")


LIMITED: dict[str, Callable[..., Any]] = {
    "center": _center,
    "indent": _indent,
    "wordwrap": _wordwrap,
    "replace": _replace,
    "join": _join,
    "format": _format,
    "sum": _sum,
    "round": _round,
    "slice": _slice,
    "batch": _batch,
    "list": _list,
    "tojson": _tojson,
}
"""Filters that take the limits first, in place of jinja2's of the same names."""

OWN: dict[str, Callable[..., Any]] = {
    "words": _words,
    "first_word": _first_word,
    "last_word": _last_word,
    "fold": lambda value: fold(_text(value)),
    "string": written,
}
"""Filters of our own."""
