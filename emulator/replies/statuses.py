"""Scripted statuses: from `error:` in a fixture to what the client gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from .. import wording
from ..errors import Code, Status
from ..rules import model
from ..rules.template import compile_template, has_template

Report = Callable[[tuple[str | int, ...], str], None]

ALIASES = {"CANCELED": "CANCELLED"}
_BY_NUMBER = {
    **{str(int(code)): code.name for code in Code if code},
    "400": "INVALID_ARGUMENT",
    "401": "UNAUTHENTICATED",
    "403": "PERMISSION_DENIED",
    "404": "NOT_FOUND",
    "409": "ALREADY_EXISTS",
    "429": "RESOURCE_EXHAUSTED",
    "499": "CANCELLED",
    "500": "INTERNAL",
    "501": "UNIMPLEMENTED",
    "503": "UNAVAILABLE",
    "504": "DEADLINE_EXCEEDED",
}
"""Names for those who think in numbers, gRPC's or HTTP's."""


class ScriptedStatus(Struct, frozen=True):
    """A status as a fixture words it; `status()` makes the one that travels.

    `details` are messages of google.rpc, or what is packed into a google.protobuf.Any already.
    """

    code: Code
    message: Callable[[Mapping[str, Any]], str] | str | None
    details: tuple[Any, ...] = ()

    def settled(self, context: Mapping[str, Any], *, folder: str = "", call: str = "") -> ScriptedStatus:
        """The same with its message made for one call, to be sent later. Raises ValueError where a template fails."""
        return replace(self, message=self.status(context, folder=folder, call=call).message)

    def status(self, context: Mapping[str, Any], *, folder: str = "", call: str = "") -> Status:
        """The status for this call: templates are rendered, a missing message is the service's own.

        Raises ValueError where a template fails.
        """
        text = self.message
        if text is None:
            text = wording.for_code(self.code, folder=folder, call=call)
        elif not isinstance(text, str):
            text = text(context)
        return Status(self.code, text, details=self.details)


def packed(detail: Any) -> Any:
    """A status's detail as a google.protobuf.Any of our pool; one that is packed already stays as it is."""
    from .. import api

    if detail.DESCRIPTOR.full_name == "google.protobuf.Any":
        return api.Any.FromString(detail.SerializeToString())
    return api.pack(detail)


def compile_status(spec: str | model.Error, known: frozenset[str], templates: bool, report: Report) -> ScriptedStatus:
    """Compile `error: CODE` or `error: {code, message, retry_after, details}`; mistakes go to `report`."""
    error = model.Error(code=spec) if isinstance(spec, str) else spec
    where: tuple[str | int, ...] = () if isinstance(spec, str) else ("code",)
    code = code_named(error.code, lambda text: report(where, text))
    message: Any = error.message
    if message is not None and templates and has_template(message):
        try:
            message = _renderer(message, known)
        except ValueError as failed:
            report(("message",), str(failed))
    details = [_detail(name, fields, report) for name, fields in _entries(error.details)]
    if error.retry_after is not None:
        from ..api import from_dict, message_class

        nanos = error.retry_after.ns
        delay = {"retry_delay": f"{nanos // 10**9}.{nanos % 10**9:09d}s"}
        details.insert(0, from_dict(delay, message_class("google.rpc.RetryInfo")))
    return ScriptedStatus(code, message, tuple(d for d in details if d is not None))


def code_named(name: str, report: Callable[[str], None]) -> Code:
    """The code of that name; INTERNAL, and a report, for one that does not exist."""
    name = ALIASES.get(name.upper(), name.upper())
    if name == "OK":
        report("OK is no error; leave error out")
    elif name in Code.__members__:
        return Code[name]
    elif name.isdecimal():
        report(f"give the code by its name: {_BY_NUMBER.get(name, 'UNAVAILABLE, RESOURCE_EXHAUSTED, ...')}")
    else:
        import difflib

        near = difflib.get_close_matches(name, Code.__members__, 1)
        codes = ", ".join(code.name for code in Code if code)
        report(f"no such status code: {name[:60]}; " + (f"did you mean {near[0]}?" if near else f"there are {codes}"))
    return Code.INTERNAL


def _renderer(source: str, known: frozenset[str]) -> Callable[[Mapping[str, Any]], str]:
    template = compile_template(source, known)
    return lambda context: str(template.render(context))


def _entries(
    details: dict[str, dict[str, Any]] | list[dict[str, dict[str, Any]]] | None,
) -> list[tuple[str, dict[str, Any]]]:
    if details is None:
        return []
    return list(details.items()) if isinstance(details, dict) else [e for d in details for e in d.items()]


def _detail(name: str, fields: dict[str, Any], report: Report) -> Any:
    from ..api import from_dict, message_class

    full_name = name if "." in name else f"google.rpc.{name}"
    try:
        cls = message_class(full_name)
    except KeyError:
        report(
            ("details",),
            f"no such message: {full_name}; google.rpc has RetryInfo, QuotaFailure, ErrorInfo, BadRequest, ...",
        )
        return None
    try:
        return from_dict(_durations(fields), cls)
    except ValueError as failed:
        report(("details",), f"{name}: {failed}")
        return None


def _durations(value: Any) -> Any:
    """`retry_delay: 2s` may be written in any unit of the fixture language; protobuf's JSON knows seconds alone."""
    from ..rules.duration import parse

    if isinstance(value, list):
        return [_durations(element) for element in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, inner in value.items():
        if key in ("retry_delay", "retryDelay") and isinstance(inner, (str, int, float)):
            nanos = parse(str(inner))
            inner = f"{nanos // 10**9}.{nanos % 10**9:09d}s"
        out[key] = _durations(inner)
    return out
