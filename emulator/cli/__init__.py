"""The command line: `main`, and what can go wrong in words. The commands themselves are in `commands`.

Nothing but this package prints, and nothing else exits.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any

from ..config import from_values
from ..errors import FixtureError, UsageError
from .plain import options_in


def told(failed: FixtureError | UsageError) -> str:
    """An error that people can mend, as they are told."""
    if isinstance(failed, UsageError):
        return f"fm-emulator: {failed}"
    n = len(failed.mistakes)
    return "\n".join([*map(str, failed.mistakes), f"{n} mistake{'s' if n > 1 else ''}; nothing was loaded"])


def main() -> None:
    """The console script."""
    serves = sys.argv[1:2] == ["serve"]
    if serves:  # a container's first process is not ended by a signal that it does not handle
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    gc.disable()  # nothing of what is imported goes away again; `serve` turns it on once it serves
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    values = options_in(sys.argv[2:], os.environ) if serves else None
    if values is not None:
        sys.exit(_serve(values))
    from .commands import cli

    cli(prog_name="fm-emulator")


def _serve(values: Mapping[str, Any]) -> int:
    """What `commands.cli` does for `serve`, without click; the exit status."""
    from .serving import run

    try:
        run(from_values(values))
    except (FixtureError, UsageError) as failed:
        print(told(failed), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nAborted!", file=sys.stderr)
        return 1
    return 0
