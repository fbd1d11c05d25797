"""The wire: what the descriptor set declares, and what `emulator.api` makes of it."""

from __future__ import annotations

import importlib
import runpy
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from google.protobuf.message import DecodeError

from emulator import api

ROOT = Path(__file__).resolve().parents[1]
PROTOS = ROOT / "protos"
OURS = sorted(path.relative_to(PROTOS).as_posix() for path in PROTOS.rglob("*.proto"))
FM = "yandex.cloud.ai.foundation_models.v1"
COMPLETION = f"/{FM}.TextGenerationService/Completion"


def files(descriptor_set: bytes) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(descriptor_set).file}


def declared(file: descriptor_pb2.FileDescriptorProto) -> dict[str, object]:
    """All that matters on the wire: full name of each message, enum and service -> what it consists of."""

    def message(node: descriptor_pb2.DescriptorProto, scope: str) -> Iterator[tuple[str, object]]:
        full_name = f"{scope}.{node.name}"
        oneofs = [oneof.name for oneof in node.oneof_decl]
        yield (
            full_name,
            sorted(
                (
                    field.name,
                    field.number,
                    field.type,
                    field.label,
                    field.type_name,
                    oneofs[field.oneof_index] if field.HasField("oneof_index") else None,
                    field.proto3_optional,
                )
                for field in node.field
            ),
        )
        for nested in node.nested_type:
            yield from message(nested, full_name)
        for nested_enum in node.enum_type:
            yield enum(nested_enum, full_name)

    def enum(node: descriptor_pb2.EnumDescriptorProto, scope: str) -> tuple[str, object]:
        return f"{scope}.{node.name}", sorted((value.name, value.number) for value in node.value)

    found: dict[str, object] = {}
    for node in file.message_type:
        found.update(message(node, file.package))
    found.update(enum(node, file.package) for node in file.enum_type)
    for service in file.service:
        found[f"{file.package}.{service.name}"] = sorted(
            (method.name, method.input_type, method.output_type, method.client_streaming, method.server_streaming)
            for method in service.method
        )
    return found


def official(name: str) -> Any:
    """The module that the official package made of the same .proto file."""
    pytest.importorskip("yandexcloud")
    return importlib.import_module(name.removesuffix(".proto").replace("/", ".") + "_pb2")


@pytest.fixture(scope="module")
def committed() -> dict[str, descriptor_pb2.FileDescriptorProto]:
    return files(api.DESCRIPTORS.read_bytes())


def test_the_committed_set_is_what_the_proto_files_compile_to(
    committed: dict[str, descriptor_pb2.FileDescriptorProto],
) -> None:
    pytest.importorskip("grpc_tools")
    compiled = files(runpy.run_path(str(PROTOS / "compile.py"))["compile_set"]())

    assert set(OURS) < set(compiled)
    assert list(compiled) == list(committed)
    # The files of google.* come with the compiler and differ from one release of it to the next.
    assert {name: compiled[name] for name in OURS} == {name: committed[name] for name in OURS}


@pytest.mark.parametrize("name", [name for name in OURS if name.startswith("yandex/")])
def test_what_we_declare_is_what_the_official_package_declares(
    name: str, committed: dict[str, descriptor_pb2.FileDescriptorProto]
) -> None:
    theirs = descriptor_pb2.FileDescriptorProto()
    official(name).DESCRIPTOR.CopyToProto(theirs)

    assert committed[name].package == theirs.package
    assert declared(committed[name]) == declared(theirs)


@pytest.mark.parametrize("version", ["v1", "v1alpha"])
def test_reflection_is_declared_as_in_the_package_that_serves_it(
    version: str, committed: dict[str, descriptor_pb2.FileDescriptorProto]
) -> None:
    # The package has v1alpha alone; v1 is the same, message for message.
    reflection = pytest.importorskip("grpc_reflection.v1alpha.reflection_pb2")
    theirs = str(declared(descriptor_pb2.FileDescriptorProto.FromString(reflection.DESCRIPTOR.serialized_pb)))

    ours = declared(committed[f"grpc/reflection/{version}/reflection.proto"])

    assert str(ours) == theirs.replace("grpc.reflection.v1alpha", f"grpc.reflection.{version}")


