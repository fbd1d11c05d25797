"""`parts`: where the emulator's own part of a call goes, in one process and without a socket."""

from __future__ import annotations

import itertools
import statistics
import time
from collections.abc import Callable

from emulator import Emulator
from emulator.call import Call, parsed
from emulator.engine.choose import choose
from emulator.engine.lasting import Kept
from emulator.gates import validation
from emulator.journal import Entry, masked
from emulator.replies import tokens
from emulator.rules.subject import Subject
from emulator.services.health import Health

from . import questions
from .results import LESS, Figure
from .run import Run

CALLS = 2_000
METADATA = (
    ("authorization", "Api-Key AQVN0123456789"),
    ("x-client-request-id", "0b0e0c0a-0000-4000-8000-000000000000"),
    ("user-agent", "grpc-python-asyncio/1.85.0 grpc-c/50.0.0 (linux; chttp2)"),
)


def measured(run: Run) -> list[Figure]:
    """us of processor time for a completion that the last of 100 rules answers, all of it and by its larger parts."""
    again, emulator = (Emulator(str(questions.fixture(run.folder, 100))) for _ in range(2))
    emulator.sessions.shared.kept = Kept(most=0)  # each question is new
    for one in (again, emulator):
        one._health = Health()
        one.sessions.open()
    router, session = emulator._routed(), emulator.sessions.default
    requests = itertools.cycle(questions.requests(questions.LAST))
    numbers = itertools.count(1)

    def call() -> Call:
        return Call(questions.COMPLETION, next(requests), METADATA, "ipv4:127.0.0.1:40000", time.monotonic() + 60)

    def asked() -> Call:
        made = call()
        parsed(made)
        made.session = session
        return made

    def checked() -> Call:
        made = asked()
        validation.check(made)
        return made

    def subject(made: Call) -> Subject:
        return Subject("completion", parsed(made), made.request, made.metadata, session.state.scenario, made.said)

    def noted(made: Call) -> None:
        n = next(numbers)
        entry = Entry(f"p{n}", made.method, "completion", made.request, masked(made.metadata), made.peer, 0)
        _, entry.request_id, _ = session.counted(False)
        entry.code, entry.replies = "OK", [made.request[:343]]
        session.answered(entry)

    def counted(made: Call) -> None:
        tokens.said_tokens(made.said or ())

    def chosen(made: Call) -> None:
        play, _ = choose(session.book, session.state, subject(made), session.seed)
        play.final().SerializeToString(deterministic=True)

    parts: dict[str, tuple[Callable[[], Call], Callable[[Call], object]]] = {
        "all of it": (call, router.answer),
        "all of it, for a question that was asked before": (call, again._routed().answer),
        "the request, parsed": (call, parsed),
        "the request, read and held against what the service takes": (asked, validation.check),
        "tokens of the prompt, counted": (checked, counted),
        "the rule, chosen, and its reply, made, tokens included": (checked, chosen),
        "ids and the journal": (call, noted),
    }
    return [
        Figure("parts", row, "emulator", "cpu", "us/call", LESS, tuple(_timed(*part) for _ in range(run.times(9))))
        for row, part in parts.items()
    ]


def _timed(make: Callable[[], Call], work: Callable[[Call], object]) -> float:
    """us that `work` takes of a call, at the median of twenty stretches."""
    stretches = []
    for _ in range(20):
        calls = [make() for _ in range(CALLS // 20)]
        began = time.process_time_ns()
        for call in calls:
            work(call)
        stretches.append((time.process_time_ns() - began) / len(calls) / 1000)
    return statistics.median(stretches)
