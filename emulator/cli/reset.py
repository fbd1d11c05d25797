"""`fm-emulator reset`: a running emulator back at its beginning, whole or by part."""

from __future__ import annotations

import click

from ..sessions import PARTS
from .client import Remote, remote_options
from .show import json_option, print_json


@click.command("reset")
@click.argument("parts", nargs=-1, type=click.Choice(PARTS), metavar="[PART]...")
@json_option
@remote_options
def command(remote: Remote, parts: tuple[str, ...], as_json: bool) -> None:
    """Put the session back to its beginning: the PARTs that are named, or all of it.

    Parts are rules, counters, states, journal, operations, clock and iam_tokens. The rules of the files stay.
    """
    response = remote.ask("Reset", parts=[part.upper() for part in parts])
    if as_json:
        print_json(response)
    else:
        click.echo(f"reset: {', '.join(dict.fromkeys(parts)) or 'everything'}")
