"""`fm-emulator ops`: operations of a running emulator, by hand."""

from __future__ import annotations

from typing import Any

import click

from ..errors import Code
from .client import Remote, remote_options
from .show import INDENT, Table, json_option, print_json, printable, verbs

_HEADS = ("id", "kind", "status", "done", "polls", "batches", "rule")
_ERRORS = [code.name for code in Code if code is not Code.OK]

command = verbs("ops", "List operations, or move one by hand, whatever its timeline says. No verb: list.", "list")


@command.command("list")
@json_option
@remote_options
def list_(remote: Remote, as_json: bool) -> None:
    """List the operations, the oldest first. Looking at them here counts as no Get."""
    response = remote.ask("ListOperations")
    if as_json:
        print_json(response)
    elif not response.operations:
        click.echo("no operations")
    else:
        rows = [_cells(operation) for operation in response.operations]
        table = Table(*_HEADS, rows=rows)
        click.echo(table.head())
        for operation, row in zip(response.operations, rows, strict=True):
            click.echo(table.row(row))
            if operation.HasField("error"):
                click.echo(INDENT + _error(operation))


@command.command("finish")
@click.argument("operation_id", metavar="ID")
@json_option
@remote_options
def finish(remote: Remote, operation_id: str, as_json: bool) -> None:
    """Be done with operation ID now, with the response that its rule makes."""
    _tell(remote.ask("FinishOperation", operation_id=operation_id), as_json)


@command.command("fail")
@click.argument("operation_id", metavar="ID")
@click.option(
    "--code",
    type=click.Choice(_ERRORS, case_sensitive=False),
    default="INTERNAL",
    show_default=True,
    metavar="CODE",
    help="The status that it fails with.",
)
@click.option("--message", metavar="TEXT", help="The status's text; the service's own words unless given.")
@json_option
@remote_options
def fail(remote: Remote, operation_id: str, code: str, message: str | None, as_json: bool) -> None:
    """Let operation ID fail now."""
    error = {"code": int(Code[code.upper()]), "message": message or ""}
    _tell(remote.ask("FailOperation", operation_id=operation_id, error=error), as_json)


@command.command("cancel")
@click.argument("operation_id", metavar="ID")
@json_option
@remote_options
def cancel(remote: Remote, operation_id: str, as_json: bool) -> None:
    """Cancel operation ID; one that is done stays as it is."""
    _tell(remote.ask("CancelOperation", operation_id=operation_id), as_json)


@command.command("step")
@click.argument("operation_id", metavar="ID")
@json_option
@remote_options
def step(remote: Remote, operation_id: str, as_json: bool) -> None:
    """Move operation ID on to the next stage of its timeline, which follows from there."""
    _tell(remote.ask("StepOperation", operation_id=operation_id), as_json)


def _cells(operation: Any) -> tuple[str, ...]:
    batches = f"{operation.completed_batches}/{operation.total_batches}" if operation.total_batches else ""
    done = "yes" if operation.done else "no"
    return operation.id, operation.kind, operation.status, done, str(operation.polls), batches, operation.rule


def _error(operation: Any) -> str:
    code, message = operation.error.code, operation.error.message
    return printable(f"{Code(code).name if code in list(Code) else code}: {message}")


def _tell(operation: Any, as_json: bool) -> None:
    if as_json:
        print_json(operation)
        return
    told = f"{operation.id}: {operation.status or 'not begun'}{', done' if operation.done else ''}"
    click.echo(f"{told}, {_error(operation)}" if operation.HasField("error") else told)
