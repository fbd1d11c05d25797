"""Endpoint discovery as it travels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from emulator.api import GetApiEndpointRequest, ListApiEndpointsRequest

from .client import Client

if TYPE_CHECKING:
    from conftest import Connect, Serve

ASKED_FOR = {
    "ai-foundation-models",
    "ai-llm",
    "operation",
    "iam",
    "endpoint",
    "fomo-dataset",
    "ai-fomo-dataset",
    "ai-foundatation-models",
    "storage",
}


def test_every_id_that_clients_ask_for_is_listed_in_order_and_points_here(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    listed = connect(emulator).call("ApiEndpointService/List", ListApiEndpointsRequest()).only
    ids = [endpoint.id for endpoint in listed.endpoints]
    assert set(ids) >= ASKED_FOR
    assert ids == sorted(ids)
    assert {endpoint.address for endpoint in listed.endpoints} == {f"localhost:{emulator.port}"}
    assert listed.next_page_token == ""


def test_the_address_that_is_told_can_be_called(serve: Serve, connect: Connect) -> None:
    listed = connect(serve()).call("ApiEndpointService/List", ListApiEndpointsRequest()).only
    with Client(listed.endpoints[0].address) as client:
        assert client.call("ApiEndpointService/List", ListApiEndpointsRequest()).only == listed


@pytest.mark.parametrize("id_", sorted(ASKED_FOR))
def test_get_tells_what_list_tells(serve: Serve, connect: Connect, id_: str) -> None:
    emulator = serve()
    got = connect(emulator).call("ApiEndpointService/Get", GetApiEndpointRequest(api_endpoint_id=id_)).only
    assert (got.id, got.address) == (id_, f"localhost:{emulator.port}")


def test_get_of_an_unknown_id_is_not_found_and_names_the_nearest(serve: Serve, connect: Connect) -> None:
    reply = connect(serve()).call("ApiEndpointService/Get", GetApiEndpointRequest(api_endpoint_id="operations"))
    assert reply.code == "NOT_FOUND"
    assert "did you mean operation?" in reply.text


def test_advertise_is_what_clients_are_told(serve: Serve, connect: Connect) -> None:
    client = connect(serve(advertise="emulator.test:4443"))
    listed = client.call("ApiEndpointService/List", ListApiEndpointsRequest()).only
    got = client.call("ApiEndpointService/Get", GetApiEndpointRequest(api_endpoint_id="operation")).only
    assert {endpoint.address for endpoint in listed.endpoints} | {got.address} == {"emulator.test:4443"}


def test_pages_put_together_are_the_whole_list(serve: Serve, connect: Connect) -> None:
    client = connect(serve())
    whole = client.call("ApiEndpointService/List", ListApiEndpointsRequest()).only
    collected, token = [], ""
    while True:
        page = client.call("ApiEndpointService/List", ListApiEndpointsRequest(page_size=4, page_token=token)).only
        assert len(page.endpoints) <= 4
        collected.extend(page.endpoints)
        token = page.next_page_token
        if not token:
            break
    assert collected == list(whole.endpoints)


def test_a_page_token_that_list_never_gave_is_refused(serve: Serve, connect: Connect) -> None:
    reply = connect(serve()).call("ApiEndpointService/List", ListApiEndpointsRequest(page_token="дальше"))
    assert reply.code == "INVALID_ARGUMENT"
