"""From a call to what its service answers, with everything that all calls have in common around it.

Here a call gets its session, its ids and its journal entry; here, and nowhere else, an exception becomes a status; and
here a call is logged, whatever became of it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import aclosing, closing, contextmanager
from typing import Any, TypeVar

from ..api import RequestInfo, RpcStatus, pack
from ..behaviour import RETRY_ATTEMPT
from ..call import QUIET, Answer, Call
from ..calls import CALLS_BY_METHOD
from ..clock import Monotonic, Wall
from ..config import Config
from ..errors import Code, Status
from ..gates import Handler
from ..gates.metadata import CLIENT_ID, Seen
from ..gates.recall import recalled
from ..gates.session import Finder
from ..journal import Entry, masked_reply, masked_request
from ..observe import Observer

log = logging.getLogger("emulator.calls")
defects = logging.getLogger("emulator")
MOST_TRAILER_BYTES = 4096
"""Clients fail with RESOURCE_EXHAUSTED, which SDKs retry, when trailers pass 8 KiB; message and details stay within
half.
"""

LEAST_MESSAGE = 400
"""Bytes that a message keeps before details are left out for it."""

MOST_REQUEST_BYTES = 4 * 1024 * 1024
"""What a gRPC server takes unless told otherwise; only the control API takes more."""

LONGEST_ID = 256
"""Characters of a client's request id that are echoed; gRPC refuses to send what is not printable ASCII."""
_IDS = ("x-request-id", CLIENT_ID)

_CONTROL = "/emulator."
_LET_IN = (_CONTROL, "/grpc.health.v1.Health/Check")
"""Methods that are answered however many calls are under way: a busy emulator is no ill one."""


_T = TypeVar("_T")


