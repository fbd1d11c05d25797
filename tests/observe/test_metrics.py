"""GET /metrics: what calls came to, in Prometheus's format, as its own parser reads it."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families
from wire.client import asking, drawing, eventually

from emulator import Emulator, UsageError
from emulator.observe.metrics import MOST_RULES

if TYPE_CHECKING:
    from conftest import Connect, Serve

SERVICE = "yandex.cloud.ai.foundation_models.v1.TextGenerationService"
COMPLETION = f"{SERVICE}/Completion"
FOREVER = {"words": 1, "stall": {"after": 1, "for": "forever"}}
RULES = {
    "rules": [
        {"name": "hello", "when": {"question": "привет"}, "reply": {"text": "раз два три", "stream": {"words": 1}}},
        {"name": "busy", "when": {"question": "занято"}, "reply": {"error": "UNAVAILABLE"}},
        {"name": "endless", "when": {"question": "вечно"}, "reply": {"text": "а б", "stream": FOREVER}},
    ],
}


def scraped(emulator: Emulator) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Samples by name and labels."""
    response = httpx.get(f"http://{emulator.http_target}/metrics")
    assert response.status_code == 200
    families = text_string_to_metric_families(response.text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def value(emulator: Emulator, name: str, **labels: str) -> float:
    return scraped(emulator).get((f"fm_emulator_{name}", frozenset(labels.items())), 0.0)


def test_calls_are_counted_by_method_status_and_rule(serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES, metrics=True)
    client = connect(emulator)
    for question in ("привет", "привет", "занято", "иное"):
        client.complete(asking(question, stream=True))
    counts = {
        (rule, code): value(emulator, "calls_total", method=COMPLETION, code=code, rule=rule)
        for rule, code in (("hello", "OK"), ("busy", "UNAVAILABLE"), ("default", "OK"))
    }
    assert counts == {("hello", "OK"): 2, ("busy", "UNAVAILABLE"): 1, ("default", "OK"): 1}
    assert value(emulator, "unmatched_calls_total", method=COMPLETION) == 1
    assert value(emulator, "messages_sent_total", method=COMPLETION) >= 6
    assert value(emulator, "call_duration_seconds_count", method=COMPLETION) == 4
    assert value(emulator, "call_duration_seconds_bucket", method=COMPLETION, le="+Inf") == 4
    assert value(emulator, "call_duration_seconds_sum", method=COMPLETION) > 0
    assert value(emulator, "journal_calls") == 4


def test_a_stream_under_way_is_open_until_its_client_leaves(serve: Serve, connect: Connect) -> None:
    emulator = serve(RULES, metrics=True)
    call = connect(emulator).begin(COMPLETION, asking("вечно", stream=True))
    next(call)
    assert value(emulator, "calls_open") == 1
    call.cancel()
    eventually(lambda: value(emulator, "calls_open") == 0)
    assert value(emulator, "calls_total", method=COMPLETION, code="CANCELLED", rule="endless") == 1


def test_operations_are_told_by_state(serve: Serve, connect: Connect) -> None:
    emulator = serve(frozen=True, metrics=True)
    client = connect(emulator)
    for _ in range(3):
        client.call("ImageGenerationAsyncService/Generate", drawing("кот"))
    first = next(iter(emulator.operations.list()))
    emulator.operations.cancel(first.id)
    states = {
        dict(labels)["state"]: n for (name, labels), n in scraped(emulator).items() if name == "fm_emulator_operations"
    }
    assert sum(states.values()) == 3
    assert len(states) == 2


def test_refusals_are_counted_by_the_gate_that_refused(serve: Serve, connect: Connect) -> None:
    emulator = serve(
        {"quotas": {"limits": [{"call": "completion", "per_second": 1}]}}, metrics=True, frozen=True, api_key="k"
    )
    client = connect(emulator)
    key = [("authorization", "Api-Key k")]
    for _ in range(3):
        client.complete(asking("привет"), metadata=key)
    client.complete(asking("привет"))
    client.complete(asking("привет", model="нет"), metadata=key)
    assert [value(emulator, "refusals_total", by=by) for by in ("quota", "auth", "validation")] == [2, 1, 1]


def test_what_clients_and_fixtures_are_called_makes_no_endless_series(serve: Serve, connect: Connect) -> None:
    many = [{"name": f"r{n}", "when": {"question": str(n)}, "reply": {"text": "a"}} for n in range(MOST_RULES + 20)]
    emulator = serve({"rules": many}, metrics=True)
    client = connect(emulator)
    for n in range(MOST_RULES + 20):
        client.complete(asking(str(n)))
        client.call(f"/no.such.Service{n}/Method", b"")
    assert value(emulator, "calls_total", method=COMPLETION, code="OK", rule="other") >= 20
    assert value(emulator, "calls_total", method="other", code="UNIMPLEMENTED", rule="") == MOST_RULES + 20
    assert len(scraped(emulator)) < MOST_RULES + 100


def test_calls_of_tools_are_not_counted_and_a_reset_takes_nothing_back(serve: Serve, connect: Connect) -> None:
    emulator = serve(metrics=True)
    client = connect(emulator)
    client.complete(asking("раз"))
    client.call("/grpc.health.v1.Health/Check", b"")
    emulator.reset()
    client.complete(asking("раз"))
    calls = {labels: n for (name, labels), n in scraped(emulator).items() if name == "fm_emulator_calls_total"}
    assert list(calls.values()) == [2]


def test_who_asks_for_open_metrics_gets_that(serve: Serve, connect: Connect) -> None:
    emulator = serve(metrics=True)
    connect(emulator).complete(asking("раз"))
    accept = {"Accept": "application/openmetrics-text; version=1.0.0"}
    response = httpx.get(f"http://{emulator.http_target}/metrics", headers=accept)
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    assert "fm_emulator_calls" in {family.name for family in open_metrics(response.text)}


@pytest.mark.parametrize("shown", [None, "secret-of-ours", "Bearer secret", "Basic secret-of-ours", b"Bearer \xff"])
def test_where_there_is_a_token_metrics_are_for_who_shows_it(serve: Serve, shown: str | bytes | None) -> None:
    url = f"http://{serve(metrics=True, token='secret-of-ours').http_target}/metrics"
    refused = httpx.get(url, headers=[(b"Authorization", shown)] if shown is not None else [])
    assert (refused.status_code, refused.headers["www-authenticate"]) == (401, "Bearer")
    assert refused.text == "metrics need the emulator's token: send it as Authorization: Bearer TOKEN\n"
    assert httpx.get(url, headers={"Authorization": "Bearer secret-of-ours"}).status_code == 200


def test_there_are_none_unless_asked_for(serve: Serve) -> None:
    assert httpx.get(f"http://{serve().http_target}/metrics").status_code == 404


@pytest.mark.parametrize(
    ("option", "missing"), [("metrics", "prometheus_client"), ("metrics", "aiohttp"), ("otel", "opentelemetry")]
)
def test_an_option_whose_extra_is_missing_is_refused(
    monkeypatch: pytest.MonkeyPatch, option: str, missing: str
) -> None:
    real: Callable[..., ModuleSpec | None] = importlib.util.find_spec

    def find_spec(name: str, *rest: Any) -> ModuleSpec | None:
        if name.startswith(f"{missing}."):
            raise ModuleNotFoundError(name)
        return None if name == missing else real(name, *rest)

    monkeypatch.setattr(importlib.util, "find_spec", find_spec)
    remedy = rf"^{option}: .*pip install 'fm-emulator\[{option}\]'"
    with pytest.raises(UsageError, match=remedy), Emulator(**{option: True}):
        pass
