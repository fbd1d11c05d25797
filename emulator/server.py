"""The composition root: what an emulator is made of, its listeners, health and shutdown. Reads top-down.

`Emulator` is also the Python API: `with Emulator(...) as e:` runs it in a background thread, `async with` in the
caller's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import threading
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec

from .addresses import reachable
from .call import Call
from .clock import SECOND, Clock, Monotonic
from .config import OPTIONS, Config, from_values
from .engine.book import Book, load
from .errors import Code, Status, UsageError
from .gates import Handler, auth, checking, fault, guarded, idempotency, quota, reading, validation
from .gates.access import Access
from .gates.session import Finder
from .http.listener import EXTRA, Listener, available
from .loops import new_loop
from .observe import Observer, Several, needs
from .services import (
    classification,
    completion,
    embeddings,
    endpoint,
    generation,
    late,
    operation,
    reflection,
    tokenizer,
)
from .services.health import Health
from .services.router import Router
from .sessions import Sessions, Shared
from .steering import Place, Steering
from .transport.engines import Server, engine

if TYPE_CHECKING:
    from .observe.metrics import Metrics
    from .observe.traces import Traces
    from .transport.secured import Secured

log = logging.getLogger("emulator")
_LISTENERS = ("host", "port", "engine", "http_port", "tls", "tls_port", "tls_dir", "tls_cert", "tls_key", "tls_name")
_OF_THE_PLACE = (*_LISTENERS, "metrics", "otel")
_OTLP = "opentelemetry.exporter.otlp.proto.http.trace_exporter"
GRACE = 5.0
"""Seconds that calls under way are given when the server stops; docker allows ten in all."""


class Emulator(Steering):
    """A local emulator of the Foundation Models gRPC API.

    `fixtures` is a path, a mapping of what a file would hold, or a list of either; the other options are those of
    `fm-emulator serve`, by name (`seed`, `strict`, `lenient`, `speed`, `now`, `advertise`, `host`). `port` is a free
    one unless given. What it can be asked and told while it serves is in `Steering`.

        with Emulator(fixtures="fixtures/") as e:
            sdk = AIStudio(folder_id="b1g", auth="key", endpoint=e.target, verify=False)

    Raises FixtureError with every mistake in the fixtures and UsageError for options, both before anything listens.
    """

    def __init__(self, fixtures: Any = (), **options: Any) -> None:
        for name in (name for name, one in OPTIONS.items() if one.serve_only and name in options):
            raise UsageError(f"{name}: only `fm-emulator serve` has it; leave it out")
        self._set_up(from_values({"port": 0, "fixtures": fixtures, **options}))

    @classmethod
    def of(cls, config: Config) -> Emulator:
        """An emulator of a whole `Config`, which is taken as it is."""
        emulator = cls.__new__(cls)
        emulator._set_up(config)
        return emulator

    def _set_up(self, config: Config) -> None:
        self.config = config
        self.sessions = Sessions(Shared(load(self.config.fixtures)), self.config)
        self.place = Place()
        self._steer(self.sessions.default, self.place, lambda: self.target)
        self._started = Clock().now()
        self._serving = Monotonic.now()
        self.port = self.http_port = self.tls_port = 0
        self._tls: Secured | None = None
        self._health: Health
        self._router: Router
        self._server: Server | None = None
        self._http: Listener | None = None
        self._thread: _Thread | None = None
        self._metrics: Metrics | None = None
        self._traces: Traces | None = None
        if config.metrics:
            needs("metrics", "prometheus-client with aiohttp", "prometheus_client", "aiohttp")
            from .observe.metrics import Metrics

            self._metrics = Metrics()

    @property
    def book(self) -> Book:
        """The rules of the fixtures, which all sessions share."""
        return self.sessions.shared.book

    def session(self, name: str) -> Steering:
        """The same for another session, which begins now if it hasn't; calls name it in `x-emulator-session`.

        Raises UsageError for what is no name, and where there are too many.
        """
        steering = Steering()
        try:
            session = self.place.do(lambda: self.sessions.named(Finder.checked(name)))
        except Status as refused:
            raise UsageError(refused.message) from None
        steering._steer(session, self.place, lambda: self.target)
        return steering

    @property
    def target(self) -> str:
        """Where it serves, `127.0.0.1:50051`, for a channel or the SDK's `endpoint`."""
        if not self.port:
            raise RuntimeError("the emulator does not serve yet; enter it with `with` or `async with` first")
        return reachable(self.config.host, self.port)

    @property
    def http_target(self) -> str | None:
        """Where it serves HTTP, `127.0.0.1:50052`, for the URLs that DatasetService tells; None where aiohttp is
        missing.
        """
        return reachable(self.config.host, self.http_port) if self.target and self.http_port else None

    @property
    def tls_target(self) -> str | None:
        """Where it serves with TLS, `127.0.0.1:50053`; None where it doesn't."""
        return reachable(self.config.host, self.tls_port) if self.target and self.tls_port else None

    @property
    def ca(self) -> Path | None:
        """The file, in PEM, that clients have to trust; None without TLS, or for a given certificate of another CA."""
        return self._tls.identity.ca if self._tls is not None else None

    async def start(self) -> None:
        """Listen and serve, in the running loop. Raises UsageError if a port is taken or a certificate won't do."""
        if self._server is not None:
            raise RuntimeError("this emulator serves already; make another one to serve twice")
        self._health = Health()
        if self.config.otel:
            needs("otel", "OpenTelemetry's SDK with its exporter", "opentelemetry.sdk.trace", _OTLP)
            from .observe.traces import Traces

            self._traces = Traces()
        self.sessions.open()
        self.place.moved(asyncio.get_running_loop(), self._thread.ident if self._thread is not None else None)
        router = self._router = self._routed()
        make = engine(self.config.engine)
        server = make(lambda call: self._router.answer(call), router.services, lambda: self.sessions.shared.pausing)
        http = self._listening() if available() else None
        try:
            port = server.bind(self.config.host, self.config.port)
            if self.config.tls:
                from .transport.secured import Secured

                self._tls = Secured(self.config)
                self.tls_port = self._tls.bind(server)
            self._health.serve(router.services)
            self.port = port  # discovery tells it from the first call on
            await server.start()
            self._serving = Monotonic.now()
        except BaseException:
            self._gone()
            await self._untraced()
            await server.stop(0)
            if http is not None:
                await http.stop(0)
            raise
        if http is not None:
            http.start()
        self._http, self._server = http, server

    def _listening(self) -> Listener:
        def application(under_way: set[asyncio.Task[Any]]) -> Any:
            from .http.app import application

            exposed = self._exposed if self._metrics is not None else None
            return application(lambda: self.sessions, under_way, exposed, self.config.token)

        http, config = Listener(application), self.config
        free = 0 if config.port == 0 else None
        self.http_port = http.bind(config.host, free if config.http_port is None else config.http_port)
        return http

    async def _exposed(self, accept: str) -> tuple[bytes, str]:
        exposition = await asyncio.to_thread(import_module, f"{__package__}.observe.exposition")
        told: tuple[bytes, str] = await exposition.exposed(self._metrics, self.sessions, accept)
        return told

    def _address(self, call: Call) -> str:
        """HOST:PORT at which who makes `call` reaches us, in the same way."""
        config = self.config
        if not call.secure:
            return endpoint.address_for(call.peer, config.host, self.port, config.advertise)
        told = config.advertise_tls
        if told is None and config.advertise is not None:
            told = f"{config.advertise.rpartition(':')[0]}:{self.tls_port}"
        return endpoint.address_for(call.peer, config.host, self.tls_port, told)

    def _web(self, peer: str) -> str:
        """Where `peer` reaches HTTP. Raises FAILED_PRECONDITION where it isn't served."""
        if not self.http_port:
            raise Status(
                Code.FAILED_PRECONDITION,
                f"datasets are uploaded and downloaded over HTTP, which needs aiohttp: pip install '{EXTRA}'",
            )
        config = self.config
        return f"http://{endpoint.address_for(peer, config.host, self.http_port, config.advertise_http)}"

    async def stop(self, grace: float = GRACE) -> None:
        """Say NOT_SERVING, end who waits for ever, let calls finish for `grace` real seconds, then end them."""
        server, self._server = self._server, None
        if server is None:
            return
        http, self._http = self._http, None
        self._health.shut_down()
        self.sessions.close()
        await asyncio.gather(server.stop(grace), *([http.stop(grace)] if http is not None else []))
        ending = self.sessions.clear()
        if ending:
            await asyncio.wait(ending)
        self.place.moved(None, None)
        await self._untraced()
        self._gone()

    async def _untraced(self) -> None:
        """Send what spans are left, and end the thread that does."""
        traces, self._traces = self._traces, None
        if traces is not None:
            await asyncio.to_thread(traces.close)

    def _gone(self) -> None:
        self.port = self.http_port = self.tls_port = 0
        tls, self._tls = self._tls, None
        if tls is not None:
            tls.close()

    def renew(self, config: Config, book: Book | None = None) -> None:
        """Begin again in the same place: sessions, rules, counters, journals, operations and clocks are new ones.

        `config` says how, but for host, ports and certificates; `book` are its fixtures, if they are loaded already.
        Calls under way stay where they began, and get CANCELLED, which nobody retries, if they wait there for long.
        Raises FixtureError.
        """
        kept = {name: getattr(self.config, name) for name in _OF_THE_PLACE}
        config = config.altered(**kept)
        sessions = Sessions(Shared(load(config.fixtures) if book is None else book), config)

        def work() -> None:
            before, self.sessions, self.config = self.sessions, sessions, config
            self._steer(sessions.default, self.place, lambda: self.target)
            if self._server is not None:
                self._router = self._routed()
            before.end("the emulator began again")

        self.place.do(work)

    def _routed(self) -> Router:
        validating = () if self.config.lenient else (checking(validation.check),)
        remembering = idempotency.remembering(completion.performed)
        gates = (reading, *validating, checking(auth.check), quota.gate, remembering, fault.gate)
        access = Access(self.config.loopback_only, self.config.token)
        handlers = {
            **guarded({**completion.handlers(), **generation.handlers(), **operation.handlers()}, gates),
            **guarded({**tokenizer.handlers(), **embeddings.handlers(), **classification.handlers()}, gates),
            **guarded(self._batch_services(), gates),
            **endpoint.handlers(self._address),
            **self._health.handlers(),
            **reflection.handlers(lambda: router.services),
            **self._steering_services(access, lambda: self._about(router)),
        }
        finder = Finder(self.sessions, access, self.config.session_from == "api-key")
        router = Router(finder, handlers, self.config, self._observer())
        return router

    def _batch_services(self) -> Mapping[str, Handler]:
        def datasets() -> Mapping[str, Handler]:
            from .services import dataset

            return dataset.handlers(self._web)

        def batches() -> Mapping[str, Handler]:
            from .services import batch

            return batch.handlers()

        def tasks() -> Mapping[str, Handler]:
            from .services import batch_inference

            return batch_inference.handlers()

        return {
            **late("yandex.cloud.ai.dataset.v1.DatasetService", datasets),
            **late("yandex.cloud.ai.foundation_models.v1.TextGenerationBatchService", batches),
            **late("yandex.cloud.ai.batch_inference.v1.BatchInferenceService", tasks),
        }

    def _steering_services(self, access: Access, about: Callable[[], Mapping[str, Any]]) -> Mapping[str, Handler]:
        sessions = self.sessions

        def tokens() -> Mapping[str, Handler]:
            from .services import iam_token

            return iam_token.handlers()

        def control() -> Mapping[str, Handler]:
            from .control import Control

            return Control(sessions, access, about).handlers()

        return {
            **late("yandex.cloud.iam.v1.IamTokenService", tokens),
            **late("emulator.v1.ControlService", control),
        }

    def _observer(self) -> Observer | None:
        """Who is told of calls; None where nobody wants to know."""
        found: list[Observer] = [one for one in (self._metrics, self._traces) if one is not None]
        return Several(found) if len(found) > 1 else next(iter(found), None)

    def _about(self, router: Router) -> Mapping[str, Any]:
        from .control import span, timestamp

        http = self.http_target or ""
        return {
            "target": self.target,
            "http_target": http,
            "tls_target": self.tls_target or "",
            "engine": self.config.engine,
            "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
            "services": router.services,
            "started_at": timestamp(self._started),
            "uptime": span(int((Monotonic.now() - self._serving) * SECOND)),
        }

    # -- in the caller's loop

    async def __aenter__(self) -> Emulator:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop(0 if kind is not None else GRACE)

    # -- in a thread of its own

    def __enter__(self) -> Emulator:
        if self._thread is not None:
            raise RuntimeError("this emulator serves already; make another one to serve twice")
        self._thread = thread = _Thread(self)
        try:
            thread.run()
        except BaseException:
            self._thread = None
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.end(0 if kind is not None else GRACE)


