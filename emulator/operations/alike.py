"""`Alike`: what many operations have in common, so that it is kept once.

A rule's fixed text, a usage, a timeline, an account: operations that are begun one after another mostly have the same.
The last ones that were kept are looked up; what was not among them is kept once more, and nothing is ever wrong.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import Any, TypeVar

from msgspec.structs import replace

from ..replies.statuses import ScriptedStatus
from .record import Begun

T = TypeVar("T")

MOST_KEPT = 1024
MOST_BYTES = 16 * 1024 * 1024
"""How many values are looked up, and how many bytes they hold in all."""


class Alike:
    """The last values that were kept, by what tells them apart."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def clear(self) -> None:
        """Look none of them up again."""
        self._values.clear()
        self._bytes = 0

    def kept(self, key: Hashable, value: T, size: int = 0) -> T:
        """`value`, or the one like it that was kept before; `size` is in bytes."""
        found = self._values.get(key)
        if found is not None:
            self._values.move_to_end(key)
            kept: T = found[0]
            return kept
        self._values[key] = value, size
        self._bytes += size
        while len(self._values) > MOST_KEPT or self._bytes > MOST_BYTES:
            self._bytes -= self._values.popitem(last=False)[1][1]
        return value

    def raw(self, raw: bytes) -> bytes:
        """These bytes, kept once."""
        return self.kept(raw, raw, len(raw)) if raw else b""

    def begun(self, begun: Begun) -> Begun:
        """This one, which has no more, kept once, and its timeline with it."""
        timeline = begun.timeline
        stages = tuple(
            [(s.at, s.poll, s.status, s.done, s.total, s.completed, _told(s.error)) for s in timeline.stages]
        )
        faults = tuple([(n, _told(fault)) for n, fault in timeline.faults.items()])
        key = begun.call, begun.account, begun.rule, begun.folder, timeline.given, stages, faults
        if key not in self._values:  # its timeline may be its own, and whose it is will not
            account, folder = (self.kept(text, text, len(text)) for text in (begun.account, begun.folder))
            begun = replace(begun, account=account, folder=folder)
        return self.kept(key, begun)


def _told(error: ScriptedStatus | None) -> Hashable:
    """What tells a settled status from others."""
    if error is None:
        return None
    details = tuple((d.DESCRIPTOR.full_name, d.SerializeToString(deterministic=True)) for d in error.details)
    return error.code, error.message, details
