"""The command: `assistant ask "…"`, `assistant job "…"`, `assistant draw "…" picture.jpg`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .app import Assistant
from .failures import Failure
from .settings import Settings


def run() -> None:
    """The command itself."""
    sys.exit(main(sys.argv[1:], os.environ))


def main(arguments: Sequence[str], environment: Mapping[str, str]) -> int:
    """Do what the arguments say; the exit status."""
    parser = argparse.ArgumentParser(prog="assistant")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("ask", help="answer at once").add_argument("question")
    commands.add_parser("job", help="begin a deferred job and wait for it").add_argument("question")
    draw = commands.add_parser("draw", help="draw a picture")
    draw.add_argument("prompt")
    draw.add_argument("file", type=Path)
    given = parser.parse_args(arguments)
    try:
        assistant = Assistant(Settings.from_environment(environment))
        if given.command == "ask":
            assistant.ask(given.question, show=lambda piece: print(piece, end="", flush=True))
            print()
        elif given.command == "job":
            print(assistant.wait(assistant.begin(given.question)))
        else:
            given.file.write_bytes(assistant.draw(given.prompt))
    except Failure as failed:
        print(f"\n{failed}", file=sys.stderr)
        return 1
    return 0
