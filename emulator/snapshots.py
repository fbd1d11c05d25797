"""A session as bytes, and back: rules, states, operations, counters, clock, IAM tokens, quotas and what is remembered
by its idempotency key.

The same snapshot and the same calls give the same bytes, in this process or another: every random choice is a hash of
the seed and of counters, and both are in it. It is JSON, so that it can be looked at and kept beside a test. The
journal is not in it: after a restore it is empty, and what verification has counted begins anew.

The files' rules are in it too. Restored where the files say the same, the session goes on sharing them; elsewhere it
gets those of the snapshot for its own and no longer follows reloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from .batches import restored as restored_batches
from .clock import END
from .config import QUOTA_PRESETS
from .datasets import VALIDATION
from .datasets.stored import StoredDatasets, check_size, settle
from .datasets.stored import dumped as dumped_datasets
from .datasets.stored import restored as restored_datasets
from .engine.choose import State
from .engine.layers import Layer, dumped, revived
from .errors import Code, FixtureError, Status
from .iam import MOST, Issued
from .idempotency import checked
from .operations import Record
from .replies.stored import Count, Instant, StoredOperation
from .replies.stored_reply import StoredReply
from .seed import Seed
from .sessions import OWN, PARTS, Session, Shared

FORMAT = 1
MOST_OPERATIONS = 100_000
"""Operations that a snapshot takes (our choice): each has some hundred bytes, and one that is restored has 64 MiB."""


class _Counters(Struct, forbid_unknown_fields=True):
    chosen: dict[str, Count]
    given: list[tuple[str, str, Count]]
    scenario: dict[str, str]
    calls: Count
    layers: Count
    met: list[tuple[str, str, Count]] = field(default_factory=list)


class _Clock(Struct, forbid_unknown_fields=True):
    now: int
    frozen: bool
    speed: Annotated[float, Meta(gt=0, le=1_000_000)]
    began: int


class _Tokens(Struct, forbid_unknown_fields=True):
    issued: Count
    kept: Annotated[list[Issued], Meta(max_length=MOST)]


class _Added(Struct, forbid_unknown_fields=True):
    id: Annotated[str, Meta(pattern="^r[1-9][0-9]{0,17}$")]
    rules: Any


class _Quotas(Struct, forbid_unknown_fields=True):
    """`came` is what was let in: by limit and subject the instants (ns)."""

    preset: str = "none"
    came: list[tuple[str, str, list[Instant]]] = field(default_factory=list)


class Snapshot(Struct, forbid_unknown_fields=True, tag_field="kind", tag="fm-emulator snapshot"):
    """What a snapshot holds; `seed` is the root and the path below it that the session's choices grow from."""

    format: int
    session: str
    strict: bool
    immediate: bool
    seed: tuple[int, bytes]
    clock: _Clock
    counters: _Counters
    files: Any
    own: Any
    added: list[_Added]
    operations: list[StoredOperation]
    datasets: StoredDatasets
    iam_tokens: _Tokens
    quotas: _Quotas = field(default_factory=_Quotas)
    idempotency: list[StoredReply] = field(default_factory=list)
    chaos: Annotated[float, Meta(ge=0, le=1)] = 0.0


async def taken(session: Session) -> bytes:
    """The session as it is now. What takes a while is made first: pictures, the rows of batches, verdicts on datasets.

    Raises FAILED_PRECONDITION where its datasets are too large or its operations too many.
    """
    check_size(session.datasets)
    if len(session.operations) > MOST_OPERATIONS:
        text = f"this session has {len(session.operations)} operations, and a snapshot takes {MOST_OPERATIONS}"
        raise Status(Code.FAILED_PRECONDITION, f"{text}; reset those that are done with")
    await settle(session.datasets, session.operations, session.clock.now())
    now = await session.operations.settle()
    state, clock = session.state, session.clock
    datasets = dumped_datasets(session.datasets, session.operations, now)
    snapshot = Snapshot(
        format=FORMAT,
        session=session.id,
        strict=session.strict,
        immediate=session.immediate,
        seed=(session.seed.root, session.seed.path),
        clock=_Clock(now, clock.frozen, clock.speed, session.began),
        counters=_Counters(
            dict(state.chosen),
            _listed(state.given),
            dict(state.scenario),
            session.calls["call"],
            session.numbered,
            _listed(state.met),
        ),
        files=dumped(session.shared.book),
        own=dumped(session.own.book) if session.own is not None else None,
        added=[_Added(layer.id, dumped(layer.book)) for layer in session.added],
        operations=session.operations.dump(now),
        iam_tokens=_Tokens(session.tokens.issued, session.tokens.dump()),
        quotas=_Quotas(session.quotas.preset, session.quotas.dump()),
        idempotency=session.idempotency.dump(),
        datasets=datasets,
        chaos=session.failing,
    )
    return msgspec.json.format(msgspec.json.encode(snapshot), indent=1)


