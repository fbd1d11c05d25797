"""Durations as fixtures write them: `20ms`, `1h30m`, or a spread, `{p50: 800ms, p95: 3s}`, or a range,
`{min: 100ms, max: 2s}`.

A number alone has no unit and is refused, apart from 0: a reader should never have to guess between seconds and
milliseconds. That, the units and the bound are our choice.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from emulator.seed import Seed

if TYPE_CHECKING:
    from typing_extensions import Self

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
LONGEST_NS = 3650 * _UNITS["d"]

_TERM = r"[0-9]+(?:\.[0-9]+)?(?:ns|us|µs|ms|s|m|h|d)"
_TERMS = re.compile(rf"(?:{_TERM})+")
_EACH = re.compile(r"([0-9]+(?:\.[0-9]+)?)([a-zµ]+)")
_NO_UNIT = re.compile(r"\+?[0-9][0-9_]*(?:\.[0-9]*)?")
_MAX_LENGTH = 64


def parse(text: str) -> int:
    """The nanoseconds of a duration such as `20ms`, `1.5s`, `72h`, `1h30m` or `0`; ValueError says what is missing."""
    text = text.strip()
    if text == "0":
        return 0
    if not text or len(text) > _MAX_LENGTH:
        raise ValueError("needs a duration: 20ms, 2s, 5m, 72h")
    if text.startswith("-"):
        raise ValueError(f"`{text}` is negative: a duration is 0 or more")
    if _NO_UNIT.fullmatch(text):
        raise ValueError(f"`{text}` needs a unit: 20ms, 2s, 5m, 72h")
    # Micro has two code points, and both are on keyboards.
    plain = text.replace("μ", "µ")
    if not _TERMS.fullmatch(plain):
        raise ValueError(f"`{text}` is no duration: 20ms, 1.5s, 5m, 72h, 3d, 1h30m")
    terms = [(*number.partition(".")[::2], unit) for number, unit in _EACH.findall(plain)]
    places = max(len(fraction) for _, fraction, _ in terms)
    ns: int = (
        sum(int(whole + fraction.ljust(places, "0")) * _UNITS[unit] for whole, fraction, unit in terms) // 10**places
    )
    if ns > LONGEST_NS:
        raise ValueError(f"`{text}` is too long: at most 3650d")
    return ns


class Duration:
    """A fixed length of time, immutable: 0 <= `ns` <= LONGEST_NS nanoseconds, ValueError for others."""

    __slots__ = ("_ns",)
    _ns: int

    def __init__(self, ns: int) -> None:
        if ns < 0:
            raise ValueError("a duration is 0 or more")
        if ns > LONGEST_NS:
            raise ValueError("too long: at most 3650d")
        object.__setattr__(self, "_ns", ns)

    @property
    def ns(self) -> int:
        """The length of a fixed duration, the median of a spread one."""
        return self._ns

    @property
    def p50_ns(self) -> int:
        """Half of the draws are at most this long."""
        return self._ns

    @property
    def p95_ns(self) -> int:
        """95 % of the draws are at most this long."""
        return self._ns

    @classmethod
    def from_scalar(cls, text: str) -> Self:
        """What the decoder calls for a scalar."""
        return cls(parse(text))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """What editors are told, for `msgspec.json.schema(..., schema_hook=...)`."""
        return {"description": "A duration with its unit: 20ms, 1.5s, 1h30m.", "anyOf": _scalar_schemas()}

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable")

    def _figures(self) -> tuple[object, ...]:
        """What makes two of them equal."""
        return (self.p50_ns, self.p95_ns)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Duration):
            return NotImplemented
        return self._figures() == other._figures()

    def __hash__(self) -> int:
        return hash(self._figures())

    def __reduce__(self) -> tuple[type, tuple[int, ...]]:
        return type(self), (self._ns,)

    def __repr__(self) -> str:
        return f"{type(self).__name__}{self.__reduce__()[1]}".replace(",)", ")")


class Delay(Duration):
    """A length of time that is fixed, or drawn anew each time from a spread with the given median and 95th percentile.

    Raises ValueError unless p50_ns <= p95_ns, and for a spread, 0 < p50_ns.
    """

    __slots__ = ("_p95_ns",)
    _p95_ns: int

    def __init__(self, p50_ns: int, p95_ns: int | None = None) -> None:
        super().__init__(p50_ns)
        longest = p50_ns if p95_ns is None else p95_ns
        if longest < p50_ns:
            raise ValueError("p95 must not be less than p50")
        if p50_ns == 0 < longest:
            raise ValueError("p50 must be more than 0")
        object.__setattr__(self, "_p95_ns", Duration(longest).ns)

    @property
    def p95_ns(self) -> int:
        return self._p95_ns

    @classmethod
    def mapping_type(cls) -> type[Spread]:
        """What the decoder reads a mapping as before it calls `from_mapping`."""
        return Spread

    @classmethod
    def from_mapping(cls, spread: Spread) -> Delay:
        """What the decoder calls for a mapping."""
        if spread.p50 is not None and spread.p95 is not None:
            return cls(spread.p50.ns, spread.p95.ns)
        assert spread.min is not None
        assert spread.max is not None
        return Between(spread.min.ns, spread.max.ns)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        plain = _scalar_schemas()
        spreads = [
            {
                "type": "object",
                "properties": {name: {"anyOf": plain} for name in names},
                "required": names,
                "additionalProperties": False,
            }
            for names in (["p50", "p95"], ["min", "max"])
        ]
        return {
            "description": "A duration with its unit (20ms, 1.5s, 1h30m), a spread, {p50: 800ms, p95: 3s}, or a range, "
            "{min: 100ms, max: 2s}.",
            "anyOf": [*plain, *spreads],
        }

    def __reduce__(self) -> tuple[type, tuple[int, ...]]:
        return type(self), (self.p50_ns,) if self.p50_ns == self.p95_ns else (self.p50_ns, self.p95_ns)


class Between(Delay):
    """A length of time that is drawn anew each time, evenly between two bounds, both included.

    Raises ValueError unless min_ns <= max_ns.
    """

    __slots__ = ("_max_ns", "_min_ns")
    _min_ns: int
    _max_ns: int

    def __init__(self, min_ns: int, max_ns: int) -> None:
        if max_ns < min_ns:
            raise ValueError("max must not be less than min")
        object.__setattr__(self, "_ns", Duration((min_ns + max_ns) // 2).ns)
        object.__setattr__(self, "_p95_ns", min_ns + (max_ns - min_ns) * 95 // 100)
        object.__setattr__(self, "_min_ns", Duration(min_ns).ns)
        object.__setattr__(self, "_max_ns", Duration(max_ns).ns)

    @property
    def min_ns(self) -> int:
        """No draw is less."""
        return self._min_ns

    @property
    def max_ns(self) -> int:
        """No draw is more."""
        return self._max_ns

    def _figures(self) -> tuple[object, ...]:
        return ("between", self._min_ns, self._max_ns)

    def __reduce__(self) -> tuple[type, tuple[int, ...]]:
        return type(self), (self._min_ns, self._max_ns)


class Spread(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The two figures of a spread delay as they are written: 0 < p50 <= p95, or min <= max."""

    p50: Duration | None = None
    p95: Duration | None = None
    min: Duration | None = None
    max: Duration | None = None

    def __post_init__(self) -> None:
        given = [name for name in self.__struct_fields__ if getattr(self, name) is not None]
        if given == ["p50", "p95"]:
            Delay(self.p50.ns, self.p95.ns)  # type: ignore[union-attr]
        elif given == ["min", "max"]:
            Between(self.min.ns, self.max.ns)  # type: ignore[union-attr]
        else:
            had = f"; found {' and '.join(given)}" if given else ""
            raise ValueError(f"a spread delay is p50 and p95, or min and max{had}")


def draw(value: Duration | Spread, seed: Seed, *steps: object) -> int:
    """The nanoseconds of one draw: log-normal with the given percentiles, or even between two bounds; the same for the
    same seed and steps.
    """
    delay = Delay.from_mapping(value) if isinstance(value, Spread) else value
    if isinstance(delay, Between):
        return seed.integer(delay.min_ns, delay.max_ns, *steps)
    if delay.p50_ns == delay.p95_ns:
        return delay.ns
    return min(round(seed.lognormal(delay.p50_ns, delay.p95_ns, *steps)), LONGEST_NS)


def _scalar_schemas() -> list[dict[str, Any]]:
    return [{"type": "string", "pattern": rf"^(?:0|(?:{_TERM})+)$"}, {"const": 0}]
