"""Chaos: which calls go wrong, and how, by the faults that fixtures and options ask for.

A fault counts the calls that it concerns, and whether it strikes one of them depends on the seed, the session, the
fault and that count alone. So the same calls meet the same faults, whatever arrives elsewhere; what is counted is kept
with the counters of rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from .digests import blake2b
from .errors import Code, Status
from .quotas import METHODS_BY_NAME
from .replies.statuses import ScriptedStatus, compile_status
from .replies.strike import End, Strike
from .rules import model
from .rules.conditions import Compiled, Descriptors, compile_when, names_of
from .rules.duration import Delay, Duration, draw
from .seed import Seed

METHODS: Mapping[str, frozenset[str]] = {
    **{name: frozenset(paths) for name, paths in METHODS_BY_NAME.items()},
    "operations": frozenset(f"/yandex.cloud.operation.OperationService/{name}" for name in ("Get", "Cancel")),
}
"""What a fault can be for, by the fixture language's names, each with the paths of its methods."""

NAMES: Mapping[str, str] = {path: name for name, paths in METHODS.items() for path in paths}

DROPPED = "the connection was dropped"
_ENDS: tuple[End, ...] = ("error", "drop", "truncate", "stall")
_EVERYWHERE = frozenset({"attempt", "metadata", "state", "all", "any", "not"})
"""Conditions that need no request of a call which rules answer."""

Report = Callable[[tuple[str | int, ...], str], None]


class Fault(Struct, frozen=True):
    """A compiled fault. `identity` is what it is counted by, `label` how people know it.

    `calls` are the names of the calls that it is for; `plain` tells that its conditions look at no request.
    `errors` come with the running totals of their weights.
    """

    identity: str
    label: str
    share: float = 1.0
    first: int | None = None
    since: model.Moment | None = None
    until: model.Moment | None = None
    delay: Delay | None = None
    end: End = ""
    errors: tuple[tuple[ScriptedStatus, float], ...] = ()
    stall: int | None = None
    after: model.After | None = None
    calls: frozenset[str] | None = None
    when: Compiled = Compiled()
    per: str = "session"

    @property
    def in_stream(self) -> bool:
        """Whether it is about streams alone."""
        return self.after is not None

    def in_force(self, now: int, began: int) -> bool:
        """Whether it can strike at `now` in a session whose clock began at `began` (both ns)."""
        if self.since is not None and now < self.since.at(began):
            return False
        return self.until is None or now < self.until.at(began)

    def strike(self, n: int, seed: Seed, worded: Callable[[ScriptedStatus], Status]) -> Strike | None:
        """What it does to the call that is number `n`, from 0, of those it concerns; None where it spares that one.

        `worded` makes a status for the call.
        """
        if self.first is not None and n >= self.first:
            return None
        if self.share < 1 and seed.fraction("share", n) >= self.share:
            return None
        delay = draw(self.delay, seed, "delay", n) if self.delay is not None else 0
        status = None
        if self.end == "error":
            status = worded(self._error(seed.fraction("error", n)))
        elif self.end == "drop":
            status = Status(Code.UNAVAILABLE, DROPPED)
        after: int | float | None = None
        if self.after is not None:
            after = seed.fraction("place", n) if self.after.n is None else self.after.n
        return Strike((self.label,), delay, self.end, status, self.stall, after)

    def _error(self, fraction: float) -> ScriptedStatus:
        goal = fraction * self.errors[-1][1]
        return next((error for error, upto in self.errors if goal < upto), self.errors[-1][0])


def failing(share: float) -> tuple[Fault, ...]:
    """What the option `chaos` asks for: that share of all calls fails with UNAVAILABLE."""
    if not share:
        return ()
    error = ScriptedStatus(Code.UNAVAILABLE, None)
    return (Fault("option", "chaos", share, end="error", errors=((error, 1.0),)),)


def compile_faults(
    specs: model.Fault | Sequence[model.Fault], where: Callable[[int], str], descriptors: Descriptors, report: Report
) -> tuple[Fault, ...]:
    """Compile a section of faults, of all calls or of one rule's; mistakes go to `report(path below it, text)`.

    `where(i)` says where the fault of that number stands, for those that have no name.
    """
    alone = isinstance(specs, model.Fault)
    found: list[Fault] = []
    for i, spec in enumerate([specs] if isinstance(specs, model.Fault) else specs):
        below = _below(report) if alone else _below(report, i)
        fault = _compiled(spec, where(i), descriptors, below)
        if spec.name and any(other.identity == fault.identity for other in found):
            below(("name",), "this name is taken by another fault before it")
        found.append(fault)
    return distinct(found)


def distinct(faults: Sequence[Fault]) -> tuple[Fault, ...]:
    """Unnamed faults of the same content are told apart by their order."""
    seen: dict[str, int] = {}
    out = []
    for fault in faults:
        n = seen[fault.identity] = seen.get(fault.identity, 0) + 1
        out.append(fault if n == 1 else replace(fault, identity=f"{fault.identity}#{n}"))
    return tuple(out)