class Router:
    """Answers calls by their method. `handlers` is by path; `finder` tells whose a call is, `observer` is told what
    became of it.
    """

    def __init__(
        self,
        finder: Finder,
        handlers: Mapping[str, Handler],
        bounds: Config | None = None,
        observer: Observer | None = None,
    ) -> None:
        self._finder, self._bounds = finder, bounds or Config()
        self._most_reply = self._bounds.max_reply
        self._anybodys = finder.anybodys
        self._seen = Seen()
        self._under_way = 0
        self._record = _Records()
        self._handlers = handlers
        self._observer = observer
        self.services = tuple(sorted({path.split("/")[1] for path in handlers}))

    def answer(self, call: Call) -> Answer:
        """What `call` is answered with, serialized. Raises the Status that it ends with, ready for the wire, if not OK;
        where messages are still to come, so does asking for them.
        """
        began = Monotonic.now()
        refused = self._open(call, began)
        try:
            if refused is not None:
                raise refused
            answer = recalled(call)
            if answer is None:
                answer = (self._handlers.get(call.method) or self._handler(call))(call)
            if not isinstance(answer, bytes):
                if isinstance(answer, Iterator):
                    return self._in_turn(call, answer, began)
                return self._messages(call, answer, began)
            # Most calls come this way. What their code drives out of the processor's caches costs the engine as much
            # again, so it is as little as can be.
            size, entry = len(answer), call.entry
            if size > self._most_reply and not call.method.startswith(_CONTROL):
                raise too_large(size, self._most_reply)
            entry.sent_at = [call.at or call.session.clock.now()]
            entry.bytes_sent = size
            if entry.play is None:
                entry.replies = (answer if call.method in CALLS_BY_METHOD else masked_reply(call.method, answer),)
            entry.code, entry.whole = "OK", True
            call.last = True
        except Exception as failed:
            raise self._answered(call, self._failed(call, failed), began) from None
        return self._answered(call, answer, began)

    def _answered(self, call: Call, outcome: _T, began: float) -> _T:
        """What came of a call that was answered at once."""
        session, entry = call.session, call.entry
        session.used = now = Monotonic.now()
        entry.took = now - began
        if not call.quiet:
            session.answered(entry)
            if self._observer is not None:
                self._observer.closed(call)
        if entry.notes or entry.faults or log.isEnabledFor(logging.DEBUG if call.quiet else logging.INFO):
            self._log(call)
        return outcome

    def _in_turn(self, call: Call, answer: Iterator[bytes], began: float) -> Iterator[bytes]:
        """The messages of an answer that has nothing to wait for but the client."""
        with self._under_way_with(call, began), closing(answer) as messages:  # type: ignore[type-var]
            for message in messages:
                self._sent(call, message)
                yield message

    async def _messages(self, call: Call, answer: AsyncIterator[bytes], began: float) -> AsyncIterator[bytes]:
        with self._under_way_with(call, began):
            async with aclosing(answer) as messages:  # type: ignore[type-var]
                async for message in messages:
                    self._sent(call, message)
                    yield message

    @contextmanager
    def _under_way_with(self, call: Call, began: float) -> Iterator[None]:
        """The messages of a call are asked for meanwhile, and noted is what became of it."""
        session, entry = call.session, call.entry
        told = None if call.quiet else entry
        self._under_way += 1
        task = session.enter(told)
        try:
            yield
            entry.code, entry.whole = "OK", True
        except (asyncio.CancelledError, GeneratorExit):
            late = call.deadline is not None and Monotonic.now() >= call.deadline - 0.01
            entry.code = "DEADLINE_EXCEEDED" if late else "CANCELLED"
            entry.message = "the client's deadline passed" if late else "the client left"
            raise
        except Exception as failed:
            raise self._failed(call, failed) from None
        finally:
            self._under_way -= 1
            session.used = now = Monotonic.now()
            entry.took = now - began
            session.leave(told, task)
            self._tell(call)

    def _sent(self, call: Call, message: bytes) -> None:
        """Note a message of the reply. Raises RESOURCE_EXHAUSTED for one that is too large."""
        size, entry = len(message), call.entry
        if size > self._most_reply and not call.method.startswith(_CONTROL):
            raise too_large(size, self._most_reply)
        at = call.at or call.session.clock.now()
        if entry.sent_at:
            entry.sent_at.append(at)
        else:
            entry.sent_at = [at]
        if size > entry.bytes_sent:
            entry.bytes_sent = size
        if entry.play is None:
            entry.replies = (*entry.replies, masked_reply(call.method, message))

    @staticmethod
    def _failed(call: Call, failed: Exception) -> Status:
        """The status, ready for the wire, of a call that ends with an error."""
        entry = call.entry
        if isinstance(failed, Status):
            status = failed
            entry.code, entry.message, entry.whole = status.code.name, status.message, True
        else:
            entry.code, entry.message = "INTERNAL", f"{type(failed).__name__}: {failed}"
            defects.error("a defect of the emulator, in %s", call.method, exc_info=failed)
            status = Status(Code.INTERNAL, "a defect of the emulator; its log has the traceback")
        return for_wire(status, call)

    def _open(self, call: Call, began: float) -> Status | None:
        """Give `call` its session, ids and entry; the refusal of what goes no further than here."""
        refused = None
        method = call.method
        about = self._seen.of(call.metadata)
        call.first = about.first
        try:
            session = self._finder.default if about.plain and method in self._anybodys else self._finder.find(call)
        except Status as status:
            refused, session = status, self._finder.default
        call.session = session
        size = len(call.request)
        if size > MOST_REQUEST_BYTES and not method.startswith(_CONTROL):
            text = f"Received message larger than max ({size} vs. {MOST_REQUEST_BYTES})"  # as gRPC words it
            refused, call.request = Status(Code.RESOURCE_EXHAUSTED, text), b""
        if self._under_way >= self._bounds.max_streams and not method.startswith(_LET_IN):
            refused = refused or too_many(self._bounds.max_streams)
        quiet = call.quiet = method.startswith(QUIET)
        id_, call.request_id, trace = session.counted(quiet)
        headers = call.headers
        headers.append(("x-request-id", call.request_id))
        headers.append(("x-server-trace-id", trace))
        attempt = ""
        if not about.plain:
            client_id = call.header(CLIENT_ID)
            if client_id is not None and len(client_id) <= LONGEST_ID and _is_printable(client_id):
                headers.append((CLIENT_ID, client_id))
            attempt = call.header(RETRY_ATTEMPT) or ""
        entry = call.entry = Entry(
            id_,
            method,
            "",
            call.request if method in CALLS_BY_METHOD else masked_request(method, call.request),
            about.kept,
            call.peer,
            session.clock.now(),
            request_id=call.request_id,
            deadline=None if call.deadline is None else max(0.0, call.deadline - began),
            metadata_size=about.size,
        )
        if not quiet and (call.deadline is None or attempt or session.habits.failures):
            session.habits.opened(entry, attempt)
        return refused

    def _tell(self, call: Call) -> None:
        """Tell who looks on of a call that has ended."""
        if self._observer is not None and not call.quiet:
            self._observer.closed(call)
        self._log(call)

    def _handler(self, call: Call) -> Handler:
        handler = self._handlers.get(call.method)
        if handler is not None:
            return handler
        raise Status(Code.UNIMPLEMENTED, self._hint(call.method))

    def _hint(self, method: str) -> str:
        service, _, name = method.removeprefix("/").partition("/")
        if service in self.services:
            names = [path.rpartition("/")[2] for path in self._handlers if path.startswith(f"/{service}/")]
            return f"{service} has no method {name or '(none)'}; it has {', '.join(sorted(names))}"
        import difflib

        near = difflib.get_close_matches(service, self.services, 1, 0.5)
        there = (
            f"did you mean {near[0]}?" if near else f"there are {', '.join(s for s in self.services if 'yandex' in s)}"
        )
        return f"no such service: {service}; {there}"

    def _log(self, call: Call) -> None:
        entry = call.entry
        level = logging.DEBUG if call.quiet else logging.INFO
        if log.isEnabledFor(level):
            log.handle(self._record(level, _line(entry, call.session.id), _fields(call)))
            for struck in entry.faults:
                log.log(level, "%s chaos: %s", entry.id, struck)
        for note in entry.notes:
            log.warning("%s %s: %s", entry.id, entry.rule, note)