def test_health_has_the_numbers_every_prober_knows() -> None:
    assert api.HealthCheckRequest(service="a").SerializeToString() == b"\x0a\x01a"
    assert dict(api.HealthCheckResponse.ServingStatus.items()) == {
        "UNKNOWN": 0,
        "SERVING": 1,
        "NOT_SERVING": 2,
        "SERVICE_UNKNOWN": 3,
    }
    assert [path for path in api.METHODS if path.startswith("/grpc.health")] == [
        "/grpc.health.v1.Health/Check",
        "/grpc.health.v1.Health/List",
        "/grpc.health.v1.Health/Watch",
    ]
    assert api.METHODS["/grpc.health.v1.Health/Watch"].server_streaming
    assert not api.METHODS["/grpc.health.v1.Health/Check"].server_streaming


def test_http_paths_are_those_of_the_official_package() -> None:
    annotations = pytest.importorskip("google.api.annotations_pb2")
    theirs = {}
    for name in OURS:
        if not name.startswith("yandex/"):
            continue
        for service in official(name).DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                rule = method.GetOptions().Extensions[annotations.http]
                verb = rule.WhichOneof("pattern")
                theirs[f"/{service.full_name}/{method.name}"] = (verb.upper(), getattr(rule, verb)) if verb else None

    ours = {path: method.http for path, method in api.METHODS.items() if path.startswith("/yandex.")}

    assert ours == theirs


def test_a_method_says_its_types_streaming_and_http_path() -> None:
    method = api.METHODS[COMPLETION]

    assert (method.service, method.name) == (f"{FM}.TextGenerationService", "Completion")
    assert method.input is api.CompletionRequest
    assert method.output is api.CompletionResponse
    assert method.server_streaming
    assert not method.client_streaming
    assert method.http == ("POST", "/foundationModels/v1/completion")
    assert api.METHODS["/yandex.cloud.operation.OperationService/Get"].http == ("GET", "/operations/{operation_id}")
    assert api.METHODS["/grpc.health.v1.Health/Check"].http is None


def test_every_method_has_its_classes() -> None:
    for method in api.METHODS.values():
        assert method.input.DESCRIPTOR.full_name == method.input_name
        assert method.output.DESCRIPTOR.full_name == method.output_name


STUBS = f"from {FM}.text_generation import text_generation_service_pb2 as stubs\n"
OURS_FIRST = "from emulator import api\n"
EXCHANGE = """
theirs = stubs.CompletionRequest(model_uri="gpt://f/m", parallel_tool_calls={"value": True})
ours = api.CompletionRequest.FromString(theirs.SerializeToString())
assert ours.model_uri == "gpt://f/m" and ours.parallel_tool_calls.value
assert type(ours) is not stubs.CompletionRequest
assert stubs.CompletionRequest.FromString(ours.SerializeToString()) == theirs
packed = api.pack(api.CompletionResponse(model_version="1"))
from google.protobuf import any_pb2
reply = stubs.CompletionResponse()
assert any_pb2.Any.FromString(packed.SerializeToString()).Unpack(reply) and reply.model_version == "1"
assert api.METHODS["/yandex.cloud.operation.OperationService/Cancel"].http[0] == "GET"
print("fine")
"""


@pytest.mark.parametrize("imports", [STUBS + OURS_FIRST, OURS_FIRST + STUBS], ids=["stubs-first", "ours-first"])
def test_the_official_stubs_live_in_the_same_process(imports: str) -> None:
    pytest.importorskip("yandexcloud")

    done = subprocess.run([sys.executable, "-c", imports + EXCHANGE], cwd=ROOT, capture_output=True, text=True)

    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


