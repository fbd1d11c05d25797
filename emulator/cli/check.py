"""`fm-emulator check`: is everything in these fixtures as it should be?"""

from __future__ import annotations

import click

from ..engine.book import load
from ..engine.reach import warnings
from ..errors import UsageError


@click.command("check")
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
def command(paths: tuple[str, ...]) -> None:
    """Check fixture files and folders; exit status 1 and a line for every mistake if there are any."""
    book = load(paths)
    for warning in warnings(book):
        click.echo(f"{warning} (warning)", err=True)
    if not book.files:
        raise UsageError(f"no *.yaml or *.yml file in {', '.join(paths)}")
    datasets = f" and {_many(len(book.datasets), 'dataset')}" if book.datasets else ""
    click.echo(f"{_many(len(book.rules), 'rule')}{datasets} in {_many(book.files, 'file')}: all well")


def _many(n: int, what: str) -> str:
    return f"{n} {what}{'s' if n != 1 else ''}"
