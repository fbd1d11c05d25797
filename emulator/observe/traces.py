"""A span for each call, sent by OpenTelemetry's SDK over OTLP in a thread of its own. Imports the SDK: only on demand.

Where to and how is said by the variables that OpenTelemetry defines, OTEL_EXPORTER_OTLP_ENDPOINT and its like. The
client's `traceparent` is the span's parent, and its sampling is followed. A span is made when its call is over, so a
call that is under way costs nothing. Attributes are those that OpenTelemetry defines for RPC, and `fm_emulator.*`.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import SpanKind, StatusCode
from opentelemetry.trace import Status as SpanStatus

from .. import __version__
from ..call import Call
from ..clock import SECOND, Wall
from ..errors import Code, UsageError

log = logging.getLogger("emulator")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
OURS = "http/protobuf"
PATIENCE = 3.0
"""Real seconds that the last spans are given when the emulator stops."""

FAULTS = frozenset(("UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"))
"""Statuses that are errors of a server, as OpenTelemetry has it."""


class Traces:
    """Makes the spans. Raises UsageError for what OTEL_* variables ask for and is not there."""

    def __init__(self) -> None:
        for name in PROTOCOLS:
            asked = os.environ.get(name, "") or OURS
            if asked != OURS:
                raise UsageError(f"otel: {name} is {asked}; spans are sent by {OURS} alone")
        try:
            from opentelemetry.propagate import extract  # which reads OTEL_PROPAGATORS when it is imported

            self._extract = extract
            exporter = OTLPSpanExporter()
            named = {} if "OTEL_SERVICE_NAME" in os.environ else {SERVICE_NAME: "fm-emulator"}
            self._provider = TracerProvider(
                resource=Resource.create({**named, SERVICE_VERSION: __version__}), shutdown_on_exit=False
            )
            self._provider.add_span_processor(BatchSpanProcessor(exporter))
        except Exception as failed:  # what the variables say is parsed in many places
            raise UsageError(f"otel: OTEL_* variables won't do: {failed}") from None
        self._tracer = self._provider.get_tracer("fm-emulator", __version__)

    def closed(self, call: Call) -> None:
        """Make the span of a call."""
        try:
            self._tell(call)
        except Exception:  # no call fails for it
            log.exception("no span could be made of %s", call.entry.id)

    def _tell(self, call: Call) -> None:
        entry = call.entry
        ended = int(Wall.now() * SECOND)
        texts = {key: value for key, value in call.metadata if isinstance(value, str)}
        span = self._tracer.start_span(
            entry.method[1:],
            context=self._extract(texts),
            kind=SpanKind.SERVER,
            attributes=dict(_attributes(call)),
            start_time=ended - int(entry.took * SECOND),
        )
        if entry.code in FAULTS:
            span.set_status(SpanStatus(StatusCode.ERROR, entry.message))
        span.end(ended)

    def close(self) -> None:
        """Send what is left, for at most `PATIENCE`; blocks."""
        # A collector that doesn't answer is tried again and again, and nobody is to wait for that.
        closing = threading.Thread(target=self._provider.shutdown, name="fm-emulator-otel", daemon=True)
        closing.start()
        closing.join(PATIENCE)


def _attributes(call: Call) -> Iterator[tuple[str, Any]]:
    entry = call.entry
    service, _, method = entry.method[1:].partition("/")
    yield from (("rpc.system", "grpc"), ("rpc.service", service), ("rpc.method", method))
    yield "rpc.grpc.status_code", int(Code[entry.code]) if entry.code is not None else int(Code.UNKNOWN)
    kind, _, address = unquote(entry.peer).partition(":")
    host, _, port = address.rpartition(":")
    if kind in ("ipv4", "ipv6") and port.isdecimal():
        yield from (("network.peer.address", host.strip("[]")), ("network.peer.port", int(port)))
    yield from (("fm_emulator.call", entry.id), ("fm_emulator.request_id", entry.request_id))
    yield from (("fm_emulator.rule", entry.rule), ("fm_emulator.unmatched", entry.unmatched))
    yield "fm_emulator.messages_sent", entry.sent
    told = (
        ("session", call.session.id),
        ("kind", entry.kind),
        ("refused_by", call.refused_by),
        ("operation_id", entry.operation_id),
    )
    yield from ((f"fm_emulator.{name}", value) for name, value in told if value)
