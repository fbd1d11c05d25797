"""Quotas: how many calls are let in at once, and in a second, minute, hour or day.

What is let in is a function of the session's clock and of the calls that were let in before; nothing runs in the
background. A rate is held in every stretch of its length, wherever that begins: a limit of 10 a second is reached when
ten calls were let in within the last second, and the next is let in once the oldest of them is a second old. Limits of
the preset are the documented defaults of the real service; that its windows slide is chosen.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import Struct

from .api import METHODS
from .calls import METHODS_BY_CALL
from .clock import SECOND, Clock

if TYPE_CHECKING:
    from .rules import model


def _service(name: str) -> tuple[str, ...]:
    return tuple(path for path in METHODS if path.startswith(f"/yandex.cloud.ai.{name}/"))


METHODS_BY_NAME: Mapping[str, tuple[str, ...]] = {
    **{call: (path,) for call, path in METHODS_BY_CALL.items()},
    "operations": ("/yandex.cloud.operation.OperationService/Get",),
    "datasets": _service("dataset.v1.DatasetService"),
    "batches": _service("batch_inference.v1.BatchInferenceService"),
}
"""What a limit can be for, by the fixture language's names, each with the paths of its methods."""

NAMES_BY_METHOD: Mapping[str, str] = {path: name for name, paths in METHODS_BY_NAME.items() for path in paths}

AT_ONCE = "at_once"
WINDOWS: Mapping[str, int] = {
    "per_second": SECOND,
    "per_minute": 60 * SECOND,
    "per_hour": 3600 * SECOND,
    "per_day": 24 * 3600 * SECOND,
}
"""The kinds of rates, with their lengths in ns."""

KINDS = (AT_ONCE, *WINDOWS)

PRESETS: Mapping[str, Sequence[tuple[tuple[str, ...], Mapping[str, int]]]] = {
    "none": (),
    "real": (
        (("completion",), {"at_once": 10}),
        (("completion_async",), {"per_second": 10, "per_hour": 5000}),
        (("completion_batch",), {"per_hour": 10, "per_day": 100}),
        (("generate_image",), {"per_minute": 500, "per_day": 5000}),
        (("tokenize", "tokenize_completion"), {"per_second": 50}),
        (("text_embedding",), {"per_second": 10}),
        (("classify", "few_shot_classify"), {"per_second": 1}),
        (("operations",), {"per_second": 50}),
    ),
}
"""Sets of limits by name; `real` are the documented defaults of the real service."""

AGAIN = SECOND
"""What a client is told to wait (ns) where too many are under way: nobody knows when one of them ends."""

MOST_COUNTED = 1_000_000
"""Calls that are remembered in all; beyond that whom nobody has heard of for longest begins anew."""

MOST_SUBJECTS = 10_000
"""Folders or credentials that are counted apart, over all limits."""


class Limit(Struct, frozen=True):
    """At most `most` calls of its methods at once (`kind` at_once), or in any `window` ns, for each session, folder or
    credential (`by`); calls named together share it. `identity` survives other numbers.
    """

    kind: str
    by: str
    most: int
    window: int
    identity: str


Plan = Mapping[str, tuple[Limit, ...]]
"""The limits of each method, by its path."""


def plan_of(quotas: model.Quotas | None, preset: str) -> Plan:
    """The limits that fixtures ask for. `preset` is the one that holds where they name none.

    For each call and kind of limit the preset's gives way to those of `limits`, of which `unlimited` is none.
    """
    base = (quotas.preset if quotas is not None else None) or preset
    own = list((quotas.limits if quotas is not None else None) or ())
    replaced = {(name, kind) for limit in own for name in names_of(limit) for kind in KINDS if _given(limit, kind)}
    found: dict[str, list[Limit]] = {}
    for names, mosts in PRESETS[base]:
        for kind, most in mosts.items():
            left = [name for name in names if (name, kind) not in replaced]
            _add(found, left, _limit(names, kind, "session", most))
    for limit in own:
        for kind in KINDS:
            given = _given(limit, kind)
            if given is not None and given.n is not None:
                _add(found, names_of(limit), _limit(names_of(limit), kind, limit.by, given.n))
    return {path: tuple(limits) for path, limits in found.items()}


def mistakes_in(quotas: model.Quotas) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """What is wrong with well-formed quotas: the place below `quotas`, and the words."""
    seen: dict[tuple[str, str, str], int] = {}
    for i, limit in enumerate(quotas.limits or ()):
        at: tuple[str | int, ...] = ("limits", i)
        names = names_of(limit)
        if not names:
            yield (*at, "call"), "an empty list names no call; leave the limit out"
        if all(_given(limit, kind) is None for kind in KINDS):
            yield at, f"limits nothing; give one of {', '.join(KINDS)}"
        for n, name in enumerate(names):
            if name in names[:n]:
                yield (*at, "call"), f"{name} is named twice; once is enough"
                continue
            for kind in KINDS:
                if _given(limit, kind) is None:
                    continue
                first = seen.setdefault((name, kind, limit.by), i)
                if first != i:
                    yield (*at, kind), f"{name} has a limit {kind} by {limit.by} already, in limits[{first}]"


