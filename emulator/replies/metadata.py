"""Scripted headers and trailers: what may travel, and templates in them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def wrong_key(key: str) -> str | None:
    """What keeps `key` from travelling as metadata, or None."""
    if key != key.lower():
        return f"metadata keys are in lower case on the wire; write {key.lower()}"
    if key.startswith("grpc-") or key in ("content-type", "te", "user-agent"):
        return "gRPC keeps this key for itself"
    if not key or not all(c.isascii() and (c.isalnum() or c in "-_.") for c in key):
        return "a metadata key is made of a-z, 0-9, -, _ and ."
    if key.endswith("-bin"):
        return "binary metadata can't be written here; use error.details for google.rpc messages"
    return None


LONGEST_VALUE = LONGEST_PAIRS = 3072
"""Characters of metadata: clients fail with a status of their own when all of it passes 8 KiB."""


def wrong_value(value: str) -> str | None:
    """What keeps `value` from travelling as text metadata, or None."""
    if len(value) > LONGEST_VALUE:
        return f"a value of {len(value)} characters is more than clients take; stay within {LONGEST_VALUE}"
    if all(" " <= c <= "~" for c in value):
        return None
    return "metadata values are printable ASCII on the wire; other characters don't fit"


def rendered(pairs: tuple[tuple[str, Any], ...], context: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """The pairs with their templates filled in. Raises ValueError for what can't travel."""
    out = tuple((key, value if isinstance(value, str) else _ascii(key, value(context))) for key, value in pairs)
    if sum(len(key) + len(value) + 32 for key, value in out) > LONGEST_PAIRS:
        raise ValueError(f"its metadata is together more than clients take; stay within {LONGEST_PAIRS} characters")
    return out


def laid_over(own: Sequence[tuple[str, Any]], scripted: Sequence[tuple[str, Any]]) -> list[tuple[str, Any]]:
    """`own` pairs but for those of the same key as a scripted one, and the scripted ones."""
    keys = {key for key, _ in scripted}
    return [pair for pair in own if pair[0] not in keys] + list(scripted)


def _ascii(key: str, value: str) -> str:
    wrong = wrong_value(value)
    if wrong is not None:
        raise ValueError(f"{key}: {wrong}")
    return value