class _Records:
    """Makes records of the log that differ in time and text alone: the rest is the same for every call, and costs more
    to find out than all else that is done to answer one.
    """

    def __init__(self) -> None:
        self._by_level: dict[int, dict[str, Any]] = {}

    def __call__(self, level: int, line: str, fields: dict[str, Any]) -> logging.LogRecord:
        same = self._by_level.get(level)
        if same is None:
            same = self._by_level[level] = vars(log.makeRecord(log.name, level, __file__, 0, "", (), None))
        record = logging.LogRecord.__new__(logging.LogRecord)
        now = Wall.now()
        more = {"msg": line, "created": now, "msecs": now % 1 * 1000, "fields": fields}
        record.__dict__ = {**same, **more, "relativeCreated": (now - same["created"]) * 1000 + same["relativeCreated"]}
        return record


def _fields(call: Call) -> dict[str, Any]:
    entry = call.entry
    fields = {
        "call": entry.id,
        "session": call.session.id,
        "method": call.method,
        "rule": entry.rule,
        "status": entry.code,
        "ms": round(entry.took * 1000, 1),
        "messages": entry.sent,
        "request_id": call.request_id,
    }
    if entry.faults:
        fields["chaos"] = "; ".join(entry.faults)
    if entry.message:
        fields["message"] = fitting(entry.message, MOST_TRAILER_BYTES)
    return fields


def _line(entry: Entry, session: str) -> str:
    whose = f"{session} " if session else ""
    method = entry.method.rpartition(".")[2]
    rule = f" rule={entry.rule}" if entry.rule else ""
    why = f" {fitting(entry.message, MOST_TRAILER_BYTES)}" if entry.message else ""
    return f"{whose}{entry.id} {method}{rule} {entry.code} {entry.took * 1000:.1f}ms{why}"


def _is_printable(text: str) -> bool:
    return text.isascii() and text.isprintable()


def too_many(most: int) -> Status:
    """Why a call is refused that comes while `most` are under way."""
    text = f"{most} calls are under way; let some end, or start the emulator with a higher --max-streams"
    return Status(Code.RESOURCE_EXHAUSTED, text)


def too_large(size: int, most: int) -> Status:
    """Why a message of a reply is not sent."""
    text = f"a message of the reply has {size} bytes, and {most} are sent at most; shorten it, or start the emulator"
    return Status(Code.RESOURCE_EXHAUSTED, f"{text} with a higher --max-reply (clients take 4 MiB by default)")


def for_wire(status: Status, call: Call) -> Status:
    """`status` as it travels: with RequestInfo among its details, and message and details within 4 KiB."""
    scripted = {**dict(call.trailers), **status.trailers}
    most = MOST_TRAILER_BYTES - sum(len(key) + len(value) + 32 for key, value in scripted.items())
    request_id = dict(call.headers).get("x-request-id", call.request_id)
    details = [pack(RequestInfo(request_id=request_id)), *(pack(detail) for detail in status.details)]
    room = most
    while True:  # the message is in both places, and clients expect the two to be the same
        message = fitting(status.message, room)
        raw = RpcStatus(code=int(status.code), message=message, details=details).SerializeToString(deterministic=True)
        over = _encoded(message) + _base64(raw) - most
        if over <= 0 or (room <= 0 and len(details) == 1):
            break
        if room <= LEAST_MESSAGE and len(details) > 1:
            details.pop()
            room = most
        else:
            least = LEAST_MESSAGE if len(details) > 1 else 0
            room = max(min(room, _encoded(message)) - max(over // 2, 1), least)
    # Clients drop the headers of a stream that fails before its first message, so the ids are in the trailers as well.
    ids = {key: value for key, value in call.headers if key in _IDS}
    trailers = {**ids, **scripted, "grpc-status-details-bin": raw}
    return Status(status.code, message, details=status.details, trailers=trailers)


def _base64(raw: bytes) -> int:
    """Bytes of `raw` as binary metadata."""
    return -(-len(raw) // 3) * 4


def _encoded(text: str) -> int:
    """Bytes of `text` as `grpc-message`: what is not printable ASCII becomes %XX."""
    return sum(1 if 0x20 <= byte <= 0x7E and byte != 0x25 else 3 for byte in text.encode("utf-8", "replace"))


def fitting(text: str, room: int) -> str:
    """`text`, cut so that it takes at most `room` bytes on the wire."""
    if len(text) <= room and _encoded(text) <= room:
        return text
    kept, used = [], _encoded("…")
    for character in text:
        used += _encoded(character)
        if used > room:
            break
        kept.append(character)
    return "".join(kept) + "…"
