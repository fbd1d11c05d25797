"""`soak`: calls of every kind, by the hundred thousand, after which memory, descriptors and threads are what they were.

Calls are made in laps of equal mix, each over connections of its own: completions by 100 rules, streams, streams that
are left in the middle, calls that are left while they wait or whose deadline passes, operations that are begun
and polled, texts that are tokenized and embedded, scripted errors, refused requests, methods that there are not. What
the emulator keeps up to a bound, its journal and operations that are done, is full after the laps that warm up.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.api import METHODS, Operation

from . import questions, servers, wire
from .results import LESS, MORE, Figure
from .run import Run

LAPS = 40
WARM = 10
"""Laps of these that warm up."""
OPERATIONS = 500
"""That the emulator keeps at most, so that it has as many once it is warm."""
GROWTH = 1.03
"""How much more memory the last third of the laps may hold than the first third after warming up, by their medians."""
SLACK = 4e6
"""Bytes it may differ by in any case, as heaps do."""
MOST_LEFT = 200
"""Calls that are left on four connections before there are new ones, as a server may end one that resets too many."""
SETTLED = 20.0
"""Seconds within which what calls and connections held is to be given back when they are over."""
_MOMENT = 0.05

_START = "/yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService/Completion"
_GET = "/yandex.cloud.operation.OperationService/Get"
_TOKENIZE = "/yandex.cloud.ai.foundation_models.v1.TokenizerService/Tokenize"
_INFO = "/emulator.v1.ControlService/Info"
_PACED, _WAITS, _FAILS = "Ключ-потока", "Ключ-ожидания", "Ключ-отказа"


@dataclass(frozen=True)
class Kind:
    """Calls of one kind: their share of a lap in per cent, how they are made, and whether all of them are to fail."""

    name: str
    share: int
    path: str
    requests: Sequence[bytes]
    fails: bool = False
    leave_after: int | None = None
    metadata: tuple[tuple[str, str], ...] = ()


def kinds() -> list[Kind]:
    """All kinds, but for operations, whose requests are known when they have begun."""
    completion = questions.COMPLETION
    tokenize = METHODS[_TOKENIZE].input
    texts = [tokenize(model_uri=questions.MODEL, text=questions.question(n, "")) for n in range(questions.QUESTIONS)]
    paced, waits = questions.requests(_PACED, stream=True), questions.requests(_WAITS)
    return [
        Kind("completions", 38, completion, questions.requests(questions.LAST)),
        Kind("streams", 10, completion, questions.requests(questions.FIRST, stream=True)),
        Kind("streams left in the middle", 6, completion, paced, fails=True, leave_after=2),
        Kind("calls left while they wait", 6, completion, waits, fails=True, leave_after=0),
        Kind("deadlines that pass", 2, completion, waits, fails=True, metadata=(("grpc-timeout", "30m"),)),
        Kind("tokenized", 6, _TOKENIZE, [text.SerializeToString() for text in texts]),
        Kind("embedded", 4, questions.EMBEDDING, questions.texts()),
        Kind("scripted errors", 4, completion, questions.requests(_FAILS), fails=True),
        Kind("refused", 2, completion, [b"", b"\xff\xff", b"\x0a\x03abc"], fails=True),
        Kind("unknown methods", 2, "/no.such.Service/Method", [b"", b"abc"], fails=True),
    ]


OF_OPERATIONS = 20
"""Per cent of a lap: half begins operations, half polls them."""


def fixtures(folder: Path) -> Path:
    """100 rules for ordinary completions, and those for the others before them."""
    path = folder / "soak.yaml"
    own = f"""  - {{name: paced, when: {{question: {{contains: {_PACED}}}}}, reply: {{text: '{questions.REPLY}', stream: {{chunks: 20, every: 20ms}}}}}}
  - {{name: waits, when: {{question: {{contains: {_WAITS}}}}}, reply: {{text: Ждите, delay: 1h}}}}
  - {{name: fails, when: {{question: {{contains: {_FAILS}}}}}, reply: {{error: {{code: UNAVAILABLE, message: нет мест}}}}}}
  - {{name: begun, call: completion_async, when: {{question: {{contains: {questions.FIRST}}}}}, reply: {{text: '{{{{ question | last_word }}}}'}}, operation: {{done_after_polls: 1}}}}
