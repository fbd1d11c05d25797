"""What the metadata of a call say, made out once for all calls that have the same, as most calls of a client do."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from ..behaviour import RETRY_ATTEMPT
from ..call import Metadata
from ..journal import masked, size_of
from .idempotency import KEY
from .session import HEADER

CLIENT_ID = "x-client-request-id"

_TOLD = frozenset((HEADER, KEY, CLIENT_ID, RETRY_ATTEMPT))
"""Keys that make a call another one than its like."""

_MOST = 64
_LARGEST = 4096


class About(Struct, frozen=True):
    """`first` has the first value of each key, `kept` is what may be kept of all, `size` its bytes.

    `plain` tells that nothing is among them which makes the call another one than one without metadata, but for
    credentials and what rules ask for.
    """

    first: Mapping[str, str | bytes]
    kept: Metadata
    size: int
    plain: bool


class Seen:
    """The metadata that were seen last."""

    def __init__(self) -> None:
        self._seen: dict[Metadata, About] = {}

    def of(self, metadata: Metadata) -> About:
        """What `metadata` say."""
        found = self._seen.get(metadata)
        if found is None:
            first = dict(reversed(metadata))
            kept = masked(metadata)
            found = About(first, kept, size_of(kept), _TOLD.isdisjoint(first))
            if found.plain and found.size <= _LARGEST:
                if len(self._seen) >= _MOST:
                    self._seen.clear()
                self._seen[metadata] = found
        return found
