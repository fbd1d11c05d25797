"""The commands, as click has them. Each is a module that is imported when it is run.

Options of `serve` come from `Config`, where they are declared once; here they become flags and `FM_EMULATOR_*`
variables.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import click

from .. import __version__
from ..config import ENVIRONMENT_PREFIX, OPTIONS, Option
from ..errors import FixtureError, UsageError
from . import told

Function = Callable[..., Any]


def options_of(*names: str) -> Callable[[Function], Function]:
    """Flags for these fields of `Config`; all of them if none is named."""

    def decorate(function: Function) -> Function:
        for field in reversed(OPTIONS.values()):
            if not names or field.name in names:
                function = _option(field)(function)
        return function

    return decorate


def _option(field: Option) -> Callable[[Function], Function]:
    flag = "--" + field.name.replace("_", "-")
    settings: dict[str, Any] = {
        "help": field.help,
        "envvar": ENVIRONMENT_PREFIX + field.name.upper(),
        "show_envvar": True,
        "default": field.default,
    }
    if field.kind is bool:
        return click.option(flag, is_flag=True, **settings)
    if field.many:
        settings |= {"multiple": True, "default": None, "type": _Path() if field.name == "fixtures" else str}
    elif field.choices:
        settings |= {"type": click.Choice(field.choices)}
    else:
        settings |= {"type": field.kind, "show_default": field.default is not None}
    return click.option(flag, field.name, metavar=field.metavar, **settings)


class _Path(click.ParamType):  # type: ignore[type-arg]
    """A path; an environment variable holds several, separated as the system separates paths."""

    name = "path"
    envvar_list_splitter = os.pathsep

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value


class _Group(click.Group):
    """Finds commands by name in this package, and turns the errors that people can mend into a line and a status."""

    COMMANDS = (
        "serve",
        "exec",
        "check",
        "try",
        "explain",
        "calls",
        "verify",
        "ops",
        "clock",
        "rules",
        "reset",
        "snapshot",
        "sessions",
        "init",
        "schema",
        "healthcheck",
        "info",
    )

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.COMMANDS:
            return None
        from importlib import import_module

        module = import_module(f".{'try_' if cmd_name == 'try' else cmd_name}", __package__)
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as failed:
            import difflib

            near = difflib.get_close_matches(args[0], self.COMMANDS, 1)
            there = f"Did you mean {near[0]}?" if near else f"There are {', '.join(self.COMMANDS)}."
            raise click.UsageError(f"{failed.format_message()} {there}", ctx) from None

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for given in args:
            if any("\ud800" <= character <= "\udfff" for character in given):
                raise click.UsageError(f"an argument is not text in UTF-8: {given!r}", ctx)
        return super().parse_args(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (FixtureError, UsageError) as failed:
            click.echo(told(failed), err=True)
            ctx.exit(1)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="fm-emulator")
def cli() -> None:
    """A local emulator of Yandex Cloud's Foundation Models gRPC API that answers from YAML rules."""
