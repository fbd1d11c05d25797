"""Options, declared once: the command line, the environment and the Python API all read `Config`.

Each field carries its help and its environment variable is `FM_EMULATOR_` and its name in capitals. `from_values` is
the one place that checks values, whoever gives them.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .errors import UsageError

ENVIRONMENT_PREFIX = "FM_EMULATOR_"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
SESSION_SOURCES = ("header", "api-key")
QUOTA_PRESETS = ("none", "real")
MOST_SPEED = 1_000_000
ENGINES = ("grpc.aio", "native")
_MOST = 2**62
"""More than there can be of anything."""

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1", "[::1]")


class Option:
    """A field of `Config`: its `name` and `default`, what it is for, and how the command line takes it.

    `kind` is the type of its value, or of each where there are `many`; `choices` are the values that there are, if not
    all. A `path` may be given as such, a `secret` is not shown, and only `serve` has what is `serve_only`.
    """

    __slots__ = ("choices", "default", "help", "kind", "many", "metavar", "name", "path", "secret", "serve_only")

    name: str

    def __init__(
        self,
        default: Any,
        help: str,
        kind: type = str,
        metavar: str | None = None,
        choices: tuple[str, ...] = (),
        *,
        many: bool = False,
        path: bool = False,
        secret: bool = False,
        serve_only: bool = False,
    ) -> None:
        self.default, self.help, self.kind, self.metavar, self.choices = default, help, kind, metavar, choices
        self.many, self.path, self.secret, self.serve_only = many, path, secret, serve_only

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name
        OPTIONS[name] = self


OPTIONS: dict[str, Option] = {}
"""Every option, by its name."""


def option(default: Any, help: str, **more: Any) -> Any:
    """An `Option`, as the type of its value."""
    return Option(default, help, **more)


class Config:
    """Everything that can be set about an emulator. It isn't changed once it is made.

    A plain class: what generates methods, as dataclasses do, takes longer to import and to run than all that is here.
    """

    fixtures: tuple[Any, ...] = option(
        (),
        "A fixture file, or a folder whose *.yaml and *.yml files are read in name order.",
        metavar="PATH",
        many=True,
    )
    host: str = option("localhost", "Address to listen on; localhost is both 127.0.0.1 and ::1.", metavar="HOST")
    port: int = option(50051, "Port for gRPC; 0 takes a free one.", kind=int, metavar="N")
    http_port: int | None = option(
        None,
        "Port for HTTP, where datasets are uploaded and downloaded; 0 takes a free one. Unless given it is 50052, or a "
        "free one where that is taken or the port for gRPC is a free one.",
        kind=int,
        metavar="N",
    )
    advertise: str | None = option(
        None, "HOST:PORT that endpoint discovery tells clients, where it can't be worked out.", metavar="H:P"
    )
    advertise_http: str | None = option(
        None, "HOST:PORT in the URLs of datasets, where it can't be worked out.", metavar="H:P"
    )
    tls: bool = option(False, "Listen with TLS as well, with a certificate that clients of the cloud take.", kind=bool)
    tls_port: int | None = option(
        None,
        "Port for gRPC with TLS; 0 takes a free one. Unless given it is 50053, or a free one where that is taken or "
        "the port for gRPC is a free one.",
        kind=int,
        metavar="N",
    )
    tls_dir: str | None = option(
        None,
        "Folder of ca.pem, which clients have to trust, server.pem and their keys; what is missing is made. Unless "
        "given it is a new one, which goes with the emulator.",
        metavar="PATH",
        path=True,
    )
    tls_cert: str | None = option(
        None, "A certificate in PEM to show instead, with what is between it and its CA.", metavar="FILE", path=True
    )
    tls_key: str | None = option(None, "The key of that certificate, in PEM.", metavar="FILE", path=True)
    tls_name: tuple[str, ...] = option(
        (), "A further host name or address that the certificate is for.", metavar="HOST", many=True
    )
    advertise_tls: str | None = option(
        None, "HOST:PORT that endpoint discovery tells clients that ask with TLS.", metavar="H:P"
    )
    engine: str = option(
        "grpc.aio",
        "What speaks gRPC: grpc.aio, or native, which is many times as fast: HTTP/2 of the emulator's own.",
        metavar="NAME",
        choices=ENGINES,
    )
    seed: int = option(0, "Root of every random choice; the same seed gives the same replies.", kind=int, metavar="N")
    speed: float = option(1.0, "How fast scripted time runs: 60 makes a minute take a second.", kind=float, metavar="X")
    now: int | None = option(None, "When the emulator's clock starts, e.g. 2026-01-31T12:00:00Z.", metavar="TIME")
    strict: bool = option(False, "Fail a call that no rule matches with FAILED_PRECONDITION.", kind=bool)
    lenient: bool = option(False, "Accept requests that the real service would refuse.", kind=bool)
    quotas: str = option(
        "none",
        "Limits that calls meet where the fixtures name no preset; real is the service's documented defaults.",
        metavar="PRESET",
        choices=QUOTA_PRESETS,
    )
    chaos: float = option(
        0.0,
        "Share of calls, from 0 to 1, that fail with UNAVAILABLE where the fixtures have no chaos of their own.",
        kind=float,
        metavar="SHARE",
    )
    immediate: bool = option(False, "Operations without a timeline are done at the first Get.", kind=bool)
    frozen: bool = option(False, "The emulator's clock stands still until it is moved.", kind=bool)
    token: str | None = option(
        None,
        "What calls of the control API, and GET /metrics, must carry; without one the former is on for loopback alone.",
        metavar="TEXT",
        secret=True,
    )
    session_from: str = option(
        "header",
        "Where a call's session is named: x-emulator-session, or also the API key up to its first dot.",
        metavar="WHERE",
        choices=SESSION_SOURCES,
    )
    require_auth: bool = option(False, "Ask each call for a credential, as the real service does.", kind=bool)
    api_key: tuple[str, ...] = option(
        (), "An API key that is known; calls have to show one that is.", metavar="KEY", many=True, secret=True
    )
    session_idle: float = option(
        3600.0, "Real seconds after which a session that nobody uses is dropped.", kind=float, metavar="SECONDS"
    )
    metrics: bool = option(False, "Serve GET /metrics, in Prometheus's format, on the port for HTTP.", kind=bool)
    otel: bool = option(
        False, "Send a span for each call by OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says.", kind=bool
    )
    max_streams: int = option(
        100_000, "Calls that may be under way at once; further ones are refused.", kind=int, metavar="N"
    )
    max_reply: int = option(
        4 * 1024 * 1024,
        "Bytes of a message of a reply; gRPC clients take 4 MiB unless told otherwise.",
        kind=int,
        metavar="BYTES",
    )
    max_operations: int = option(
        1_000_000,
        "Operations that a session keeps; beyond that the one that has been done the longest goes.",
        kind=int,
        metavar="N",
    )
    max_sessions: int = option(1000, "Sessions beside the one that the emulator begins with.", kind=int, metavar="N")
    max_stored: int = option(
        10 * 1024**3, "Bytes of datasets, uploaded and filled by batches, in all sessions.", kind=int, metavar="BYTES"
    )
    watch: bool = option(False, "Follow the fixtures and load them anew when they change.", kind=bool, serve_only=True)
    ready_file: str | None = option(
        None, "Write addresses and pid to FILE, as JSON, once serving.", metavar="FILE", serve_only=True
    )
    log_level: str = option("info", "What to log.", metavar="L", choices=LOG_LEVELS, serve_only=True)
    log_format: str = option("text", "How to log.", metavar="F", choices=LOG_FORMATS, serve_only=True)

    def __init__(self, **values: Any) -> None:
        for name, one in OPTIONS.items():
            self.__dict__[name] = values.pop(name, one.default)
        if values:
            raise TypeError(f"no such option: {', '.join(values)}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"a Config isn't changed; {name} can be given when it is made")

    def __eq__(self, other: object) -> bool:
        return self.__dict__ == other.__dict__ if isinstance(other, Config) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def altered(self, **values: Any) -> Config:
        """The same with other values of these options."""
        return Config(**{**self.__dict__, **values})

    @property
    def changed(self) -> dict[str, str]:
        """What differs from its default, by name, as text; of a secret nothing but that it is set."""
        given = self.__dict__
        return {name: _shown(one, given[name]) for name, one in OPTIONS.items() if given[name] != one.default}

    @property
    def loopback_only(self) -> bool:
        """Whether nobody but this machine can reach the listeners."""
        parts = self.host.split(".")
        return self.host in LOOPBACK_NAMES or (
            parts[0] == "127" and len(parts) == 4 and all(part.isdecimal() and len(part) <= 3 for part in parts)
        )


def _shown(one: Option, value: Any) -> str:
    values = value if isinstance(value, tuple) else (value,)
    if one.secret:
        return " ".join("****" for _ in values)
    if one.name == "now":
        return (_EPOCH + datetime.timedelta(microseconds=value // 1000)).isoformat().replace("+00:00", "Z")
    if isinstance(value, bool):
        return "on" if value else "off"
    return " ".join(str(v) if isinstance(v, (str, int, float, os.PathLike)) else "(from Python)" for v in values)


def from_values(values: Mapping[str, Any]) -> Config:
    """A checked `Config`. Raises UsageError, naming the option and the remedy."""
    for name in values:
        if name not in OPTIONS:
            raise UsageError(f"no such option: {name}; there are {', '.join(OPTIONS)}")
    checked = {name: _checked(name, value) for name, value in values.items()}
    _check_together(checked)
    return Config(**checked)


def _check_together(values: Mapping[str, Any]) -> None:
    for name in ("tls_port", "tls_dir", "tls_cert", "tls_key", "tls_name", "advertise_tls"):
        if values.get(name) not in (None, ()) and not values.get("tls"):
            raise UsageError(f"{name}: it is about TLS, which is off; turn it on with tls")
    for one, other in (("tls_cert", "tls_key"), ("tls_key", "tls_cert")):
        if values.get(one) is not None and values.get(other) is None:
            raise UsageError(f"{one}: it needs {other} as well")
    for name in ("tls_dir", "tls_name"):
        if values.get("tls_cert") is not None and values.get(name) not in (None, ()):
            raise UsageError(f"{name}: it is for certificates that are made; leave it out where tls_cert is given")


def _checked(name: str, value: Any) -> Any:
    one = OPTIONS[name]
    if one.many:
        many = isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping))
        values = tuple(value) if many else () if value is None else (value,)
        if name == "api_key":
            _check_keys(values)
        if name == "tls_name" and values:
            from .tls import check_name

            return tuple(map(check_name, values))
        return values
    if value is None:
        if one.default is not None:
            raise UsageError(f"{name}: None is no value; leave it out for {one.default!r}")
        return None
    if name == "now":
        return instant(value)
    if one.path and isinstance(value, os.PathLike):
        value = os.fspath(value)
    kind = one.kind
    fits = (int, float) if kind is float else kind
    if not isinstance(value, fits) or (isinstance(value, bool) and kind is not bool):
        raise UsageError(f"{name}: {value!r} is not {_KINDS[kind]}")
    _check_range(name, value)
    return value


_KINDS = {str: "a text", int: "a whole number", float: "a number", bool: "True or False"}


def _check_keys(keys: tuple[Any, ...]) -> None:
    for key in keys:  # not quoted, since they are secrets
        if not isinstance(key, str) or not key or not (key.isascii() and key.isprintable()) or " " in key:
            raise UsageError("api_key: it travels as a header; give printable ASCII without spaces")


def _check_range(name: str, value: Any) -> None:
    if name in ("port", "http_port", "tls_port") and not 0 <= value <= 65535:
        raise UsageError(f"{name}: {value} is not a port; give a number from 0 to 65535")
    if name == "host" and not value.strip():
        raise UsageError("host: it is empty; give an address of this machine, e.g. 127.0.0.1 or 0.0.0.0")
    if name == "speed" and not 0 < value <= MOST_SPEED:
        raise UsageError(f"speed: {value} must be more than 0 and at most {MOST_SPEED}")
    if name == "chaos" and not 0 <= value <= 1:
        raise UsageError(f"chaos: {value} is no share of calls; give a number from 0 to 1, such as 0.1")
    if name == "session_idle" and not value > 0:
        raise UsageError(f"session_idle: {value} must be more than 0 seconds")
    if name.startswith("max_") and not 0 < value <= _MOST:
        raise UsageError(f"{name}: {value} must be from 1 to {_MOST}")
    if name == "token" and not (value.strip() == value and value and value.isascii() and value.isprintable()):
        raise UsageError("token: it travels as a header; give printable ASCII without spaces around it")
    if name in ("advertise", "advertise_http", "advertise_tls"):
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) <= 65535:
            example = {"advertise": 50051, "advertise_http": 50052}.get(name, 50053)
            raise UsageError(f"{name}: {value!r} is not HOST:PORT, e.g. emulator:{example}")
    choices = OPTIONS[name].choices
    if choices and value not in choices:
        raise UsageError(f"{name}: {value!r} is none of {', '.join(choices)}")


_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
_LAST_YEAR = 9899
"""A timestamp on the wire ends with the year 9999, and a story that begins with `now` goes on from there."""


def instant(value: int | str | datetime.datetime, name: str = "now") -> int:
    """Nanoseconds since the epoch for an ISO 8601 time (UTC unless it says otherwise), a datetime, or such a number
    itself. Raises UsageError, which calls the value `name`.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return _in_range(value, str(value), name)
    given = value
    if isinstance(value, str):
        try:
            value = datetime.datetime.fromisoformat(value[:-1] + "+00:00" if value.endswith(("Z", "z")) else value)
        except ValueError:
            raise UsageError(f"{name}: {value!r} is not a time; write it like 2026-01-31T12:00:00Z") from None
    if not isinstance(value, datetime.datetime):
        raise UsageError(f"{name}: {value!r} is not a time; give a datetime, or text like 2026-01-31T12:00:00Z")
    if value.tzinfo is None:
        value = value.replace(tzinfo=datetime.timezone.utc)
    return _in_range(_nanoseconds(value), str(given), name)


def _nanoseconds(moment: datetime.datetime) -> int:
    since = moment - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000


def _in_range(nanoseconds: int, given: str, name: str) -> int:
    end = _nanoseconds(datetime.datetime(_LAST_YEAR + 1, 1, 1, tzinfo=datetime.timezone.utc))
    if not 0 <= nanoseconds < end:
        raise UsageError(f"{name}: {given[:40]} is out of range; give a time from 1970 to {_LAST_YEAR}")
    return nanoseconds