def test_loading_brings_in_neither_stubs_nor_json_nor_grpc() -> None:
    script = "import sys, emulator.api; print(*sys.modules)"

    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)

    protobuf = {"json_format", "text_format", "descriptor_pb2", "descriptor_pool", "internal.python_message"}
    heavy = {"grpc", "yandex", "grpc_tools", *(f"google.protobuf.{module}" for module in protobuf)}
    assert not heavy & set(done.stdout.split())


def test_fields_of_a_newer_client_survive() -> None:
    known = api.CompletionRequest(model_uri="gpt://f/m").SerializeToString()
    unknown = b"\xa2\x06\x03new"  # field 100, length-delimited

    request = api.CompletionRequest.FromString(known + unknown)

    assert request.model_uri == "gpt://f/m"
    assert request.SerializeToString() == known + unknown


def test_a_value_of_a_newer_enum_survives() -> None:
    assert api.Alternative.FromString(b"\x10\x63").SerializeToString() == b"\x10\x63"


def test_bytes_that_are_no_message_are_refused() -> None:
    with pytest.raises(DecodeError):
        api.CompletionRequest.FromString(b"\xff\xff\xff")


def test_enums_go_by_name_and_number() -> None:
    status = api.enum_class(f"{FM}.BatchInferenceTaskStatus")

    assert status.Name(4) == "COMPLETED"
    assert status.Value("CANCELED") == 6
    assert api.Alternative.ALTERNATIVE_STATUS_TOOL_CALLS == 5
    assert api.Alternative.AlternativeStatus.Name(1) == "ALTERNATIVE_STATUS_PARTIAL"


def test_a_name_the_pool_does_not_hold_is_a_key_error() -> None:
    with pytest.raises(KeyError):
        api.message_class(f"{FM}.Nothing")
    with pytest.raises(KeyError):
        api.enum_class(f"{FM}.Nothing")


def test_a_packed_message_has_the_type_url_clients_compare() -> None:
    response = api.CompletionResponse(model_version="09.02.2025")

    packed = api.pack(response)

    assert packed.type_url == f"type.googleapis.com/{FM}.CompletionResponse"
    unpacked = api.CompletionResponse()
    assert packed.Unpack(unpacked)
    assert unpacked == response
    assert not packed.Unpack(api.ImageGenerationResponse())
    assert api.Operation(done=True, response=packed).WhichOneof("result") == "response"


def test_equal_messages_pack_to_equal_bytes() -> None:
    names = [f"k{number}" for number in range(50)]
    forward, backward = (api.Struct() for _ in range(2))
    forward.update(dict.fromkeys(names, 1))
    backward.update(dict.fromkeys(reversed(names), 1))

    assert api.pack(forward).SerializeToString() == api.pack(backward).SerializeToString()


def test_well_known_types_keep_their_ways() -> None:
    struct = api.Struct()
    struct.update({"city": "Москва", "days": [1, {"deep": None}]})
    time, span = api.Timestamp(), api.Duration()
    time.FromNanoseconds(1_700_000_000_000_000_001)
    span.FromJsonString("1.5s")

    assert struct["city"] == "Москва"
    assert api.to_dict(struct) == {"city": "Москва", "days": [1.0, {"deep": None}]}
    assert (time.seconds, time.nanos) == (1_700_000_000, 1)
    assert time.ToJsonString() == "2023-11-14T22:13:20.000000001Z"
    assert span.ToMilliseconds() == 1500


def test_details_of_google_rpc_are_in_the_pool() -> None:
    details = ["RequestInfo", "RetryInfo", "QuotaFailure", "ErrorInfo", "BadRequest", "DebugInfo", "Help"]
    details += ["PreconditionFailure", "ResourceInfo", "LocalizedMessage"]

    packed = [api.pack(api.message_class(f"google.rpc.{name}")()) for name in details]

    status = api.RpcStatus(code=8, message="quota", details=packed)
    assert [detail.TypeName() for detail in status.details] == [f"google.rpc.{name}" for name in details]


