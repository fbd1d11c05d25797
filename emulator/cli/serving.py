"""To serve until told to stop: signals, logs, the ready file, what is announced."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from ..config import Config
from ..engine.book import Book, load
from ..errors import FixtureError, UsageError
from ..folders import any_left, sweep
from ..loops import run as run_in_loop
from ..server import Emulator, places, quiet, write_ready_file
from .logs import set_up

if TYPE_CHECKING:
    from ..reload import Look, Watched

log = logging.getLogger("emulator")


def run(config: Config) -> None:
    """Serve until SIGTERM or SIGINT; a second one ends the process at once. Raises FixtureError and UsageError."""
    set_up(config.log_level, config.log_format)
    if config.fixtures:
        from .unread import import_yaml

        import_yaml()
    try:
        followed = _followed(config)
        emulator = Emulator.of(config)
        if emulator.book.rules:
            from ..engine.reach import warnings

            for warning in warnings(emulator.book):
                log.warning("%s", warning, extra={"event": "warning"})
        run_in_loop(_serve(emulator, config, followed))
    except (FixtureError, UsageError) as failed:
        if config.log_format != "json":
            raise
        for mistake in failed.mistakes if isinstance(failed, FixtureError) else (failed,):
            log.error("%s", mistake, extra={"event": "mistake"})
        raise SystemExit(1) from None


def _followed(config: Config) -> tuple[Watched, Look] | None:
    """What `--watch` follows, as it is before it is loaded, so that no change is missed."""
    if not config.watch:
        return None
    if not config.fixtures:
        raise UsageError("watch: there are no fixtures to follow; name them with --fixtures")
    from ..reload import Watched

    watched = Watched([Path(path) for path in config.fixtures])
    return watched, watched.look()


async def _serve(emulator: Emulator, config: Config, followed: tuple[Watched, Look] | None) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(quiet)
    told = asyncio.Event()

    def stop(number: int) -> None:
        if told.is_set():
            os._exit(128 + number)
        told.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        try:
            loop.add_signal_handler(number, stop, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda n, _: loop.call_soon_threadsafe(stop, n))
    await emulator.start()
    if config.engine != "native":
        from ..transport.grpc_aio import yield_to_loop

        yield_to_loop()
    gc.freeze()
    gc.enable()
    ready = False
    try:
        if config.ready_file is not None:
            _tell_ready(config.ready_file, emulator)
            ready = True
        _announce(emulator, config)
        for left in await asyncio.to_thread(sweep) if any_left() else ():
            log.info("took away %s, which an emulator that was killed had left", left, extra={"event": "swept"})
        if followed is None:
            await told.wait()
        else:
            await _follow(emulator, config, followed, told)
        log.info("stopping: calls under way are given a few seconds", extra={"event": "stopping"})
        _tell_unmet(emulator)
    finally:
        await emulator.stop()
        log.info("stopped", extra={"event": "stopped"})
        if ready:
            _tell_gone(config.ready_file or "")


async def _follow(emulator: Emulator, config: Config, followed: tuple[Watched, Look], told: asyncio.Event) -> None:
    """Load the fixtures anew whenever they change, until `told` is set."""
    from ..reload import follow

    shared = emulator.sessions.shared

    def swap(book: Book) -> None:
        shared.book = book

    def failed(why: str) -> None:
        shared.error = why

    watched, before = followed
    await follow(watched.paths, lambda: load(config.fixtures), swap, failed, told, since=before)


def _tell_ready(path: str, emulator: Emulator) -> None:
    try:
        write_ready_file(path, emulator)
    except OSError as failed:
        raise UsageError(f"ready-file: {path} can't be written: {failed.strerror}") from None


def _tell_gone(path: str) -> None:
    """Take the ready file away, which would go on telling of a server that is gone; another server's stays."""
    import json

    try:
        if json.loads(Path(path).read_bytes())["pid"] == os.getpid():
            Path(path).unlink()
    except (OSError, ValueError, KeyError, TypeError):
        log.debug("the ready file %s is gone already, or another's", path)


def _announce(emulator: Emulator, config: Config) -> None:
    n = len(emulator.book.rules)
    rules = f"{n} rule{'s' if n != 1 else ''}" if emulator.book.files else "no fixtures, default replies"
    target = config.advertise or f"localhost:{emulator.port}"
    http = f", HTTP on {emulator.http_target}" if emulator.http_target is not None else ""
    log.info(
        'serving on %s%s (%s); AIStudio(folder_id="b1gtest", auth="key", endpoint="%s", verify=False)',
        emulator.target,
        http,
        rules,
        target,
        extra={"event": "serving", "fields": {**places(emulator), "rules": n}},
    )
    if emulator.config.metrics:
        log.info("metrics on http://%s/metrics", emulator.http_target)
    if emulator.tls_port:
        _announce_tls(emulator, config)
    if not emulator.sessions.default.auth.open:
        log.info("calls have to show a credential: %s", _who_is_known(emulator))
    if not config.loopback_only and config.advertise is None:
        log.info(
            "endpoint discovery tells callers an address worked out from theirs; where the port is published under "
            "another number, set FM_EMULATOR_ADVERTISE=HOST:PORT, and FM_EMULATOR_ADVERTISE_HTTP for that of HTTP"
        )


def _announce_tls(emulator: Emulator, config: Config) -> None:
    import shlex

    target = config.advertise_tls or f"localhost:{emulator.tls_port}"
    roots = f" GRPC_DEFAULT_SSL_ROOTS_FILE_PATH={shlex.quote(str(emulator.ca))}" if emulator.ca is not None else ""
    log.info(
        "TLS on %s; for clients as they are, in their environment: YC_API_ENDPOINT=%s%s",
        emulator.tls_target,
        target,
        roots,
    )


def _who_is_known(emulator: Emulator) -> str:
    auth = emulator.sessions.default.auth
    known = {
        "API key": len({*auth.api_keys, *emulator.config.api_key}),
        "IAM token": len(auth.iam_tokens),
        "OAuth token": len(auth.oauth_tokens),
        "service account": len(auth.accounts),
    }
    told = [f"{n} {what}{'s' if n > 1 else ''}" for what, n in known.items() if n]
    return f"{', '.join(told)} listed" if told else "any that is well-formed"


def _tell_unmet(emulator: Emulator) -> None:
    """What rules expected and did not get; verification proper is the test's business."""
    from ..engine.verify import unmet

    for session in emulator.sessions:
        for problem in unmet(session.book, session.state):
            log.warning("%s", problem.text, extra={"event": "warning"})
