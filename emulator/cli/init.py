"""`fm-emulator init`: a commented fixture file to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import UsageError

STARTER = Path(__file__).parent.parent / "starter.yaml"


@click.command("init")
@click.argument("path", default="fixtures/starter.yaml", metavar="[FILE]")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
def command(path: str, force: bool) -> None:
    """Write a commented starter file (fixtures/starter.yaml unless named); a file that is there stays as it is."""
    target = Path(path)
    try:
        if target.is_dir():
            target = target / "starter.yaml"
        if target.exists() and not force:
            raise UsageError(f"{target} is there already; name another file, or give --force to write over it")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(STARTER.read_text(encoding="utf-8"), encoding="utf-8")
    except OSError as failed:
        raise UsageError(f"{target} can't be written: {failed.strerror}") from None
    click.echo(f"wrote {target}; now: fm-emulator serve --fixtures {target.parent}")
