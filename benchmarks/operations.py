"""`operations`: many of them started, all asked for while they are pending, and asked for again when they are done."""

from __future__ import annotations

import functools
from contextlib import ExitStack
from typing import Any

from emulator.api import METHODS, CompletionResponse, Operation

from . import questions, servers, wire
from .bare import SERVICE
from .results import LESS, MORE, Figure
from .run import Run, interleaved

START = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
GET = "/yandex.cloud.operation.OperationService/Get"
WARM = 2_000
"""Operations that come first, and the calls that fill the journal again; it holds 1,000."""

WARM_CALLS = 20_000
"""Calls that leave nothing behind: after them what gRPC and the allocator keep for good, or for the next, is there."""

ROWS = {"reply prepared at load": False, "beside its reply, from a template": True}
HEADER = 33
"""Bytes of the object that holds a reply; it is counted with the reply."""


def measured(run: Run) -> list[Figure]:
    """Bytes of resident memory for each pending operation, a reply that is its own left out; how many are started,
    polled and finished a second, beside unary calls of a bare server; of the last quarter beside the first, since that
    must not depend on how many there are. One round unless asked for more.
    """
    figures = []
    for row, template in ROWS.items():
        fixtures = run.folder / f"operations-{template}.yaml"
        fixtures.write_text(questions.pending(template), encoding="utf-8")
        measure = functools.partial(_measure, run, fixtures, template)
        samples = interleaved(run.times(1), (servers.BARE, *run.variants), measure)
        floor = tuple(samples[servers.BARE]["calls"])
        for name in run.variants:
            found = samples[name]
            whole = f"{run.operations:,}, {row}"
            memory = tuple(found["bytes"])
            figures.append(Figure("operations", whole, name, "memory", "B/operation", LESS, memory))
            last, first = tuple(found["last"]), tuple(found["first"])
            figures.append(Figure("operations", whole, name, "last quarter started", "calls/s", MORE, last, first))
            figures += [
                Figure("operations", whole, name, what, "calls/s", MORE, tuple(found[what]), floor)
                for what in ("started", "polled", "finished")
                if what in found
            ]
    return figures


def _measure(run: Run, fixtures: Any, template: bool, name: str) -> dict[str, float]:
    with ExitStack() as stack:
        if name == servers.BARE:
            server = stack.enter_context(servers.bare(run.folder))
            load = servers.loaded(
                server,
                f"/{SERVICE}/Unary",
                questions.requests(questions.FIRST),
                seconds=run.seconds,
                layout=run.layouts[0],
            )
            return {"calls": load.per_second}
        most = str(run.operations + 2 * WARM)
        server = stack.enter_context(servers.emulator(run.folder, fixtures, name, "--max-operations", most))
        with servers.laid_out(server, run.layouts[0]):
            return _life(run, server, template)


def _life(run: Run, server: Any, template: bool) -> dict[str, float]:
    requests = questions.requests(questions.FIRST)
    with wire.Client(server.target, questions.COMPLETION, requests) as client:
        run.failed(f"operations: warming up, {server.name}", client.run(64, calls=min(WARM_CALLS, run.operations)))
    with wire.Client(server.target, START, requests) as client:
        ids = _ids(client.run(64, calls=min(WARM, run.operations), keep=True))
        _polled(run, server, ids, done=False)
        client.run(64, calls=min(WARM, run.operations))  # the journal is full of these again, not of Gets
        before = server.resident()
        quarters = [client.run(64, calls=max(1, run.operations // 4), keep=True) for _ in range(4)]
        held = server.resident() - before
    for quarter in quarters:
        run.failed(f"operations: started, {server.name}", quarter)
    started = [id_ for quarter in quarters for id_ in _ids(quarter)]
    run.say(f"{server.name}: {len(started):,} began, {server.resident() / 1e6:.1f} MB")
    found = {
        "bytes": held / max(1, len(started)),
        "started": len(started) / sum(quarter.seconds for quarter in quarters),
        "first": quarters[0].per_second,
        "last": quarters[-1].per_second,
    }
    if template:
        return found | {"bytes": found["bytes"] - _own(server, ids)}
    for what, done in (("polled", False), ("finished", True)):
        found[what] = _polled(run, server, started, done=done).per_second
        run.say(f"{server.name}: {what}, {server.resident() / 1e6:.1f} MB")
    return found


def _own(server: Any, ids: list[str]) -> float:
    """Bytes in which the replies of operations differ from all others, on average of a few that were polled once."""
    get = METHODS[GET].input
    sizes = []
    for id_ in ids[-100:]:
        (raw,) = servers.checked(server.target, GET, get(operation_id=id_).SerializeToString())
        reply = CompletionResponse.FromString(Operation.FromString(raw).response.value)
        reply.ClearField("usage")
        reply.ClearField("model_version")
        sizes.append(reply.ByteSize() + HEADER)
    return sum(sizes) / len(sizes)


def _ids(outcome: wire.Outcome) -> list[str]:
    return [Operation.FromString(messages[0]).id for messages in outcome.replies if messages]


def _polled(run: Run, server: Any, ids: list[str], *, done: bool) -> wire.Outcome:
    """Ask for each once; it has to be done, or not, as it should."""
    get = METHODS[GET].input
    with wire.Client(server.target, GET, [get(operation_id=id_).SerializeToString() for id_ in ids]) as client:
        outcome = client.run(64, calls=len(ids), keep=True)
    what = f"operations: {'finished' if done else 'polled'}, {server.name}"
    run.failed(what, outcome)
    wrong = sum(Operation.FromString(messages[0]).done is not done for messages in outcome.replies if messages)
    if wrong:
        run.note(f"{what}: {wrong:,} operations failed to be {'done' if done else 'pending'}")
    outcome.replies.clear()
    return outcome