def test_json_data_makes_a_message_and_comes_back() -> None:
    data = {
        "model_uri": "gpt://f/yandexgpt",
        "completion_options": {"temperature": 0.5, "max_tokens": "100"},
        "messages": [
            {"role": "user", "text": "Погода?"},
            {
                "role": "assistant",
                "tool_call_list": {
                    "tool_calls": [{"function_call": {"name": "weather", "arguments": {"city": "Москва", "role": 1.0}}}]
                },
            },
        ],
        "tool_choice": {"mode": "REQUIRED"},
    }

    request = api.from_dict(data, api.CompletionRequest)

    assert isinstance(request, api.CompletionRequest)
    assert request.completion_options.max_tokens.value == 100
    assert request.messages[1].tool_call_list.tool_calls[0].function_call.arguments["city"] == "Москва"
    assert api.to_dict(request) == data


def test_camel_case_is_read_and_written_too() -> None:
    request = api.from_dict({"modelUri": "m", "completionOptions": {"maxTokens": 5}}, api.CompletionRequest)

    assert api.to_dict(request, camel=True) == {"modelUri": "m", "completionOptions": {"maxTokens": "5"}}


def test_defaults_are_written_when_asked_for() -> None:
    assert api.to_dict(api.message_class("yandex.cloud.ai.foundation_models.v1.ContentUsage")(input_text_tokens=3)) == {
        "input_text_tokens": "3"
    }
    assert api.to_dict(
        api.message_class("yandex.cloud.ai.foundation_models.v1.ContentUsage")(input_text_tokens=3), defaults=True
    ) == {
        "input_text_tokens": "3",
        "completion_tokens": "0",
        "total_tokens": "0",
    }


def test_an_any_opens_up_into_plain_dicts_and_closes_again() -> None:
    operation = api.Operation(id="d7q", done=True, response=api.pack(api.CompletionResponse(model_version="1")))

    data = api.to_dict(operation)

    assert data["response"] == {"@type": f"type.googleapis.com/{FM}.CompletionResponse", "model_version": "1"}
    assert type(data["response"]) is dict
    assert api.from_dict(data, api.Operation) == operation


def test_maps_are_read_by_their_keys() -> None:
    response = api.from_dict({"statuses": {"a.B": {"status": "NOT_SERVING"}}}, api.HealthListResponse)

    assert response.statuses["a.B"].status == 2


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"modle_uri": "m"}, "CompletionRequest.modle_uri: no such field; did you mean model_uri?"),
        ({"messages": [{}, {"txt": "a"}]}, "CompletionRequest.messages[1].txt: no such field; did you mean text?"),
        (
            {"tool_choice": {"zzz": 1}},
            "CompletionRequest.tool_choice.zzz: no such field; ToolChoice has mode, function_name",
        ),
        ({5: 1}, "CompletionRequest.5: no such field; CompletionRequest has "),
        ({"messages": ["Привет"]}, "CompletionRequest.messages[0]: a mapping belongs here, not 'Привет'"),
        ({"messages": {"role": "user"}}, "CompletionRequest: "),
        ({"model_uri": 5}, "CompletionRequest: "),
        ({"json_object": True, "json_schema": {}}, "CompletionRequest: "),
        ({"tool_choice": {"mode": "MAYBE"}}, "CompletionRequest: "),
        ({"completion_options": {"max_tokens": "many"}}, "CompletionRequest: "),
    ],
)
def test_json_data_that_fits_no_message_is_refused_by_its_place(data: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        api.from_dict(data, api.CompletionRequest)

    assert str(refused.value).startswith(said)


@pytest.mark.parametrize(
    "message",
    [
        pytest.param(api.message_class("google.protobuf.Value")(number_value=float("nan")), id="nan"),
        pytest.param(api.Operation(created_at=api.Timestamp(seconds=10**15)), id="a time out of range"),
        pytest.param(api.Operation(metadata=api.Any(type_url="type.googleapis.com/no.Such")), id="an unknown type"),
    ],
)
def test_a_message_that_json_cannot_say_is_a_value_error(message: Any) -> None:
    with pytest.raises(ValueError, match="can't be said in JSON"):
        api.to_dict(message)