class _Thread:
    """A background thread with a loop of its own in which an emulator serves."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self._loop = new_loop()
        self._thread = threading.Thread(target=self._serve, name="fm-emulator", daemon=True)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.set_exception_handler(quiet)
        self._loop.run_forever()
        self._loop.run_until_complete(_ended(asyncio.all_tasks(self._loop)))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    @property
    def ident(self) -> int | None:
        """The thread's identity once it runs."""
        return self._thread.ident

    def run(self) -> None:
        logging.getLogger("asyncio").addFilter(no_poller_noise)
        self._thread.start()
        try:
            asyncio.run_coroutine_threadsafe(self._emulator.start(), self._loop).result()
        except BaseException:
            self._finish()
            raise

    def end(self, grace: float) -> None:
        try:
            asyncio.run_coroutine_threadsafe(self._emulator.stop(grace), self._loop).result()
        finally:
            self._finish()

    def _finish(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


async def _ended(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel what is left, such as connections that were kept alive, and let it end, as `asyncio.run` does."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=1)


def quiet(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Several loops in one process share gRPC's one poller, and the slower one finds its pipe read already: no
    error.
    """
    if isinstance(context.get("exception"), BlockingIOError):
        return
    loop.default_exception_handler(context)


def no_poller_noise(record: logging.LogRecord) -> bool:
    """The same for the loops of the program that embeds us, which log what `quiet` drops in ours."""
    return not isinstance(record.exc_info, tuple) or not isinstance(record.exc_info[1], BlockingIOError)


def places(emulator: Emulator) -> dict[str, Any]:
    """Where it serves, what clients with TLS have to trust, and its process."""
    ca = str(emulator.ca) if emulator.ca is not None else None
    targets = {"grpc": emulator.target, "http": emulator.http_target, "tls": emulator.tls_target}
    return {**targets, "ca": ca, "pid": os.getpid()}


def write_ready_file(path: str, emulator: Emulator) -> None:
    """Tell where the emulator serves, as JSON, in one step so that no reader sees half of it."""
    text = msgspec.json.encode(places(emulator)).decode() + "\n"
    temporary = Path(f"{path}.{os.getpid()}.new")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
