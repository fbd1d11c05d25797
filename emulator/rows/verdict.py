"""What a check of a dataset's rows finds."""

from __future__ import annotations

from msgspec import Struct, field


class Fault(Struct):
    """One kind of mistake and the lines, counted from 1, it was found in."""

    error: str
    description: str
    rows: list[int] = field(default_factory=list)


class Verdict(Struct):
    """What a check found: `rows` in all, how many of them are `valid`, what is wrong with the others, and whether
    there is a Parquet file.
    """

    rows: int = 0
    valid: int = 0
    faults: list[Fault] = field(default_factory=list)
    stored: bool = False

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults
