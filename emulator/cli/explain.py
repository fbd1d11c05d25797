"""`fm-emulator explain`: why a running emulator answered a call as it did."""

from __future__ import annotations

import click

from . import target_option


@click.command("explain")
@click.argument("call", required=False, default="", metavar="[CALL]")
@target_option
@click.pass_context
def command(ctx: click.Context, call: str, target: str) -> None:
    """Tell why CALL (its id, as the log and the status have it) was answered so, and print a rule that would match.

    Without CALL, the last call that no rule matched.
    """
    from .client import Unreachable, unary

    try:
        response = unary(target, "/emulator.v1.ControlService/Explain", {"call_id": call})
    except Unreachable as failed:
        click.echo(f"{target}: {failed}", err=True)
        ctx.exit(1)
    click.echo(response.text)
    if response.rule:
        click.echo("\na rule that matches it:\n")
        click.echo(response.rule)
