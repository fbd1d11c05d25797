"""A whole emulator but for its sockets: calls go to its router, and everything that can be seen of them is told."""

from __future__ import annotations

import asyncio
from typing import Any

import emulator.control
import emulator.services.batch
import emulator.services.dataset
import emulator.services.iam_token  # noqa: F401 - a first call would import them from deep within hypothesis
from emulator import Emulator
from emulator.api import METHODS
from emulator.call import Call, messages_of
from emulator.errors import Status
from emulator.journal import _came
from emulator.services.health import Health
from emulator.sessions import Session
from emulator.snapshots import restored, taken

Told = tuple[Any, ...]


class Served:
    """An emulator in `loop`, which a test runs."""

    def __init__(self, loop: asyncio.AbstractEventLoop, fixtures: Any, **options: Any) -> None:
        self.loop = loop
        self.emulator = Emulator(fixtures, frozen=True, **options)
        self.emulator._health = Health()
        self.router = self.emulator._routed()

    def session(self, name: str) -> Session:
        return self.emulator.sessions.named(name)

    def begin(self, session: str, method: str, request: Any, **metadata: str) -> asyncio.Task[Told]:
        """The call under way: it has run until it waits for the clock, or is over."""
        given = {"x-emulator-session": session, **{key.replace("_", "-"): text for key, text in metadata.items()}}
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        task = self.loop.create_task(self._answered(Call(method, raw, tuple(given.items()), "ipv4:127.0.0.1:4")))
        clock = self.session(session).clock
        self.loop.run_until_complete(asyncio.sleep(0))
        while not task.done() and clock._running > 0:
            self.loop.run_until_complete(asyncio.sleep(0))
        return task

    async def _answered(self, call: Call) -> Told:
        messages: list[bytes] = []
        status: Status | None = None
        try:
            answer = self.router.answer(call)
            async for message in messages_of(call, answer):
                messages.append(message)  # noqa: PERF401 - what came before an error is kept
        except Status as failed:
            status = failed
        ended = (
            ("OK", "", [], {})
            if status is None
            else (status.code.name, status.message, status.details, status.trailers)
        )
        entry = call.entry
        kept = (
            entry.id,
            entry.rule,
            entry.code,
            entry.began,
            tuple(entry.sent_at),
            tuple(entry.faults),
            entry.operation_id,
        )
        return (tuple(messages), ended[0], ended[1], dict(ended[3]), call.headers, call.trailers, call.dropped, kept)

    def advance(self, session: str, by: int) -> None:
        """Move its clock on, through every wait."""
        clock = self.session(session).clock
        assert self.loop.run_until_complete(clock.advance(by, patience=60)) == 0

    def ask(self, session: str, name: str, **fields: Any) -> Told:
        """Ask the control API."""
        method = f"/emulator.v1.ControlService/{name}"
        request = METHODS[method].input(**fields)
        call = Call(method, request.SerializeToString(), (("x-emulator-session", session),), "ipv4:127.0.0.1:4")
        return self.loop.run_until_complete(self._answered(call))[:3]

    def snapshot(self, session: str) -> bytes:
        return self.loop.run_until_complete(taken(self.session(session)))

    def restore(self, session: str, snapshot: bytes) -> None:
        restored(self.session(session), snapshot)

    def close(self) -> None:
        """Let go of everything, whoever waits included."""
        self.emulator.sessions.close()
        self.emulator.sessions.clear()
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left))


def check_accounts(session: Session) -> None:
    """What a session has counted is what it holds."""
    journal = session.journal
    finished = {entry.id: size for entry, size in journal._finished}
    assert journal.bytes == sum(finished.get(entry.id) or _came(entry) for entry in journal)
    assert set(finished) <= {entry.id for entry in journal}
    memory = session.idempotency
    assert memory._bytes == sum(512 + reply.size for reply in memory._replies.values())
    assert session.quotas._counted == sum(map(len, session.quotas._came.values()))
    operations = session.operations
    replies = {r.reply for r in operations._records.values() if isinstance(r.reply, bytes) and len(r.reply) >= 4096}
    assert operations._replies == sum(map(len, replies))
    assert session.clock._running == session.open_calls - session.clock.sleepers
