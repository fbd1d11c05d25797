"""Health and server reflection: what tools ask with no proto file at hand."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from emulator import Emulator
from emulator.api import METHODS, POOL, HealthCheckRequest, HealthCheckResponse, HealthListRequest, message_class

from .client import Client, asking, eventually

if TYPE_CHECKING:
    from conftest import Connect, Serve

FM = "yandex.cloud.ai.foundation_models.v1"
COMPLETION = f"{FM}.TextGenerationService"
SERVED = {
    COMPLETION,
    f"{FM}.TextGenerationAsyncService",
    f"{FM}.TextGenerationBatchService",
    f"{FM}.image_generation.ImageGenerationAsyncService",
    f"{FM}.TokenizerService",
    f"{FM}.EmbeddingsService",
    f"{FM}.text_classification.TextClassificationService",
    "yandex.cloud.operation.OperationService",
    "yandex.cloud.endpoint.ApiEndpointService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
}
OPTIONS = "google.protobuf.MethodOptions"
SERVING, NOT_SERVING, SERVICE_UNKNOWN = 1, 2, 3


@pytest.mark.parametrize("service", ["", *sorted(SERVED)])
def test_every_service_is_serving_and_so_is_the_whole(serve: Serve, connect: Connect, service: str) -> None:
    reply = connect(serve()).call("grpc.health.v1.Health/Check", HealthCheckRequest(service=service))
    assert reply.only.status == SERVING


def test_the_health_of_an_unknown_service_is_not_found(serve: Serve, connect: Connect) -> None:
    assert (
        connect(serve()).call("grpc.health.v1.Health/Check", HealthCheckRequest(service="no.Such")).code == "NOT_FOUND"
    )


def test_health_list_tells_every_service(serve: Serve, connect: Connect) -> None:
    statuses = connect(serve()).call("grpc.health.v1.Health/List", HealthListRequest()).only.statuses
    assert set(statuses) >= SERVED | {""}
    assert {state.status for state in statuses.values()} == {SERVING}


def test_a_watcher_hears_not_serving_while_calls_under_way_still_finish(connect: Connect) -> None:
    slow = {"rules": [{"reply": {"text": "готово", "delay": "300ms"}}]}
    with ThreadPoolExecutor() as pool:
        with Emulator(slow) as emulator:
            client = connect(emulator)
            watching = client.begin("grpc.health.v1.Health/Watch", HealthCheckRequest(service=COMPLETION))
            assert HealthCheckResponse.FromString(next(watching)).status == SERVING
            answer = pool.submit(client.complete, asking("Привет"))
            eventually(lambda: len(emulator.sessions.default.journal))
            following = pool.submit(next, watching)
        assert HealthCheckResponse.FromString(following.result()).status == NOT_SERVING
        assert answer.result().only.alternatives[0].message.text == "готово"
    with pytest.raises(grpc.RpcError):
        next(watching)
    assert watching.code() is grpc.StatusCode.UNAVAILABLE


def test_a_watcher_of_an_unknown_service_hears_so(serve: Serve, connect: Connect) -> None:
    watching = connect(serve()).begin("grpc.health.v1.Health/Watch", HealthCheckRequest(service="no.Such"))
    assert HealthCheckResponse.FromString(next(watching)).status == SERVICE_UNKNOWN
    watching.cancel()


@pytest.fixture(params=["v1", "v1alpha"])
def reflection(request: pytest.FixtureRequest, serve: Serve, connect: Connect) -> Reflection:
    return Reflection(connect(serve()), request.param)


class Reflection:
    """Asks one version of reflection."""

    def __init__(self, client: Client, version: str) -> None:
        self._client = client
        self._path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        self._request = message_class(f"grpc.reflection.{version}.ServerReflectionRequest")
        self._response = message_class(f"grpc.reflection.{version}.ServerReflectionResponse")

    def ask(self, *questions: dict[str, Any]) -> list[Any]:
        requests = [self._request(host="here", **question).SerializeToString() for question in questions]
        return [self._response.FromString(raw) for raw in self.raw(*requests)]

    def raw(self, *requests: bytes) -> list[bytes]:
        """The answers to these, all serialized."""
        return list(self._client.bidirectional(self._path, requests))

    def services(self) -> set[str]:
        (listed,) = self.ask({"list_services": "*"})
        return {service.name for service in listed.list_services_response.service}


def test_reflection_lists_every_served_service(reflection: Reflection) -> None:
    assert reflection.services() >= SERVED


def test_reflection_finds_the_files_of_everything_it_lists(reflection: Reflection) -> None:
    services = sorted(reflection.services())
    answers = reflection.ask(*({"file_containing_symbol": name} for name in services))
    assert len(answers) == len(services)
    for service, answer in zip(services, answers, strict=True):
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto
        ]
        declared = {f"{file.package}.{declared.name}" for file in files for declared in file.service}
        assert service in declared, answer


def test_what_reflection_tells_suffices_to_build_every_method(reflection: Reflection) -> None:
    pool = descriptor_pool.DescriptorPool()
    wanted = [{"file_containing_symbol": name} for name in sorted(SERVED)]
    known: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    while wanted:
        for answer in reflection.ask(*wanted):
            for raw in answer.file_descriptor_response.file_descriptor_proto:
                file = descriptor_pb2.FileDescriptorProto.FromString(raw)
                known[file.name] = file
        missing = {needed for file in known.values() for needed in file.dependency} - known.keys()
        wanted = [{"file_by_filename": name} for name in sorted(missing)]
    while known:
        ready = [file for file in known.values() if not known.keys() & set(file.dependency)]
        for file in ready:
            pool.AddSerializedFile(known.pop(file.name).SerializeToString())
    for method in METHODS.values():
        if method.service in SERVED:
            described = pool.FindServiceByName(method.service).methods_by_name[method.name]
            assert described.input_type.full_name == method.input_name
            assert described.output_type.full_name == method.output_name


def test_reflection_echoes_what_it_was_asked(reflection: Reflection) -> None:
    (answer,) = reflection.ask({"list_services": "everything"})
    assert answer.original_request.list_services == "everything"
    assert answer.valid_host == "here"


def test_reflection_answers_not_found_for_a_symbol_that_is_not_there(reflection: Reflection) -> None:
    missing, listed = reflection.ask({"file_containing_symbol": "no.Such"}, {"list_services": "*"})
    assert missing.error_response.error_code == 5
    assert listed.list_services_response.service


def test_health_and_reflection_leave_the_journal_alone(serve: Serve, connect: Connect) -> None:
    emulator = serve()
    client = connect(emulator)
    assert client.call("grpc.health.v1.Health/Check", HealthCheckRequest()).code == "OK"
    assert Reflection(client, "v1").services()
    assert len(emulator.sessions.default.journal) == 0


@pytest.mark.parametrize(
    "asked",
    [
        {"list_services": "*"},
        {"file_by_filename": "yandex/cloud/operation/operation.proto"},
        {"file_by_filename": "no.proto"},
        {"file_containing_symbol": "google.protobuf.Any"},
        {"file_containing_symbol": "google.api.http"},
        {"file_containing_symbol": ""},
        {"file_containing_extension": {"containing_type": OPTIONS, "extension_number": 72295728}},
        {"file_containing_extension": {"containing_type": OPTIONS, "extension_number": 1}},
        {"file_containing_extension": {"containing_type": "no.Such", "extension_number": -1}},
        {"all_extension_numbers_of_type": OPTIONS},
        {"all_extension_numbers_of_type": "google.protobuf.Any"},
        {"all_extension_numbers_of_type": "no.Such"},
        {},
    ],
    ids=repr,
)
def test_reflection_answers_as_the_library_for_it_does(serve: Serve, connect: Connect, asked: dict[str, Any]) -> None:
    library = pytest.importorskip("grpc_reflection.v1alpha.reflection")
    messages = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")
    theirs = Reflection(connect(serve()), "v1alpha")
    request = messages.ServerReflectionRequest(host="here", **asked)
    servicer = library.ReflectionServicer(sorted(theirs.services()), POOL)
    (wanted,) = servicer.ServerReflectionInfo(iter((request,)), None)
    (raw,) = theirs.raw(request.SerializeToString())
    ours = messages.ServerReflectionResponse.FromString(raw)
    assert (ours.valid_host, ours.original_request) == ("here", request)
    for response in (ours, wanted):
        response.ClearField("valid_host")
        response.ClearField("original_request")
        response.error_response.ClearField("error_message")
        files = response.file_descriptor_response.file_descriptor_proto
        files[:] = sorted(files)
    assert ours == wanted
