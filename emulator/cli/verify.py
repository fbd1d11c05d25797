"""`fm-emulator verify`: has happened what was expected?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from ..engine.verify import CHECKS, Problem, Report
from ..errors import UsageError
from .client import Remote, remote_options
from .show import json_option, print_json, printable

_COLOURS = {"✓": "green", "✗": "red"}


@click.command("verify")
@click.option("--strict", is_flag=True, help="Hold every check.")
@click.option(
    "--check",
    "checks",
    multiple=True,
    type=click.Choice(CHECKS),
    metavar="NAME",
    help="Hold this check: " + ", ".join(CHECKS) + "; may be given again.",
)
@click.option("--junit", metavar="FILE", help="Write JUnit XML to FILE as well; - is standard output.")
@json_option
@remote_options
def command(remote: Remote, strict: bool, checks: tuple[str, ...], junit: str | None, as_json: bool) -> None:
    """Hold what happened against what was expected; exit status 1 and the differences if something is not so.

    Without --strict and --check, rules' `expect` and `times` are held.
    """
    if junit == "-" and as_json:
        raise click.UsageError("--json and --junit - can't both go to standard output; name a FILE")
    response = remote.ask("Verify", strict=strict, checks=[check.upper() for check in checks])
    report = _report(response)
    if junit is not None and junit != "-":
        _write(junit, report.junit())
    if as_json:
        print_json(response)
    elif junit == "-":
        click.echo(report.junit(), nl=False)
        _print(report, err=True)
    else:
        _print(report)
    if not report.problems:
        _warn_of_silence(remote)
    sys.exit(1 if report.problems else 0)


def _report(response: Any) -> Report:
    names = response.DESCRIPTOR.file.message_types_by_name["VerifyRequest"].enum_types_by_name["Check"]
    problems = [
        Problem(names.values_by_number[each.check].name.lower(), each.subject, each.text) for each in response.problems
    ]
    return Report(tuple(problems), tuple(response.held), response.evicted)


def _print(report: Report, err: bool = False) -> None:
    for line in report.text().split("\n"):
        colour = _COLOURS.get(line[:1])
        click.echo(click.style(printable(line), fg=colour) if colour else printable(line), err=err)


def _warn_of_silence(remote: Remote) -> None:
    """A verdict on a session that nobody called is good, and mostly about the wrong one."""
    seen = remote.ask("ListCalls", last=1)
    if not seen.calls and not seen.evicted:
        where = f"session {remote.session}" if remote.session else "session that the emulator began with"
        click.echo(f"note: no call is in the journal of the {where}", err=True)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as failed:
        raise UsageError(f"junit: {path} can't be written: {failed.strerror}") from None
