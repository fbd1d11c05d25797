"""`fm-emulator clock`: the clock of a running emulator."""

from __future__ import annotations

import re
from typing import Any

import click

from ..config import instant
from ..errors import UsageError
from .client import NoAnswer, Remote, remote_options
from .show import counted, json_option, moment, print_json, verbs

_SECOND = 1_000_000_000
_LONGEST = 600.0

command = verbs("clock", "Show the clock, stop it or move it on. No verb: show.", "show")


@command.command("show")
@json_option
@remote_options
def show(remote: Remote, as_json: bool) -> None:
    """Show the time, how it runs, and how many calls wait for it."""
    _tell(remote.ask("GetClock"), as_json)


@command.command("freeze")
@click.option("--at", metavar="TIME", help="Move on to TIME first, such as 2026-01-31T12:00:00Z; it doesn't go back.")
@json_option
@remote_options
def freeze(remote: Remote, at: str | None, as_json: bool) -> None:
    """Let the clock stand still, here or at a later time."""
    fields: dict[str, Any] = {}
    if at is not None:
        try:
            fields["at"] = _parts(instant(at))
        except UsageError as failed:
            raise UsageError(f"at: {str(failed).removeprefix('now: ')}") from None
    _tell(remote.ask("FreezeClock", _LONGEST, **fields), as_json)


class _Forwards(click.Command):
    """`advance`: what looks like a number below 0 is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        back = next((arg for arg in args if re.match(r"-[\d.]", arg)), None)
        if back is not None:
            text = f"the clock doesn't go back, so not by {back}; `fm-emulator reset clock` puts it to its start"
            raise UsageError(f"advance: {text}")
        return super().parse_args(ctx, args)


@command.command("advance", cls=_Forwards)
@click.argument("by", metavar="DURATION")
@json_option
@remote_options
def advance(remote: Remote, by: str, as_json: bool) -> None:
    """Move the clock on by DURATION, such as 72h, through every instant that a call waits for."""
    from ..rules.duration import parse

    try:
        span = parse(by)
    except ValueError as failed:
        raise UsageError(f"advance: {failed}") from None
    response = remote.ask("AdvanceClock", _LONGEST, by=_parts(span))
    if as_json:
        print_json(response)
        return
    _tell(response.clock, False)
    if response.stragglers:
        told = counted(response.stragglers, "call was", "calls were")
        click.echo(f"note: {told} still busy: the client reads slowly", err=True)


@command.command("run")
@click.option("--speed", type=float, metavar="X", help="Run X times as fast as real time; as before unless given.")
@json_option
@remote_options
def run(remote: Remote, speed: float | None, as_json: bool) -> None:
    """Let the clock run on from here."""
    if speed is not None and not 0 < speed <= 1_000_000:
        raise UsageError(f"speed: {speed:g} must be more than 0 and at most 1000000")
    _tell(remote.ask("RunClock", speed=speed or 0.0), as_json)


@command.command("wait")
@click.argument("count", type=click.IntRange(min=0), metavar="N")
@click.option("--timeout", default=10.0, show_default=True, metavar="SECONDS", help="How long to wait at most.")
@json_option
@remote_options
def wait(remote: Remote, count: int, timeout: float, as_json: bool) -> None:
    """Return once N calls wait for the clock."""
    if not timeout > 0:
        raise UsageError(f"timeout: {timeout:g} must be more than 0 seconds")
    try:
        state = remote.ask("WaitForSleepers", timeout, count=count)
    except NoAnswer:
        there = remote.ask("GetClock").sleepers
        told = counted(there, "call waits", "calls wait")
        raise UsageError(f"after {timeout:g} s {told} for the clock, not {count}") from None
    _tell(state, as_json)


def _parts(nanoseconds: int) -> dict[str, int]:
    return {"seconds": nanoseconds // _SECOND, "nanos": nanoseconds % _SECOND}


def _tell(state: Any, as_json: bool) -> None:
    if as_json:
        print_json(state)
        return
    how = "frozen" if state.frozen else f"runs at speed {state.speed:g}"
    waiting = counted(state.sleepers, "call waits", "calls wait")
    click.echo(f"{moment(state.now)} UTC, {how}, {waiting} for it")