"""  # noqa: E501
    path.write_text("rules:\n" + own + questions.rules(100).partition("\n")[2], encoding="utf-8")
    return path


def measured(run: Run) -> list[Figure]:
    """Memory, descriptors and threads after warming up and at the end; `run.failures` has what did not stay flat."""
    figures = []
    path = fixtures(run.folder)
    for variant in run.variants:
        bounds = ("--max-operations", str(OPERATIONS))
        with servers.emulator(run.folder, path, variant, *bounds) as server:
            figures += _soaked(run, server)
    return figures


@dataclass(frozen=True)
class Held:
    """What a server holds when nothing is under way: bytes of memory, open descriptors, threads, by name as well."""

    resident: int
    descriptors: int
    names: Counter[str]

    @property
    def threads(self) -> int:
        """How many threads there are."""
        return sum(self.names.values())


def _soaked(run: Run, server: Any) -> list[Figure]:
    calls = max(100, run.soak // LAPS)
    made, seconds, after = 0, 0.0, []
    all_kinds = kinds()
    for lap in range(LAPS):
        began = time.perf_counter()
        made += _lap(run, server, all_kinds, calls)
        seconds += time.perf_counter() - began
        after.append(_settled(run, server, after[WARM - 1] if lap >= WARM else None))
        if lap % 4 == 3:
            held = after[-1]
            run.say(
                f"  {server.name}: {made:,} calls, {held.resident / 1e6:.1f} MB, {held.descriptors} descriptors, "
                f"{held.threads} threads"
            )
    return _told(run, server, after[WARM:], made, seconds)


def _told(run: Run, server: Any, after: list[Held], made: int, seconds: float) -> list[Figure]:
    third = len(after) // 3
    first, last = after[:third], after[-third:]
    resident = [statistics.median(held.resident for held in some) for some in (first, last)]
    if resident[1] > max(resident[0] * GROWTH, resident[0] + SLACK):
        run.fail(f"soak: {server.name}: memory grew from {resident[0] / 1e6:.1f} to {resident[1] / 1e6:.1f} MB")

    def least(what: str, new: str = "") -> tuple[float, float]:
        """At the end, and before: one that is on its way out is not counted. `new` names those that came."""
        now, before = (min(getattr(held, what) for held in some) for some in (last, first))
        if now > before:
            run.fail(f"soak: {server.name}: {before} {what} became {now}{new}")
        return now, before

    def figure(row: str, measure: str, unit: str, value: float, before: float, better: str = LESS) -> Figure:
        return Figure("soak", row, server.name, measure, unit, better, (value,), (before,) if before else ())

    row, came = f"{made:,} calls", ", ".join((after[-1].names - after[0].names).elements())
    return [
        figure(row, "resident", "MB", resident[1] / 1e6, resident[0] / 1e6),
        figure(row, "descriptors", "", *least("descriptors")),
        figure(row, "threads", "", *least("threads", f": {came}" if came else "")),
        figure(row, "throughput", "calls/s", made / seconds, 0, MORE),
    ]


def _lap(run: Run, server: Any, all_kinds: Sequence[Kind], calls: int) -> int:
    made = 0
    for kind in all_kinds:
        count = max(1, calls * kind.share // 100)
        made += count
        for n in range(0, count, MOST_LEFT if kind.leave_after is not None else count):
            some = min(MOST_LEFT, count - n) if kind.leave_after is not None else count
            with wire.Client(
                server.target, kind.path, kind.requests, metadata=kind.metadata, leave_after=kind.leave_after
            ) as client:
                outcome = client.run(64, calls=some)
            if kind.fails and outcome.failed < some:
                run.fail(f"soak: {server.name}: of {some:,} {kind.name} not all failed, as they should")
            elif not kind.fails and outcome.failed:
                run.fail(f"soak: {server.name}: {kind.name}: {outcome.failed:,} failed: {dict(outcome.why)}")
    return made + _operations(run, server, max(1, calls * OF_OPERATIONS // 200))


def _operations(run: Run, server: Any, count: int) -> int:
    """Begin and poll them, as many at a time as the emulator keeps."""
    get, made = METHODS[_GET].input, 0
    while made < 2 * count:
        some = min(OPERATIONS, count - made // 2)
        with wire.Client(server.target, _START, questions.requests(questions.FIRST)) as client:
            begun = client.run(64, calls=some, keep=True)
        ids = [Operation.FromString(messages[0]).id for messages in begun.replies if messages]
        requests = [get(operation_id=id_).SerializeToString() for id_ in ids] or [b""]
        with wire.Client(server.target, _GET, requests) as client:
            polled = client.run(64, calls=len(requests), keep=True)
        done = sum(bool(messages) and Operation.FromString(messages[0]).done for messages in polled.replies)
        if done < some:
            run.fail(f"soak: {server.name}: of {some:,} operations {done:,} were begun and done")
        made += 2 * some
    return made


def _settled(run: Run, server: Any, expected: Held | None) -> Held:
    """What is held once no call is under way and no connection is left; what then is too much stays to be seen."""
    until = time.monotonic() + SETTLED
    while True:
        info = METHODS[_INFO].output.FromString(servers.checked(server.target, _INFO, b"")[0])
        time.sleep(_MOMENT)  # the connection that asked has its end behind it
        connected, held = _connections(server), _held(server)
        idle = info.open_calls <= 1  # this one
        if idle and not connected and (expected is None or held.descriptors <= expected.descriptors):
            return held
        if time.monotonic() > until:
            if not idle:
                run.fail(f"soak: {server.name}: {info.open_calls} calls never ended")
            return held


def _held(server: Any) -> Held:
    of = Path(f"/proc/{server.process.pid}")
    names: Counter[str] = Counter()
    for thread in os.listdir(of / "task"):
        with contextlib.suppress(OSError):  # it has ended since
            names[(of / "task" / thread / "comm").read_text().strip()] += 1
    return Held(server.resident(), len(os.listdir(of / "fd")), names)


def _connections(server: Any) -> int:
    """How many connections to its port are established, those that it has not closed yet among them."""
    port = f":{int(server.target.rpartition(':')[2]):04X}"
    table = Path(f"/proc/{server.process.pid}/net/tcp").read_text().splitlines()[1:]
    fields = [line.split() for line in table]
    return sum(of[1].endswith(port) and of[3] in ("01", "08") for of in fields)
