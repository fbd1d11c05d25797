"""Logs on standard error: a line each, for people or as JSON.

What is logged may quote a client, so nothing of it is acted on by a terminal, and no line is more than one.
"""

from __future__ import annotations

import datetime
import logging
import os
import sys
from typing import Any

LIBRARIES = ("asyncio", "grpc", "opentelemetry", "py.warnings")
_CALLS = "emulator.calls"
_EVENTS = {_CALLS: "note", "emulator.http": "http"}
_DIM, _RED, _GREEN, _YELLOW = 2, 31, 32, 33
_COLOURS = {"WARNING": _YELLOW, "ERROR": _RED, "CRITICAL": _RED}


def printable(text: str) -> str:
    """`text` in one line, with what a terminal would act on shown and not done."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _styled(text: str, code: int) -> str:
    return f"\x1b[{code}m{text}\x1b[0m"


class TextFormatter(logging.Formatter):
    """`12:30:01.250 INFO ...`; line breaks inside a message are shown, not made. In colour where `coloured`."""

    def __init__(self, coloured: bool = False) -> None:
        super().__init__()
        self._coloured = coloured
        self._second = (-1, "")

    def _time(self, created: float) -> str:
        second = int(created)
        if second != self._second[0]:  # most lines are of the second of the one before
            self._second = second, datetime.datetime.fromtimestamp(second).strftime("%H:%M:%S")
        return f"{self._second[1]}.{int((created - second) * 1000):03d}"

    def format(self, record: logging.LogRecord) -> str:
        time = self._time(record.created)
        level, text = record.levelname, printable(record.getMessage())
        if self._coloured:
            time, level = _styled(time, _DIM), _styled(level, _COLOURS[level]) if level in _COLOURS else level
            told = str(getattr(record, "fields", {}).get("status", ""))
            if told:
                text = text.replace(f" {told} ", f" {_styled(told, _GREEN if told == 'OK' else _RED)} ", 1)
        line = f"{time} {level} {text}"
        if not record.exc_info:
            return line
        return "\n".join((line, *map(printable, self.formatException(record.exc_info).splitlines())))


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, event, message, and the fields of the event."""

    def format(self, record: logging.LogRecord) -> str:
        import json

        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).isoformat(timespec="milliseconds")
        fields: dict[str, Any] = getattr(record, "fields", {})
        of_call = record.name == _CALLS and bool(fields)
        event = "call" if of_call else getattr(record, "event", _EVENTS.get(record.name, "log"))
        out = {"time": time, "level": record.levelname.lower(), "event": event}
        if not of_call:  # whose message is that of its status
            out["message"] = record.getMessage()
        out |= fields
        if record.exc_info:
            out["traceback"] = self.formatException(record.exc_info)
        return json.dumps(out, ensure_ascii=False)


def set_up(level: str, form: str) -> None:
    """Log to standard error: the emulator's own loggers, and of the libraries that it stands on what is a warning."""
    stream = sys.stderr
    if form == "json" and hasattr(stream, "reconfigure"):
        stream.reconfigure(encoding="utf-8", errors="backslashreplace")  # JSON is UTF-8, whatever the locale says
    handler = logging.StreamHandler(stream)
    coloured = stream.isatty() and not os.environ.get("NO_COLOR")
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter(coloured))
    own = logging.getLogger("emulator")
    own.setLevel(level.upper())
    for logger in (own, *map(logging.getLogger, LIBRARIES)):
        logger.handlers[:] = [handler]
        logger.propagate = False


def silence() -> None:
    """Log nothing at all."""
    for name in ("emulator", *LIBRARIES):
        logging.getLogger(name).handlers[:] = [logging.NullHandler()]
