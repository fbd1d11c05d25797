"""`fm-emulator exec`: run a program as it is, with the emulator in place of the cloud."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from typing import Any

import click

from ..behind import Behind
from ..config import ENVIRONMENT_PREFIX, LOG_LEVELS, Config, from_values
from ..server import Emulator, quiet
from .commands import options_of
from .logs import set_up, silence

OPTIONS = (
    *("fixtures", "tls_dir", "seed", "speed", "now", "strict", "lenient", "quotas", "chaos", "immediate"),
    *("frozen", "token", "session_from", "require_auth", "api_key", "log_format"),
)
NOT_FOUND, NOT_RUN = 127, 126
"""What shells exit with for a program that isn't there, and one that can't be run."""

_PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")


@click.command("exec", context_settings={"allow_interspersed_args": False})
@options_of(*OPTIONS)
@click.option("--allow", multiple=True, metavar="HOST", help="A host outside, or a glob of hosts, that is let through.")
@click.option(
    "--log-level",
    type=click.Choice(LOG_LEVELS),
    envvar=f"{ENVIRONMENT_PREFIX}LOG_LEVEL",
    show_envvar=True,
    help="What to log; nothing unless given.",
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@click.pass_context
def command(
    ctx: click.Context, /, command: tuple[str, ...], allow: tuple[str, ...], log_level: str | None, **values: Any
) -> None:
    """Run COMMAND with the emulator behind its back: what it asks of the cloud is answered here, and nothing else gets
    out. Its exit status is that of COMMAND.
    """
    config = from_values({**values, "port": 0, "tls": True})
    if log_level is None:
        silence()
    else:
        set_up(log_level, config.log_format)
    ctx.exit(asyncio.run(_run(config, command, allow)))


async def _run(config: Config, command: tuple[str, ...], allow: tuple[str, ...]) -> int:
    asyncio.get_running_loop().set_exception_handler(quiet)
    signals = _Signals()
    async with Emulator.of(config) as emulator:
        behind = Behind(emulator, allow)
        await behind.start()
        try:
            status = await _program(command, behind.environment(os.environ), signals)
        finally:
            await behind.stop()
        await emulator.stop(0)
    _tell(behind)
    return status


async def _program(command: tuple[str, ...], environment: dict[str, str], signals: _Signals) -> int:
    """Run the program to its end; its exit status, as a shell has it."""
    try:
        child = await asyncio.create_subprocess_exec(*command, env=environment)
    except FileNotFoundError:
        click.echo(f"fm-emulator: there is no program {command[0]}", err=True)
        return NOT_FOUND
    except OSError as failed:
        click.echo(f"fm-emulator: {command[0]} can't be run: {failed.strerror}", err=True)
        return NOT_RUN
    signals.to(child)
    status = await child.wait()
    return status if status >= 0 else 128 - status


class _Signals:
    """What comes for us is for the program; what comes before it runs is kept for it. What is ignored stays ignored,
    by the program too, as under nohup.
    """

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._early: list[int] = []
        loop = asyncio.get_running_loop()
        numbers = [getattr(signal, name) for name in _PASSED_ON if hasattr(signal, name)]
        with contextlib.suppress(NotImplementedError):  # Windows, where Ctrl-C reaches the program by itself
            for number in numbers:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    loop.add_signal_handler(number, self._came, number)

    def to(self, child: asyncio.subprocess.Process) -> None:
        """The program runs."""
        self._child = child
        for number in self._early:
            self._came(number)

    def _came(self, number: int) -> None:
        if self._child is None:
            self._early.append(number)
        elif number not in (signal.SIGINT, getattr(signal, "SIGQUIT", 0)) or not _at_the_terminal():
            with contextlib.suppress(ProcessLookupError):
                self._child.send_signal(number)


def _at_the_terminal() -> bool:
    """Whether keys pressed at the terminal signal us, and so the program too, all by themselves."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, AttributeError):
        return False


def _tell(behind: Behind) -> None:
    traffic = behind.traffic
    told = [f"taken: {_listed(traffic.taken)}"]
    if traffic.not_grpc:
        told.append(f"not gRPC: {_listed(traffic.not_grpc)}; REST and S3 are not emulated")
    if traffic.refused:
        told.append(f"refused: {_listed(traffic.refused)}; --allow HOST lets a host through")
    with contextlib.suppress(OSError):  # nobody reads it any more, and the exit status is the program's all the same
        for line in told:
            click.echo(f"fm-emulator: {line}", err=True)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{place} ({n})" for place, n in counts.most_common()) or "nothing"
