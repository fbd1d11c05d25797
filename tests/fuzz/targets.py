"""The targets by name; each is imported when it is asked for, so that what fuzzes can instrument it first."""

from __future__ import annotations

from importlib import import_module

from .target import Target

_PLACES = {
    "loader": ("loader", "TARGET"),
    "requests": ("stories", "REQUESTS"),
    "control": ("stories", "CONTROLS"),
    "native": ("native", "TARGET"),
    "patterns": ("parsers", "PATTERNS_TARGET"),
    "parsers": ("parsers", "TARGET"),
}
NAMES = tuple(_PLACES)


def named(name: str) -> Target:
    """The target called `name`, one of NAMES."""
    module, attribute = _PLACES[name]
    target: Target = getattr(import_module(f"{__package__}.{module}"), attribute)
    return target
