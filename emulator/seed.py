"""Randomness: there is none, only hashes.

Every random choice is a pure function of the seed and of what the choice is for (session, rule identity, call index,
purpose). Nothing is drawn from a stream, so what arrives elsewhere, or in which order, changes no choice, and a
snapshot of the emulator's state needs counters alone.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")
_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


class Seed:
    """One root and the path below it; `at()` steps further down, the other methods choose."""

    __slots__ = ("_key", "path", "root")

    def __init__(self, root: int, path: bytes = b"") -> None:
        self.root = root
        self.path = path
        key = b"%d" % root
        self._key = key if len(key) <= 64 else hashlib.blake2b(key).digest()

    def at(self, *steps: object) -> Seed:
        """The seed for a narrower purpose, e.g. `seed.at(session, rule, index)`."""
        return Seed(self.root, self.path + b"".join(_step(step) for step in steps))

    def bits(self, *steps: object) -> bytes:
        """32 bytes that depend on the root, this path and `steps`, and on nothing else."""
        path = self.path + b"".join(_step(step) for step in steps)
        return hashlib.blake2b(path, digest_size=32, key=self._key).digest()

    def fraction(self, *steps: object) -> float:
        """A number in [0, 1)."""
        return int.from_bytes(self.bits(*steps)[:7], "big") / (1 << 56)

    def integer(self, low: int, high: int, *steps: object) -> int:
        """A whole number from `low` to `high`, both included."""
        return low + int.from_bytes(self.bits(*steps)[:16], "big") % (high - low + 1)

    def choice(self, among: Sequence[_T], *steps: object) -> _T:
        """One of `among`, which must not be empty."""
        return among[self.integer(0, len(among) - 1, *steps)]

    def lognormal(self, p50: float, p95: float, *steps: object) -> float:
        """A positive number whose median is `p50` and whose 95th percentile is `p95`."""
        from statistics import NormalDist  # slow to import, and few fixtures draw

        normal = NormalDist()
        u = min(max(self.fraction(*steps), 1e-9), 1 - 1e-9)
        sigma = math.log(p95 / p50) / normal.inv_cdf(0.95)
        return p50 * math.exp(sigma * normal.inv_cdf(u))

    def identifier(self, prefix: str, *steps: object) -> str:
        """A resource id as the cloud makes them: `prefix` and 17 more of [0-9a-v] (recorded traffic)."""
        number = int.from_bytes(self.bits(prefix, *steps), "big")
        return prefix + "".join(_ID_ALPHABET[number >> 5 * i & 31] for i in range(17))

    def uuid(self, *steps: object) -> str:
        """A version 4 UUID in its usual text form."""
        digits = bytearray(self.bits(*steps)[:16])
        digits[6] = digits[6] & 0x0F | 0x40
        digits[8] = digits[8] & 0x3F | 0x80
        text = digits.hex()
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def _step(step: object) -> bytes:
    raw = step if isinstance(step, bytes) else str(step).encode()
    return b"%d:%b" % (len(raw), raw)
