"""`Target`: what is fuzzed, with what it begins from and how its inputs are mutated."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

Mutate = Callable[[bytes, Random], bytes]


@dataclass(frozen=True)
class Target:
    """`check` takes any bytes, and raises for those that show a defect. `seeds` are inputs by name. `mutate` makes
    another input of one; without it the fuzzer changes bytes, with `words` for its dictionary.
    """

    check: Callable[[bytes], None]
    seeds: Callable[[], Mapping[str, bytes]]
    mutate: Mutate | None = None
    words: Sequence[str] = ()
    longest: int = 4096
