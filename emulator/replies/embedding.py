"""A text as a vector: unit length, nearer to texts that are more alike, the same on every machine.

Each feature of the text (see `likeness`) adds its weight to a few places that its hash names, with a sign. So the
cosine between two vectors is about the likeness of the texts. Documents and queries share one space, as in the service.
"""

from __future__ import annotations

from math import isqrt

from ..digests import blake2b
from .likeness import features

DIM = 256
"""Numbers in a vector unless the request says how many (recorded)."""

MOST_DIM = 4096
"""What a request may ask for at most; the real bound is not known."""

_PLACES = 2
_SCALE = 1 << 64


def vector(text: str, dim: int | None = None) -> list[float]:
    """`dim` numbers, 256 unless given, whose squares add up to 1. A `dim` out of bounds is brought within."""
    dim = DIM if dim is None else max(1, min(dim, MOST_DIM))
    sums = [0] * dim
    for feature, weight in features(text).items():
        bits = int.from_bytes(blake2b(feature.encode("utf-8", "replace"), digest_size=8).digest(), "little")
        for _ in range(_PLACES):
            sums[(bits >> 1 & 0x7FFFFFFF) % dim] += weight if bits & 1 else -weight
            bits >>= 32
    if not any(sums):  # all of it cancelled out
        sums[0] = 1
    # Whole numbers to the last step, which Python rounds the same everywhere.
    length = isqrt(sum(number * number for number in sums) * _SCALE * _SCALE)
    return [number * _SCALE / length for number in sums]
