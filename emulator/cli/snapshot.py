"""`fm-emulator snapshot`: keep the state of a running emulator's session in a file, and bring it back."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import click

from ..errors import UsageError
from .client import LARGEST_REQUEST, Remote, remote_options
from .show import counted, json_option, print_json, verbs

_LONGEST = 120.0

command = verbs(
    "snapshot", "Keep a session's rules, states, operations, counters and clock in a file, or restore them."
)


@command.command("save")
@click.argument("file", metavar="FILE")
@json_option
@remote_options
def save(remote: Remote, file: str, as_json: bool) -> None:
    """Write a snapshot of the session to FILE, over what is there; - is standard output."""
    snapshot = remote.ask("Snapshot", _LONGEST).snapshot
    if file == "-":
        sys.stdout.buffer.write(snapshot)
        sys.stdout.buffer.flush()
        return
    try:
        _write(Path(file), snapshot)
    except OSError as failed:
        raise UsageError(f"{file} can't be written: {failed.strerror}") from None
    if as_json:
        print_json({"file": file, "bytes": len(snapshot)})
    else:
        click.echo(f"wrote {file} ({len(snapshot)} bytes)")


def _write(path: Path, snapshot: bytes) -> None:
    """Write all of it or nothing: what was there stays where the disk is full."""
    if path.exists() and not path.is_file():  # such as a pipe, which can't be replaced
        path.write_bytes(snapshot)
        return
    target = path.resolve()
    temporary = target.with_name(f"{target.name}.{os.getpid()}.new")
    try:
        temporary.write_bytes(snapshot)
        temporary.replace(target)
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@command.command("restore")
@click.argument("file", metavar="FILE")
@json_option
@remote_options
def restore(remote: Remote, file: str, as_json: bool) -> None:
    """Make the session what it was when FILE was saved; - is standard input. Its journal is empty after that."""
    try:
        snapshot = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as failed:
        raise UsageError(f"{file} can't be read: {failed.strerror}") from None
    if len(snapshot) > LARGEST_REQUEST - 1024:
        size = len(snapshot) / (1 << 20)
        raise UsageError(f"{file} is {size:.1f} MiB, and one request holds {LARGEST_REQUEST >> 20} MiB")
    response = remote.ask("Restore", _LONGEST, snapshot=snapshot)
    if as_json:
        print_json(response)
    else:
        rules, operations = counted(response.rules, "rule"), counted(response.operations, "operation")
        click.echo(f"restored: {rules}, {operations}")
