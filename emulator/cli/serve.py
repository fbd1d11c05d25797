"""`fm-emulator serve`, its options and their help."""

from __future__ import annotations

from typing import Any

import click

from ..config import from_values
from .commands import options_of
from .serving import run


@click.command("serve")
@options_of()
def command(**values: Any) -> None:
    """Serve the emulated API until SIGTERM or SIGINT; a second one ends it at once."""
    run(from_values(values))
