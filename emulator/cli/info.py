"""`fm-emulator info`: what runs there, how it was set up, and how full it is; or what is installed here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import click
from msgspec.structs import replace

from .client import Remote, Unreachable, remote_options
from .show import counted, json_option, moment, print_json, printable

_LABEL = 12
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"))


@click.command("info")
@click.option("--local", is_flag=True, help="Ask nobody, and tell what is installed here.")
@json_option
@remote_options
def command(remote: Remote, local: bool, as_json: bool) -> None:
    """Show what runs at the target: where it serves, its options and versions, its rules, clock, journal and memory.

    Exit status 1 if nothing answers there.
    """
    if local:
        _tell_local(as_json)
        return
    try:
        info = replace(remote, session="").ask("Info")  # a session would begin with it
    except Unreachable as failed:
        raise Unreachable(f"{failed}; `fm-emulator info --local` tells what is installed here") from None
    if as_json:
        print_json(info)
        return
    click.echo(f"fm-emulator {info.version} at {remote.target}, pid {info.pid}, up {_span(info.uptime.seconds)}")
    for label, text in _lines(info):
        click.echo(f"{label:{_LABEL}}{printable(text)}")


def _tell_local(as_json: bool) -> None:
    from .. import __version__, installation

    extras, libraries = installation.extras(), installation.libraries()
    if as_json:
        listed = [{"name": name, "version": version} for name, version in libraries.items()]
        print_json({"version": __version__, "extras": extras, "libraries": listed})
        return
    click.echo(f"fm-emulator {__version__}, installed here")
    for label, text in _installed(extras, libraries.items()):
        click.echo(f"{label:{_LABEL}}{text}")


def _lines(info: Any) -> Iterator[tuple[str, str]]:
    yield "gRPC", f"{info.target}, by {info.engine} in {info.event_loop}"
    yield "TLS", info.tls_target or "off"
    yield "HTTP", info.http_target or "off"
    yield "rules", f"{info.rules} of {counted(info.files, 'file')}" if info.files else "no fixtures, default replies"
    if info.reload_error:
        yield "", f"the last reload was refused: {info.reload_error}"
    for warning in info.warnings:
        yield "", f"warning: {warning}"
    yield "clock", f"{moment(info.clock.now)}, {_running(info.clock)}"
    yield "seed", str(info.seed)
    yield "sessions", str(info.sessions)
    yield "operations", str(info.operations)
    yield "calls", f"{info.open_calls} under way"
    yield (
        "journal",
        f"{counted(info.journal_calls, 'call')}, {_size(info.journal_bytes)}; {info.journal_evicted} dropped",
    )
    yield "", f"a session keeps {info.journal_most_calls} calls or {_size(info.journal_most_bytes)}"
    yield "memory", _size(info.memory_bytes) if info.memory_bytes else "unknown"
    options = [f"{option.name.replace('_', '-')}={option.value}" for option in info.options]
    yield "options", ", ".join(options) or "all as they are by default"
    yield from _installed(info.extras, ((library.name, library.version) for library in info.libraries))


def _installed(extras: Iterable[str], libraries: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    yield "extras", ", ".join(extras) or "none"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in libraries)


def _running(clock: Any) -> str:
    if clock.frozen:
        return "standing still"
    return "running" if clock.speed == 1 else f"running {clock.speed:g} times as fast"


def _size(number: int) -> str:
    if number < 1024:
        return f"{number} bytes"
    return f"{number / 1024:.0f} KiB" if number < 1 << 20 else f"{number / (1 << 20):.1f} MiB"


def _span(seconds: int) -> str:
    """`2 d 3 h`, the two largest units."""
    told = []
    for size, unit in _UNITS:
        if seconds >= size:
            told.append(f"{seconds // size} {unit}")
            seconds %= size
    return " ".join([*told, *([] if told else [f"{seconds} s"])][:2])
