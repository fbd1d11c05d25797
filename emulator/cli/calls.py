"""`fm-emulator calls`: what a running emulator was asked, and how it answered."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import click

from ..calls import METHODS_BY_CALL
from .client import Remote, remote_options
from .show import INDENT, Table, counted, json_option, moment, plain, print_json, printable, status

_HEADS = ("id", "time", "method", "rule", "code", "chunks", "about")
_LONGEST_TEXT = 200
_MOST_NUMBERS = 8


@click.command("calls")
@click.option("--follow", is_flag=True, help="Go on with each call as it ends, until Ctrl-C.")
@click.option("--last", type=click.IntRange(min=1), metavar="N", help="Only the last N of the calls that there are.")
@click.option(
    "--kind",
    type=click.Choice(tuple(METHODS_BY_CALL)),
    metavar="KIND",
    help="Only these: " + ", ".join(METHODS_BY_CALL) + ".",
)
@click.option("--method", metavar="PATH", help="Only of this method, a path or its end.")
@click.option("--rule", metavar="NAME", help="Only those that this rule answered.")
@click.option("--code", metavar="CODE", help="Only those that ended with this status, such as OK.")
@click.option("--when", metavar="YAML", help="Only those that meet conditions as in a rule's `when`.")
@click.option("--unmatched", is_flag=True, help="Only those that no rule matched.")
@click.option("--messages", is_flag=True, help="Show requests and replies as well.")
@json_option
@remote_options
def command(
    remote: Remote,
    follow: bool,
    last: int | None,
    messages: bool,
    as_json: bool,
    code: str | None,
    **chosen: Any,
) -> None:
    """List the calls that the journal holds, the oldest first; all conditions that are given must hold.

    With --json it is one document; with --follow as well, an object a line.
    """
    chosen["code"] = code.upper() if code else None
    asked: dict[str, Any] = {"filter": {k: v for k, v in chosen.items() if v}, "messages": messages}
    if not follow:
        response = remote.ask("ListCalls", last=last or 0, **asked)
        if as_json:
            print_json({"calls": [_data(call) for call in response.calls], "evicted": response.evicted})
        else:
            _print(remote, response.calls, messages, _table(response.calls))
            _tell(response.evicted, err=False)
        return
    try:
        calls = _followed(remote, asked, last)
        if as_json:
            for call in calls:
                print_json(_data(call), indent=None)
        else:
            _print(remote, calls, messages, Table(*_HEADS, rows=[("c10", "", "", "", "", "", "")]))
    except KeyboardInterrupt:
        return


def _followed(remote: Remote, asked: dict[str, Any], last: int | None) -> Iterator[Any]:
    """What has ended already, of that only the `last`, and then each call as it ends."""
    so_far = remote.ask("ListCalls", filter=asked["filter"], last=0 if last else 1)
    _tell(so_far.evicted, err=True)
    ended = [call.id for call in so_far.calls if call.code]
    passed = set(ended[:-last]) if last else set()
    for call in remote.stream("WatchCalls", past=True, **asked):
        if call.id in passed:
            passed.discard(call.id)  # numbers begin again once the journal is reset
            continue
        if call.missed:
            told = counted(call.missed, "call is", "calls are")
            click.echo(f"note: {told} left out, since they ended faster than this could read them", err=True)
        yield call


def _data(call: Any) -> dict[str, Any]:
    """A call as JSON data; its messages are no texts any more."""
    data = plain(call)
    data["request"] = json.loads(call.request) if call.request else None
    data["replies"] = [json.loads(reply) for reply in call.replies]
    return data


def _tell(evicted: int, err: bool) -> None:
    if evicted:
        told = counted(evicted, "older call was", "older calls were")
        click.echo(f"note: {told} dropped to make room", err=err)


def _table(calls: Iterable[Any]) -> Table:
    return Table(*_HEADS, rows=[_cells(call) for call in calls])


def _print(remote: Remote, calls: Iterable[Any], messages: bool, table: Table) -> None:
    none = True
    for call in calls:
        if none:
            click.echo(table.head())
        none = False
        cells = _cells(call)
        click.echo(table.row(cells, code=status(cells[4])))
        for line in _details(remote, call, messages):
            click.echo(INDENT + printable(line))
        sys.stdout.flush()
    if none:
        click.echo("no such calls")


def _cells(call: Any) -> tuple[str, ...]:
    method = call.method.rpartition(".")[2]
    return call.id, moment(call.began_at), method, call.rule, call.code or "open", str(len(call.sent_at)), call.about


def _details(remote: Remote, call: Any, messages: bool) -> Iterator[str]:
    if call.message:
        yield call.message
    elif call.unmatched:
        session = f" --session {remote.session}" if remote.session else ""
        yield f"no rule matched; `fm-emulator explain {call.id}{session}` tells why"
    yield from (f"chaos: {fault}" for fault in call.faults)
    yield from (f"note: {note}" for note in call.notes)
    yield from (f"client: {note}" for note in call.behaviour)
    if not messages:
        return
    if call.request:
        yield f"request: {_shortened(call.request)}"
    for n, reply in enumerate(call.replies):
        due = ""
        if n < len(call.sent_at):
            ns = call.sent_at[n].ToNanoseconds() - call.began_at.ToNanoseconds()
            due = f" after {ns / 1e9:.3f} s"
        yield f"reply {n + 1}{due}: {_shortened(reply)}"


def _shortened(text: str) -> str:
    """A message's JSON with long texts and vectors cut; `--json` has them whole."""
    return json.dumps(_cut(json.loads(text)), ensure_ascii=False)


def _cut(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _cut(each) for key, each in value.items()}
    if isinstance(value, list):
        shown = value[:_MOST_NUMBERS] if all(isinstance(each, float) for each in value) else value
        return [_cut(each) for each in shown] + ([f"… ({len(value)} numbers)"] if len(shown) < len(value) else [])
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]}… ({len(value)} characters)"
    return value
