"""Logs on standard error: a line each, for people or as JSON."""

from __future__ import annotations

import datetime
import json
import logging
import sys


class TextFormatter(logging.Formatter):
    """`12:30:01.250 INFO ...`; line breaks inside a message are shown, not made."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created).strftime("%H:%M:%S.%f")[:-3]
        text = record.getMessage().replace("\r", "\\r").replace("\n", "\\n")
        line = f"{time} {record.levelname} {text}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, message, and for a call its fields."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc).isoformat(timespec="milliseconds")
        fields = {"time": time, "level": record.levelname.lower(), "message": record.getMessage()}
        extra = getattr(record, "fields", None)
        if extra is not None:
            fields = {"time": time, "level": record.levelname.lower(), **extra}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


def set_up(level: str, form: str) -> None:
    """Log the emulator's own loggers to standard error."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    logger = logging.getLogger("emulator")
    logger.handlers[:] = [handler]
    logger.propagate = False
    logger.setLevel(level.upper())
