"""`fm-emulator rules`: the rules of a running emulator. Files are read here, wherever it runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath
from typing import Any

import click
from msgspec import Struct

from ..errors import UsageError
from .client import LARGEST_REQUEST, Remote, Unreachable, remote_options
from .show import counted, json_option, plain, print_json, print_table, printable, verbs

_HEADS = ("rule", "where", "layer", "calls", "chosen", "expect")

command = verbs("rules", "List the rules, or lay others over those of the files. No verb: list.", "list")
_paths = click.argument("paths", nargs=-1, required=True, metavar="PATH...")


@command.command("list")
@json_option
@remote_options
def list_(remote: Remote, as_json: bool) -> None:
    """List the rules in the order they are tried."""
    response = remote.ask("ListRules")
    if as_json:
        print_json(response)
    else:
        print_table(_HEADS, [_cells(rule) for rule in response.rules], "no rules")


@command.command("apply")
@_paths
@click.option("--shared", is_flag=True, help="Replace the rules of the files, which all sessions share.")
@json_option
@remote_options
def apply(remote: Remote, paths: tuple[str, ...], shared: bool, as_json: bool) -> None:
    """Replace the session's own rules with those of the files and folders at PATH.

    They stand above the rules of the files that the emulator was started with, and below what `rules add` laid. To
    have none of one's own any more: `fm-emulator reset rules`.
    """
    sent = Sent.read(paths)
    response = sent.to(remote, "ReplaceRules", shared=shared)
    sent.tell(response, as_json, lambda: f"{counted(response.rules, 'rule')} in {counted(sent.yaml, 'file')} applied")


@command.command("add")
@_paths
@json_option
@remote_options
def add(remote: Remote, paths: tuple[str, ...], as_json: bool) -> None:
    """Lay the rules of the files and folders at PATH over all that are there, and print the layer's id."""
    sent = Sent.read(paths)
    response = sent.to(remote, "AddRules")
    sent.tell(response, as_json, lambda: str(response.layer_id))


@command.command("remove")
@click.argument("layer", required=False, default="", metavar="[LAYER]")
@json_option
@remote_options
def remove(remote: Remote, layer: str, as_json: bool) -> None:
    """Take away what `rules add` laid as LAYER, or all that it laid."""
    response = remote.ask("RemoveRules", layer_id=layer)
    if as_json:
        print_json(response)
    else:
        click.echo(f"{counted(response.rules, 'rule')} removed")


class Sent(Struct):
    """Fixtures as they are sent: `names` tells what a file is called here by what it is called there, and `yaml` is
    how many of them hold rules.
    """

    files: dict[str, bytes]
    environment: dict[str, str]
    names: dict[str, str]
    yaml: int

    @classmethod
    def read(cls, paths: Sequence[str]) -> Sent:
        """Read and check the files here, but for what uses snippets that only the emulator has. Raises FixtureError,
        and UsageError where there is nothing to send or it is too large.
        """
        from ..engine.book import load
        from ..rules.files import Bundle

        book = load(paths, elsewhere=True)
        if not book.files:
            raise UsageError(f"no *.yaml or *.yml file in {', '.join(paths)}")
        sent = cls({}, {}, {}, book.files)
        bundles = [given for given in book.given if isinstance(given, Bundle)]
        for n, bundle in enumerate(bundles, 1):
            # Several may hold files of one name, and are to be tried in the order they were given.
            prefix = f"{n:0{len(str(len(bundles)))}}-{PurePath(bundle.root).name}/" if len(bundles) > 1 else ""
            for path, raw in bundle.files.items():
                sent.files[prefix + path] = raw
                sent.names[prefix + path] = bundle.place(path)
            sent.environment.update(bundle.environment)
        sent._check_size()
        return sent

    def _check_size(self) -> None:
        size = sum(len(path.encode()) + len(raw) + 16 for path, raw in self.files.items())
        if size <= LARGEST_REQUEST - 64 * 1024:
            return
        largest = max(self.files, key=lambda path: len(self.files[path]))
        raise UsageError(
            f"the fixtures are {_mib(size)} in all, and one request holds {_mib(LARGEST_REQUEST)}; the largest file is "
            f"{self.names[largest]} with {_mib(len(self.files[largest]))}: make that smaller, or start the emulator "
            f"with them"
        )

    def to(self, remote: Remote, method: str, **more: Any) -> Any:
        """Send them. Raises Unreachable."""
        try:
            return remote.ask(method, fixtures={"files": self.files, "environment": self.environment}, **more)
        except Unreachable as failed:
            raise Unreachable(self._here(str(failed))) from None

    def tell(self, response: Any, as_json: bool, told: Callable[[], str]) -> None:
        """What came of it, and its warnings."""
        warnings = [self._here(warning) for warning in response.warnings]
        if as_json:
            print_json({**plain(response), "warnings": warnings})
            return
        for warning in warnings:
            click.echo(f"{printable(warning)} (warning)", err=True)
        click.echo(told())

    def _here(self, text: str) -> str:
        """`text` with files called what they are called here."""
        known = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        return re.sub(rf"(?<![\w/.-])({known})(?=:)", lambda found: self.names[found[1]], text)


def _mib(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def _cells(rule: Any) -> tuple[str, ...]:
    chosen = f"{rule.chosen} of {rule.times}" if rule.times else str(rule.chosen)
    return rule.name, rule.where, rule.layer_id, ", ".join(rule.calls), chosen, rule.expect
