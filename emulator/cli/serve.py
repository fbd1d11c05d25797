"""`fm-emulator serve`: run until told to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
from pathlib import Path
from typing import Any

import click

from ..config import Config, from_values
from ..engine.reach import warnings
from ..errors import UsageError
from ..server import Emulator, quiet, write_ready_file
from . import options_of
from .logs import set_up

log = logging.getLogger("emulator")


@click.command("serve")
@options_of()
def command(**values: Any) -> None:
    """Serve the emulated API until SIGTERM or SIGINT; a second one ends it at once."""
    config = from_values(values)
    set_up(config.log_level, config.log_format)
    emulator = Emulator.of(config)
    for warning in warnings(emulator.book):
        log.warning("%s", warning)
    asyncio.run(_serve(emulator, config))


async def _serve(emulator: Emulator, config: Config) -> None:
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
    gc.freeze()
    gc.enable()
    ready = False
    try:
        if config.ready_file is not None:
            _tell_ready(config.ready_file, emulator)
            ready = True
        _announce(emulator, config)
        await told.wait()
        log.info("stopping: calls under way are given a few seconds")
        _tell_unmet(emulator)
    finally:
        await emulator.stop()
        if ready:
            _tell_gone(config.ready_file or "")


def _tell_ready(path: str, emulator: Emulator) -> None:
    try:
        write_ready_file(path, emulator.target)
    except OSError as failed:
        raise UsageError(f"ready-file: {path} can't be written: {failed.strerror}") from None


def _tell_gone(path: str) -> None:
    """Take the ready file away, which would go on telling of a server that is gone; another server's stays."""
    try:
        if json.loads(Path(path).read_bytes())["pid"] == os.getpid():
            Path(path).unlink()
    except (OSError, ValueError, KeyError, TypeError):
        log.debug("the ready file %s is gone already, or another's", path)


def _announce(emulator: Emulator, config: Config) -> None:
    n = len(emulator.book.rules)
    rules = f"{n} rule{'s' if n != 1 else ''}" if emulator.book.files else "no fixtures, default replies"
    target = config.advertise or f"localhost:{emulator.port}"
    log.info(
        'serving on %s (%s); AIStudio(folder_id="b1gtest", auth="key", endpoint="%s", verify=False)',
        emulator.target,
        rules,
        target,
    )
    if not config.loopback_only and config.advertise is None:
        log.info(
            "endpoint discovery tells callers an address worked out from theirs; where the port is published under "
            "another number, set FM_EMULATOR_ADVERTISE=HOST:PORT"
        )


def _tell_unmet(emulator: Emulator) -> None:
    """What rules expected and did not get; verification proper is the test's business."""
    chosen = emulator.session.state.chosen
    for rule in emulator.book.rules:
        expect, n = rule.expect, chosen.get(rule.identity, 0)
        if expect is None:
            continue
        low = expect.exactly if expect.exactly is not None else expect.at_least or 0
        high = expect.exactly if expect.exactly is not None else expect.at_most
        if n < low or (high is not None and n > high):
            log.warning("%s: was chosen %d times; expected %s", rule.label, n, _wording(low, high))


def _wording(low: int, high: int | None) -> str:
    if high is None:
        return f"at least {low}"
    return f"exactly {low}" if low == high else f"{low} to {high}"
