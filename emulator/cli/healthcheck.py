"""`fm-emulator healthcheck`: does an emulator serve there? For containers and scripts."""

from __future__ import annotations

import click

from .client import Remote, Unreachable, target_option


@click.command("healthcheck")
@target_option
@click.option("--timeout", default=3.0, show_default=True, metavar="SECONDS", help="How long to wait for an answer.")
@click.pass_context
def command(ctx: click.Context, target: str, timeout: float) -> None:
    """Exit status 0 if the emulator at the target says SERVING, 1 if not."""
    try:
        response = Remote(target).call("/grpc.health.v1.Health/Check", {}, timeout)
    except Unreachable as failed:
        click.echo(str(failed), err=True)
        ctx.exit(1)
    if response.status != 1:
        click.echo(f"{target}: NOT_SERVING", err=True)
        ctx.exit(1)
    click.echo(f"{target}: SERVING")
