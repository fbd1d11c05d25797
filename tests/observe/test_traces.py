"""Spans, as a collector on loopback gets them over HTTP."""

from __future__ import annotations

import gzip
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from wire.client import asking

from emulator import Emulator, UsageError, __version__

if TYPE_CHECKING:
    from conftest import Connect

SERVICE = "yandex.cloud.ai.foundation_models.v1.TextGenerationService"
TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
RULES = {
    "rules": [
        {"name": "hello", "when": {"question": "привет"}, "reply": {"text": "раз два", "stream": {"words": 1}}},
        {"name": "busy", "when": {"question": "занято"}, "reply": {"error": {"code": "UNAVAILABLE", "message": "нет"}}},
    ]
}


class Collector:
    """Takes what is exported to it; `url` is where."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                raw = gzip.decompress(raw) if self.headers.get("Content-Encoding") == "gzip" else raw
                collector.requests.append((self.path, ExportTraceServiceRequest.FromString(raw)))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    @property
    def resource(self) -> dict[str, Any]:
        return _plain(self.requests[0][1].resource_spans[0].resource.attributes)

    @property
    def spans(self) -> list[Any]:
        return [
            span
            for _, request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]


def _plain(attributes: Any) -> dict[str, Any]:
    return {pair.key: getattr(pair.value, pair.value.WhichOneof("value")) for pair in attributes}


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    found = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    thread = Thread(target=found.server.serve_forever)
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


def test_each_call_is_a_span_with_what_opentelemetry_says_of_rpc(collector: Collector, connect: Connect) -> None:
    with Emulator(RULES, otel=True) as emulator:
        client = connect(emulator)
        client.complete(asking("привет", stream=True))
        client.call("/grpc.health.v1.Health/Check", b"")
    assert [path for path, _ in collector.requests] == ["/v1/traces"]
    assert collector.resource["service.name"] == "fm-emulator"
    assert collector.resource["service.version"] == __version__
    (span,) = collector.spans
    assert span.name == f"{SERVICE}/Completion"
    assert span.kind == Span.SPAN_KIND_SERVER
    assert 0 < span.start_time_unix_nano < span.end_time_unix_nano
    attributes = _plain(span.attributes)
    assert attributes["rpc.system"] == "grpc"
    assert (attributes["rpc.service"], attributes["rpc.method"]) == (SERVICE, "Completion")
    assert attributes["rpc.grpc.status_code"] == 0
    assert attributes["network.peer.address"] in ("127.0.0.1", "::1")
    assert attributes["fm_emulator.rule"] == "hello"
    assert attributes["fm_emulator.call"] == "c1"
    assert attributes["fm_emulator.messages_sent"] == 2
    assert attributes["fm_emulator.unmatched"] is False


def test_the_span_of_the_client_is_its_parent(collector: Collector, connect: Connect) -> None:
    with Emulator(RULES, otel=True) as emulator:
        client = connect(emulator)
        client.complete(asking("привет"), metadata=[("traceparent", f"00-{TRACE}-{PARENT}-01")])
        client.complete(asking("занято"), metadata=[("traceparent", f"00-{TRACE}-{PARENT}-00")])  # not sampled
        client.complete(asking("привет"), metadata=[("traceparent", "чепуха".encode().hex())])
    child, orphan = collector.spans
    assert (child.trace_id.hex(), child.parent_span_id.hex()) == (TRACE, PARENT)
    assert orphan.parent_span_id == b""


def test_failures_of_a_server_are_errors_and_refusals_are_not(collector: Collector, connect: Connect) -> None:
    with Emulator(RULES, otel=True, strict=True) as emulator:
        client = connect(emulator)
        client.complete(asking("занято"), metadata=[("x-emulator-session", "job")])
        client.complete(asking("иное"))
        client.complete(asking("иное", model="нет"))
    failed, unmatched, refused = collector.spans
    assert (failed.status.code, failed.status.message) == (2, "нет")
    assert _plain(failed.attributes)["fm_emulator.session"] == "job"
    assert (unmatched.status.code, _plain(unmatched.attributes)["fm_emulator.unmatched"]) == (0, True)
    assert _plain(refused.attributes)["fm_emulator.refused_by"] == "validation"


def test_opentelemetrys_own_variables_are_followed(
    collector: Collector, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "stand")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=ci")
    with Emulator(otel=True) as emulator:
        connect(emulator).complete(asking("привет"))
    assert (collector.resource["service.name"], collector.resource["deployment.environment"]) == ("stand", "ci")


def test_nothing_of_a_credential_is_in_a_span(collector: Collector, connect: Connect) -> None:
    with Emulator(otel=True, api_key="key-of-mine-that-is-known", token="token-of-mine") as emulator:
        client = connect(emulator)
        metadata = [("x-emulator-token", "token-of-mine"), ("authorization", "Api-Key key-of-mine-that-is-not-known")]
        client.complete(asking("привет"), metadata=metadata)
    (span,) = collector.spans
    raw = span.SerializeToString()
    assert b"token-of-mine" not in raw
    assert b"of-mine-that" not in raw


def test_a_protocol_that_is_not_spoken_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    refused = pytest.raises(
        UsageError, match=r"^otel: OTEL_EXPORTER_OTLP_PROTOCOL is grpc; spans are sent by http/protobuf alone$"
    )
    with refused, Emulator(otel=True):
        pass


def test_a_collector_that_is_not_there_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with Emulator(RULES, otel=True) as emulator:
        assert connect(emulator).complete(asking("привет")).code == "OK"


def test_one_that_does_not_come_up_leaves_no_thread(collector: Collector) -> None:
    with Emulator() as first:
        before = {thread.name for thread in threading.enumerate()}
        with pytest.raises(UsageError, match="is taken"), Emulator(otel=True, port=first.port):
            pass
        assert {thread.name for thread in threading.enumerate() if "Span" in thread.name} <= before


@pytest.mark.parametrize("first", ["emulator", "opentelemetry"])
def test_its_messages_and_ours_are_in_one_process(first: str) -> None:
    stubs = "yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2_grpc"
    imports = {
        "emulator": "from emulator import Emulator, api",
        "opentelemetry": "from opentelemetry.proto.collector.trace.v1 import trace_service_pb2",
    }
    last = next(name for name in imports if name != first)
    code = f"{imports[first]}; {imports[last]}; import {stubs}"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)
