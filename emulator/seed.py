"""Randomness: there is none, only hashes.

Every random choice is a pure function of the seed and of what the choice is for (session, rule identity, call index,
purpose). Nothing is drawn from a stream, so what arrives elsewhere, or in which order, changes no choice, and a
snapshot of the emulator's state needs counters alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeVar

from .digests import blake2b

_T = TypeVar("_T")
_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"


class Seed:
    """One root and the path below it; `at()` steps further down, the other methods choose."""

    __slots__ = ("_key", "_path", "_steps", "root")

    def __init__(self, root: int, path: bytes = b"") -> None:
        self.root = root
        self._path = path
        self._steps: tuple[object, ...] = ()
        key = b"%d" % root
        self._key = key if len(key) <= 64 else blake2b(key).digest()

    def at(self, *steps: object) -> Seed:
        """The seed for a narrower purpose, e.g. `seed.at(session, rule, index)`."""
        below = Seed.__new__(Seed)
        below.root, below._key, below._path, below._steps = self.root, self._key, self.path, steps
        return below

    @property
    def drawn(self) -> bool:
        """Whether anything was drawn from it or below it. True of a root, and after `at()` without a step."""
        return not self._steps

    @property
    def path(self) -> bytes:
        """What it is for, from the root on; worked out when something is drawn, which few calls do."""
        if self._steps:
            self._path, self._steps = _path(self._path, self._steps), ()
        return self._path

    def bits(self, *steps: object) -> bytes:
        """32 bytes that depend on the root, this path and `steps`, and on nothing else."""
        path = _path(self.path, steps)
        return blake2b(path, digest_size=32, key=self._key).digest()

    def number(self, n: int) -> bytes:
        """`bits(n)`, for many numbers."""
        digits = b"%d" % n
        return blake2b(b"%b%d:%b" % (self.path, len(digits), digits), digest_size=32, key=self._key).digest()

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
        return as_uuid(self.bits(*steps).hex())


def as_uuid(digits: str) -> str:
    """The first 32 of `digits`, which are hexadecimal, as a version 4 UUID."""
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-{_VARIANTS[digits[16]]}{digits[17:20]}-{digits[20:32]}"


_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _path(path: bytes, steps: Sequence[object]) -> bytes:
    for step in steps:
        raw = step if isinstance(step, bytes) else str(step).encode()
        path += b"%d:%b" % (len(raw), raw)
    return path
