"""`fm-emulator schema`: the JSON Schema of fixture files, for editors."""

from __future__ import annotations

import json

import click

from ..rules.model import json_schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of fixture files; editors complete and check with it."""
    click.echo(json.dumps(json_schema(), ensure_ascii=False, indent=2))
