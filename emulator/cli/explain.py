"""`fm-emulator explain`: why a running emulator answered a call as it did."""

from __future__ import annotations

import click

from .client import Remote, remote_options
from .show import json_option, print_json


@click.command("explain")
@click.argument("call", required=False, default="", metavar="[CALL]")
@json_option
@remote_options
def command(remote: Remote, call: str, as_json: bool) -> None:
    """Tell why CALL (its id, as the log and the status have it) was answered so, and print a rule that would match.

    Without CALL, the last call that no rule matched.
    """
    response = remote.ask("Explain", call_id=call)
    if as_json:
        print_json(response)
        return
    click.echo(response.text)
    if response.rule:
        click.echo("\na rule that matches it:\n")
        click.echo(response.rule)
