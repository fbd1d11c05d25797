"""`fm-emulator sessions`: who shares a running emulator."""

from __future__ import annotations

from typing import Any

import click
from msgspec.structs import replace

from .client import Remote, remote_options
from .show import json_option, print_json, print_table, verbs

_HEADS = ("session", "rules", "calls", "open", "operations", "idle")

command = verbs("sessions", "List the sessions, or end one. No verb: list.", "list")


@command.command("list")
@json_option
@remote_options
def list_(remote: Remote, as_json: bool) -> None:
    """List all sessions; the first is the one that the emulator begins with."""
    response = _apart(remote).ask("ListSessions")
    if as_json:
        print_json(response)
    else:
        print_table(_HEADS, [_cells(session) for session in response.sessions], "no sessions")


@command.command("delete")
@click.argument("name", metavar="NAME")
@json_option
@remote_options
def delete(remote: Remote, name: str, as_json: bool) -> None:
    """End session NAME; calls that wait in it fail with UNAVAILABLE."""
    response = _apart(remote).ask("DeleteSession", id=name)
    if as_json:
        print_json(response)
    else:
        click.echo(f"{name}: deleted")


def _apart(remote: Remote) -> Remote:
    """The same in no session: a session begins with the first call that names it."""
    return replace(remote, session="")


def _cells(session: Any) -> tuple[str, ...]:
    numbers = (session.rules, session.calls, session.open_calls, session.operations)
    idle = session.idle.ToNanoseconds() / 1e9
    return session.id or "(the first)", *map(str, numbers), f"{idle:.0f} s"