def names_of(limit: model.QuotaLimit) -> tuple[str, ...]:
    """What a limit is for, by name."""
    return (limit.call,) if isinstance(limit.call, str) else tuple(limit.call)


def _given(limit: model.QuotaLimit, kind: str) -> model.Most | None:
    given: model.Most | None = getattr(limit, kind)
    return given


def _limit(names: Sequence[str], kind: str, by: str, most: int) -> Limit:
    identity = f"{kind} by {by}: {', '.join(sorted(names))}"
    return Limit(kind, by, most, WINDOWS.get(kind, 0), identity)


def _add(found: dict[str, list[Limit]], names: Sequence[str], limit: Limit) -> None:
    for name in names:
        for path in METHODS_BY_NAME[name]:
            found.setdefault(path, []).append(limit)


class Refused(Struct, frozen=True):
    """A limit that a call has met, whom it holds for, and how many ns from now it would be let in; None for never."""

    limit: Limit
    subject: str
    wait: int | None


class Slots(Struct):
    """The places that a call holds among those at once, until it is over."""

    held: dict[tuple[str, str], int]
    keys: list[tuple[str, str]]

    def free(self) -> None:
        """The call is over. Does nothing the second time."""
        for key in self.keys:
            left = self.held.get(key, 0) - 1
            if left > 0:
                self.held[key] = left
            else:
                self.held.pop(key, None)
        self.keys = []


class Quotas:
    """What a session has let in. `preset` is that of the configuration, "none" without one."""

    def __init__(self, clock: Clock, preset: str) -> None:
        self._clock = clock
        self.begin(preset)

    def begin(self, preset: str) -> None:
        """Nothing was let in yet. Calls under way hold no place any more."""
        self.preset = preset
        self._spec: model.Quotas | None = None
        self._plan = plan_of(None, preset)
        self._came: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()  # the instants, the oldest first
        self._counted = 0
        self._held: dict[tuple[str, str], int] = {}

    def limits(self, spec: model.Quotas | None, method: str) -> tuple[Limit, ...]:
        """What holds for a method under the fixtures' quotas, which may have changed since the last call."""
        if spec is not self._spec:
            self._spec, self._plan = spec, plan_of(spec, self.preset)
            known = {limit.identity for limits in self._plan.values() for limit in limits}
            for key in [key for key in self._came if key[0] not in known]:
                self._forget(key)
        return self._plan.get(method, ())

    def admit(self, limits: Sequence[Limit], subject: Callable[[str], str]) -> Slots | list[Refused]:
        """Let a call in under all of `limits`, or under none: then the limits it has met, that with the longest wait
        first. `subject` gives whom a limit counts for, by its `by`.
        """
        now = self._clock.now()
        keys = [(limit.identity, subject(limit.by)) for limit in limits]
        refused = []
        for limit, key in zip(limits, keys, strict=True):
            wait = self._wait(limit, key, now)
            if wait != 0:
                refused.append(Refused(limit, key[1], wait))
        if refused:
            return sorted(refused, key=lambda r: (r.wait is not None, -(r.wait or 0)))
        slots = Slots(self._held, [])
        for limit, key in zip(limits, keys, strict=True):
            if limit.window:
                self._count(key, now)
            else:
                self._held[key] = self._held.get(key, 0) + 1
                slots.keys.append(key)
        return slots

    def _wait(self, limit: Limit, key: tuple[str, str], now: int) -> int | None:
        """How long (ns) until `limit` lets in another; None for never."""
        if limit.most == 0:
            return None
        if not limit.window:
            return AGAIN if self._held.get(key, 0) >= limit.most else 0
        came = self._came.get(key)
        if came is None:
            return 0
        while came and came[0] <= now - limit.window:
            came.popleft()
            self._counted -= 1
        while came and came[-1] > now:  # the clock was put back
            came.pop()
            self._counted -= 1
        return came[len(came) - limit.most] + limit.window - now if len(came) >= limit.most else 0

    def _count(self, key: tuple[str, str], now: int) -> None:
        self._came.setdefault(key, deque()).append(now)
        self._came.move_to_end(key)
        self._counted += 1
        while len(self._came) > 1 and (self._counted > MOST_COUNTED or len(self._came) > MOST_SUBJECTS):
            self._forget(next(iter(self._came)))

    def _forget(self, key: tuple[str, str]) -> None:
        self._counted -= len(self._came.pop(key))

    # -- as data

    def dump(self) -> list[tuple[str, str, list[int]]]:
        """What was let in: limit, subject and instants (ns), whom nobody has heard of for longest first."""
        return [(identity, subject, list(came)) for (identity, subject), came in self._came.items()]

    def load(self, came: Sequence[tuple[str, str, list[int]]], preset: str) -> None:
        """What `dump` made."""
        self.begin(preset)
        for identity, subject, instants in came:
            self._came[identity, subject] = deque(sorted(instants))
            self._counted += len(instants)
