"""What commands that question an emulator share in printing: tables, JSON, and texts that are safe on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import click

from .logs import printable as printable

INDENT = "    "
_NO_STATUS = ("", "open")


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--json`, which a command gets as `as_json`."""
    decorated: Callable[..., Any] = click.option(
        "--json", "as_json", is_flag=True, help="Print JSON instead, with the control API's field names."
    )(function)
    return decorated


class Verbs(click.Group):
    """A group of commands about one thing. Without a verb it does what `usual` names, if that is set."""

    usual = ""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if self.usual and not (args and (not args[0].startswith("-") or args[0] in ctx.help_option_names)):
            args = [self.usual, *args]
        return super().parse_args(ctx, args)


def verbs(name: str, about: str, usual: str = "") -> Verbs:
    """A group called `name`, with `about` for its help."""
    group = Verbs(name, help=about)
    group.usual = usual
    return group


def print_json(value: Any, indent: int | None = 2) -> None:
    """A message of the control API, or plain data, as one JSON document; in one line without `indent`."""
    data = plain(value) if hasattr(value, "DESCRIPTOR") else value
    click.echo(json.dumps(data, ensure_ascii=False, indent=indent))
    sys.stdout.flush()


def plain(message: Any) -> dict[str, Any]:
    """A message as JSON data with every field: numbers stay numbers, times are ISO 8601, what is unset is None."""
    return {field.name: _value(message, field) for field in message.DESCRIPTOR.fields}


def _value(message: Any, field: Any) -> Any:
    value = getattr(message, field.name)
    if isinstance(value, (str, int, float)):
        return field.enum_type.values_by_number[value].name if field.enum_type is not None else value
    if field.message_type is None:
        return list(value)
    if isinstance(value, Sequence):
        return [_inner(each) for each in value]
    return _inner(value) if message.HasField(field.name) else None


def _inner(message: Any) -> Any:
    if message.DESCRIPTOR.full_name in ("google.protobuf.Timestamp", "google.protobuf.Duration"):
        return message.ToJsonString()
    if message.DESCRIPTOR.file.package == "emulator.v1":
        return plain(message)
    from ..api import to_dict

    return to_dict(message, defaults=True)


def moment(timestamp: Any) -> str:
    """A Timestamp for people: `2026-01-31 12:00:00.250`, in UTC."""
    text = timestamp.ToJsonString().replace("T", " ").removesuffix("Z")
    seconds, _, fraction = text.partition(".")
    return f"{seconds}.{fraction[:3]:0<3}"


def counted(n: int, one: str, many: str = "") -> str:
    """`1 rule`, `2 rules`."""
    return f"{n} {one if n == 1 else many or one + 's'}"


def status(name: str) -> Callable[[str], str]:
    """How a status by name is coloured where there are colours."""
    if name in _NO_STATUS:
        return str
    return lambda text: click.style(text, fg="green" if name == "OK" else "red")


class Table:
    """Columns under their heads; the last one is as long as it likes, and is cut at a terminal's edge.

    Widths grow with the rows that have come. Numbers stand on the right.
    """

    def __init__(self, *heads: str, rows: Iterable[Sequence[str]] = ()) -> None:
        self._heads = heads
        self._widths = [len(head) for head in heads]
        for row in rows:
            self._grow([printable(cell) for cell in row])

    def head(self) -> str:
        """The first line."""
        return self._line(self._heads, {})

    def row(self, cells: Sequence[str], **styles: Callable[[str], str]) -> str:
        """A line; `styles` by head change how a cell looks and not how wide it is."""
        shown = [printable(cell) for cell in cells]
        self._grow(shown)
        return self._line(shown, styles)

    def _grow(self, cells: Sequence[str]) -> None:
        self._widths = [max(width, len(cell)) for width, cell in zip(self._widths, cells, strict=True)]

    def _line(self, cells: Sequence[str], styles: dict[str, Callable[[str], str]]) -> str:
        *firsts, last = cells
        padded = [
            cell.rjust(width) if cell.isdecimal() else cell.ljust(width)
            for cell, width in zip(firsts, self._widths, strict=False)
        ]
        room = _room(sum(len(cell) + 2 for cell in padded))
        if room is not None and len(last) > room:
            last = last[: room - 1] + "…"
        texts = [*padded, last]
        styled = [styles[head](text) if head in styles else text for head, text in zip(self._heads, texts, strict=True)]
        return "  ".join(styled).rstrip()


def print_table(heads: Sequence[str], rows: Sequence[Sequence[str]], none: str) -> None:
    """A whole table, or the sentence `none` if it would be empty."""
    if not rows:
        click.echo(none)
        return
    table = Table(*heads, rows=rows)
    for line in (table.head(), *map(table.row, rows)):
        click.echo(line)


def _room(taken: int) -> int | None:
    """How many characters are left of a terminal's line; None where nothing is to be cut."""
    if not sys.stdout.isatty():
        return None
    import shutil  # slow to import, and whoever only logs needs none

    return max(10, shutil.get_terminal_size().columns - taken)