def restored(session: Session, snapshot: bytes) -> None:
    """Make `session` what it was when `snapshot` was taken, of it or of another.

    Raises INVALID_ARGUMENT for what is no snapshot; the session then stays as it is.
    """
    try:
        found = _read(snapshot)
        files = revived(found.files)
        layers = [Layer(added.id, revived(added.rules)) for added in found.added]
        if found.own is not None:
            layers.append(Layer(OWN, revived(found.own)))
        operations = session.operations.checked(found.operations)
        replies = checked(found.idempotency)
        store = session.datasets.store
        results = restored_batches(operations, found.operations, store)
        datasets = restored_datasets(found.datasets, store, {one.id: one for one in operations}, results)
        _check_validations(operations)
    except OSError as failed:
        raise Status(Code.RESOURCE_EXHAUSTED, f"its datasets can't be stored: {failed.strerror or failed}") from None
    except (ValueError, FixtureError) as failed:  # msgspec's errors are ValueErrors
        raise Status(Code.INVALID_ARGUMENT, f"that is no snapshot that can be restored: {failed}") from None
    counters = found.counters
    same = dumped(session.home.book) == found.files
    session.reset([part for part in PARTS if part != "clock"])  # who waits for the clock sees it move once
    if not same:
        session.shared = Shared(files)
    session.lay(layers, counters.layers)
    session.strict, session.immediate = found.strict, found.immediate
    session.fail(found.chaos)
    session.seed = Seed(*found.seed)
    session.state = State(counters.chosen, _counted(counters.given), counters.scenario, _counted(counters.met))
    session.calls["call"] = counters.calls  # those of tools are no part of the story: asking for a snapshot is one
    session.clock.set(found.clock.now, found.clock.frozen, found.clock.speed)
    session.began = found.clock.began
    session.operations.put(operations)
    session.tokens.put(found.iam_tokens.issued, found.iam_tokens.kept)
    session.quotas.load(found.quotas.came, found.quotas.preset)
    session.idempotency.put(replies)
    kept = found.datasets
    session.datasets.put(datasets, kept.since, kept.made, kept.uploads, kept.hidden)


def _listed(counters: Mapping[tuple[str, str], int]) -> list[tuple[str, str, int]]:
    return [(identity, counter, n) for (identity, counter), n in counters.items()]


def _counted(listed: Iterable[tuple[str, str, int]]) -> dict[tuple[str, str], int]:
    return {(identity, counter): n for identity, counter, n in listed}


def _check_validations(operations: list[Record]) -> None:
    """Raise ValueError for one that checks a dataset which isn't there."""
    for record in operations:
        if record.call == VALIDATION and (record.work is None or record.work.metadata is None) and record.ended is None:
            raise ValueError(f"operation {record.id[:100]}: the dataset that it checks isn't there")


def _check_instants(found: Any, where: str = "") -> None:
    """Raise ValueError for a number below `found` that no instant reaches."""
    if isinstance(found, int):
        if found >= END:
            raise ValueError(f"{where.lstrip('.')}: it is not before the year 10000")
    elif isinstance(found, Struct):
        for name in found.__struct_fields__:
            _check_instants(getattr(found, name), f"{where}.{name}")
    elif isinstance(found, (list, tuple)):
        for i, each in enumerate(found):
            _check_instants(each, f"{where}[{i}]")


def _read(snapshot: bytes) -> Snapshot:
    """The snapshot of these bytes. Raises ValueError for what this emulator can't have made."""
    found = msgspec.json.decode(snapshot, type=Snapshot)
    if found.format != FORMAT:
        raise ValueError(f"its format is {found.format}; this emulator reads {FORMAT}")
    for name, instant in (("now", found.clock.now), ("began", found.clock.began)):
        if not 0 <= instant < END:
            raise ValueError(f"clock.{name}: it is not between the years 1970 and 9999")
    for part in ("operations", "datasets", "iam_tokens", "quotas", "idempotency"):
        _check_instants(getattr(found, part), part)
    if found.quotas.preset not in QUOTA_PRESETS:
        raise ValueError(f"quotas.preset: {found.quotas.preset[:60]!r} is none of {', '.join(QUOTA_PRESETS)}")
    numbers = [int(added.id[1:]) for added in found.added]
    if len(set(numbers)) < len(numbers) or max(numbers, default=0) > found.counters.layers:
        raise ValueError("added: each layer has a number of its own, up to that of counters.layers")
    return found