def _compiled(spec: model.Fault, where: str, descriptors: Descriptors, report: Report) -> Fault:
    for path, text in _mistakes_in(spec):
        report(path, text)
    end, errors = _end_of(spec), _errors(spec, report)
    calls, when = None, Compiled()
    per = "session"
    if isinstance(spec, model.GlobalFault):
        when = compile_when(spec.when, descriptors, _below(report, "when"))
        calls, per = _calls(spec, when, report), spec.per
    stall = spec.stall.ns if spec.stall is not None else None
    after = spec.after
    if after is None and end == "truncate":
        after = model.After(None)
    return Fault(
        spec.name or f"fault-{blake2b(msgspec.json.encode(_plain(spec)), digest_size=8).hexdigest()}",
        spec.name or where,
        spec.share,
        spec.first,
        spec.from_,
        spec.until,
        spec.delay,
        end,
        errors,
        stall,
        after,
        calls,
        when,
        per,
    )


def _end_of(spec: model.Fault) -> End:
    return next((end for end in _ENDS if getattr(spec, end) not in (None, False)), "")


def _mistakes_in(spec: model.Fault) -> Iterator[tuple[tuple[str | int, ...], str]]:
    ends = [end for end in _ENDS if getattr(spec, end) not in (None, False)]
    if not ends and spec.delay is None:
        yield (), "does nothing; give delay, or one of error, drop, truncate and stall"
    for other in ends[1:]:
        yield (other,), f"a call ends in one way: leave out either {ends[0]} or {other}, or write two faults"
    if spec.after is not None and not ends:
        yield ("after",), "nothing comes after those messages; it goes with error, drop, truncate or stall"
    if spec.name is not None and not spec.name.strip():
        yield ("name",), "an empty name names nothing; leave it out"
    since, until = spec.from_, spec.until
    if until is not None and until.since_start and until.ns == 0:
        yield ("until",), "this is over before it begins; give a time after the start"
    elif since is not None and until is not None and since.since_start == until.since_start and until.ns <= since.ns:
        yield ("until",), "this is not after `from`, so it never strikes; give a later time"
    if isinstance(spec.error, list) and not spec.error:
        yield ("error",), "an empty list fails nothing; name a status"


def _errors(spec: model.Fault, report: Report) -> tuple[tuple[ScriptedStatus, float], ...]:
    if spec.error is None:
        return ()
    given: list[str | model.Error] = list(spec.error) if isinstance(spec.error, list) else [spec.error]
    weights = accumulate(error.weight if isinstance(error, model.WeightedError) else 1.0 for error in given)
    steps = [("error", i) if isinstance(spec.error, list) else ("error",) for i in range(len(given))]
    return tuple(
        (compile_status(error, frozenset(), False, _below(report, *step)), upto)
        for error, upto, step in zip(given, weights, steps, strict=True)
    )


def _calls(spec: model.GlobalFault, when: Compiled, report: Report) -> frozenset[str] | None:
    """The names of the calls that a fault is for; None for all of them."""
    named = frozenset([spec.call] if isinstance(spec.call, str) else spec.call or ())
    if spec.call is not None and not named:
        report(("call",), "an empty list names no call; leave it out for all of them")
    fits = frozenset(METHODS) if _is_plain(spec.when) else when.calls - {"batch_row"}
    if not fits and when.calls:
        report(("when",), "only rows of batches have that, and they are no calls; let a rule fail them")
    streams = spec.after is not None or bool(spec.truncate)
    if streams:
        if not named and "completion" not in fits and when.calls:
            report(("when",), "no stream has that; only completions do, so look at what they have")
        for call in sorted(named - {"completion"}):
            report(("call",), f"{call} does not stream; that is about completion alone")
        fits &= {"completion"}
    for call in sorted(named - fits):
        if call == "completion" or not streams:
            report(("call",), f"{call} does not have what the conditions look at; they fit {', '.join(sorted(fits))}")
    if named:
        return named
    return None if fits == frozenset(METHODS) else fits


def _is_plain(when: model.When | None) -> bool:
    """Whether conditions can be asked of any call, whatever its request is."""
    if when is None:
        return True
    inner = [*(when.all or ()), *(when.any or ()), *([when.not_] if when.not_ is not None else [])]
    return set(names_of(when)) <= _EVERYWHERE and all(map(_is_plain, inner))


def _plain(spec: model.Fault) -> Any:
    def written(value: Any) -> str:
        return repr(value if isinstance(value, (Duration, model.Moment, model.After)) else getattr(value, "ns", value))

    return msgspec.to_builtins(spec, enc_hook=written, str_keys=True)


def _below(report: Report, *steps: str | int) -> Report:
    return lambda path, text: report((*steps, *path), text)
