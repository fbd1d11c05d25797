"""The wire: a private descriptor pool, message classes, and the table of methods.

`descriptors.binpb` holds what `protos/compile.py` made of the `.proto` files. It is loaded into a pool of its own and
never into protobuf's default one, where the official `yandexcloud` stubs register the same files; so both live in one
process, whichever was imported first. The price: the two families of classes don't mix (`CopyFrom` and `==` refuse); a
message crosses from one to the other as bytes.

The pool and the classes named here are made at import, in a few milliseconds; everything else when first asked for.
"""

from __future__ import annotations

import typing
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import msgspec
from google.protobuf import descriptor, message

if typing.TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FileDescriptor
    from google.protobuf.descriptor_pool import DescriptorPool
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

_M = typing.TypeVar("_M", bound="message.Message")

DESCRIPTORS = Path(__file__).with_name("descriptors.binpb")
TYPE_URL = "type.googleapis.com/"


def _files(descriptor_set: bytes) -> Iterator[bytes]:
    """The serialized files of a serialized FileDescriptorSet: length-delimited, all under field number 1.

    Cut by hand, for reading them with protobuf's own FileDescriptorSet takes longer than loading all of them.
    """
    at = 0
    while at < len(descriptor_set):
        if descriptor_set[at] != 0x0A:
            raise ValueError(f"{DESCRIPTORS}: not a FileDescriptorSet; make it again with protos/compile.py")
        at += 1
        length = shift = 0
        while True:
            byte = descriptor_set[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        yield descriptor_set[at : at + length]
        at += length


# The extension that protobuf's own modules make pools and classes with. Through `descriptor_pool` and `message_factory`
# the same are made, but with them comes the implementation in pure Python, which takes 5 ms and a megabyte.
_extension: typing.Any = getattr(descriptor, "_message", None)


def _load() -> tuple[DescriptorPool, tuple[FileDescriptor, ...]]:
    if _extension is None:
        from google.protobuf.descriptor_pool import DescriptorPool

        pool: typing.Any = DescriptorPool()
    else:
        pool = _extension.DescriptorPool()
    return pool, tuple(pool.AddSerializedFile(file) for file in _files(DESCRIPTORS.read_bytes()))


POOL, _FILES = _load()
_classes: dict[str, type[typing.Any]] = {}


def message_class(full_name: str) -> type[typing.Any]:
    """The class of a message, e.g. `message_class("google.protobuf.Duration")`: a subclass of protobuf's `Message`.

    It is typed loosely, since its fields are known to the pool alone. Raises KeyError for a name the pool doesn't hold.
    """
    made = _classes.get(full_name)
    return made if made is not None else _make_class(POOL.FindMessageTypeByName(full_name))


def _make_class(of: Descriptor) -> type[typing.Any]:
    """The class of a message, and those of all messages it can hold, as `message_factory` would make them."""
    made: type[typing.Any]
    if _extension is None:
        from google.protobuf.message_factory import GetMessageClass

        _classes[of.full_name] = made = GetMessageClass(of)
        return made
    body = {"DESCRIPTOR": of, "__module__": None}
    _classes[of.full_name] = made = _extension.MessageMeta(of.name, (message.Message,), body)
    for field in of.fields:
        if field.message_type is not None:
            message_class(field.message_type.full_name)
    return made


def enum_class(full_name: str) -> EnumTypeWrapper:
    """The names and numbers of an enum: `.Name(number)`, `.Value(name)`, `.items()`.

    An enum declared inside a message is also an attribute of that message's class. Raises KeyError for a name the pool
    doesn't hold.
    """
    from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper

    return EnumTypeWrapper(POOL.FindEnumTypeByName(full_name))


class Method(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One method: `path` is what travels as `:path`, `service` and the two type names are full names."""

    path: str
    service: str
    name: str
    input_name: str
    output_name: str
    server_streaming: bool
    client_streaming: bool

    @cached_property
    def input(self) -> type[typing.Any]:
        """The class of the request."""
        return message_class(self.input_name)

    @cached_property
    def output(self) -> type[typing.Any]:
        """The class of the response, or of each message of a stream of them."""
        return message_class(self.output_name)

    @cached_property
    def http(self) -> tuple[str, str] | None:
        """Verb and path of its REST form, e.g. `("POST", "/foundationModels/v1/completion")`; None where it has none.

        The descriptor's own options belong to protobuf's default pool, which need not know `google.api.http`; so they
        are read again with the classes of ours.
        """
        options = POOL.FindServiceByName(self.service).methods_by_name[self.name].GetOptions()
        ours = message_class("google.protobuf.MethodOptions").FromString(options.SerializeToString())
        rule = ours.Extensions[POOL.FindExtensionByName("google.api.http")]
        verb = rule.WhichOneof("pattern")
        return (verb.upper(), getattr(rule, verb)) if verb else None


def _methods() -> Iterator[Method]:
    for file in _FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                yield Method(
                    path=f"/{service.full_name}/{method.name}",
                    service=service.full_name,
                    name=method.name,
                    input_name=method.input_type.full_name,
                    output_name=method.output_type.full_name,
                    server_streaming=method.server_streaming,
                    client_streaming=method.client_streaming,
                )


METHODS: Mapping[str, Method] = MappingProxyType({method.path: method for method in _methods()})
"""Every method of every service in the pool, by its path `/package.Service/Method`."""


_DATASET = "yandex.cloud.ai.dataset.v1"
_FM = "yandex.cloud.ai.foundation_models.v1"

CompletionRequest = message_class(f"{_FM}.CompletionRequest")
CompletionResponse = message_class(f"{_FM}.CompletionResponse")
Alternative = message_class(f"{_FM}.Alternative")
Message = message_class(f"{_FM}.Message")
ToolCallList = message_class(f"{_FM}.ToolCallList")
BatchCompletionRequest = message_class(f"{_FM}.BatchCompletionRequest")
BatchCompletionMetadata = message_class(f"{_FM}.BatchCompletionMetadata")
BatchCompletionResponse = message_class(f"{_FM}.BatchCompletionResponse")
ImageGenerationRequest = message_class(f"{_FM}.image_generation.ImageGenerationRequest")
ImageGenerationResponse = message_class(f"{_FM}.image_generation.ImageGenerationResponse")
TokenizeRequest = message_class(f"{_FM}.TokenizeRequest")
TokenizeResponse = message_class(f"{_FM}.TokenizeResponse")
Token = message_class(f"{_FM}.Token")
TextEmbeddingRequest = message_class(f"{_FM}.TextEmbeddingRequest")
TextEmbeddingResponse = message_class(f"{_FM}.TextEmbeddingResponse")
TextClassificationRequest = message_class(f"{_FM}.text_classification.TextClassificationRequest")
TextClassificationResponse = message_class(f"{_FM}.text_classification.TextClassificationResponse")
FewShotTextClassificationRequest = message_class(f"{_FM}.text_classification.FewShotTextClassificationRequest")
FewShotTextClassificationResponse = message_class(f"{_FM}.text_classification.FewShotTextClassificationResponse")

_BATCH = "yandex.cloud.ai.batch_inference.v1"

BatchInferenceTask = message_class(f"{_BATCH}.BatchInferenceTask")
TaskCompletionRequest = message_class(f"{_BATCH}.BatchCompletionRequest")
DescribeBatchInferenceRequest = message_class(f"{_BATCH}.DescribeBatchInferenceRequest")
DescribeBatchInferenceResponse = message_class(f"{_BATCH}.DescribeBatchInferenceResponse")
ListBatchInferencesRequest = message_class(f"{_BATCH}.ListBatchInferencesRequest")
ListBatchInferencesResponse = message_class(f"{_BATCH}.ListBatchInferencesResponse")
CancelBatchInferenceResponse = message_class(f"{_BATCH}.CancelBatchInferenceResponse")
DeleteBatchInferenceResponse = message_class(f"{_BATCH}.DeleteBatchInferenceResponse")
DatasetInfo = message_class(f"{_DATASET}.DatasetInfo")
ValidateDatasetMetadata = message_class(f"{_DATASET}.ValidateDatasetMetadata")
ValidateDatasetResponse = message_class(f"{_DATASET}.ValidateDatasetResponse")

Operation = message_class("yandex.cloud.operation.Operation")
GetOperationRequest = message_class("yandex.cloud.operation.GetOperationRequest")
CancelOperationRequest = message_class("yandex.cloud.operation.CancelOperationRequest")

CreateIamTokenRequest = message_class("yandex.cloud.iam.v1.CreateIamTokenRequest")
CreateIamTokenForServiceAccountRequest = message_class("yandex.cloud.iam.v1.CreateIamTokenForServiceAccountRequest")
CreateIamTokenResponse = message_class("yandex.cloud.iam.v1.CreateIamTokenResponse")
RevokeIamTokenRequest = message_class("yandex.cloud.iam.v1.RevokeIamTokenRequest")
RevokeIamTokenResponse = message_class("yandex.cloud.iam.v1.RevokeIamTokenResponse")

ApiEndpoint = message_class("yandex.cloud.endpoint.ApiEndpoint")
GetApiEndpointRequest = message_class("yandex.cloud.endpoint.GetApiEndpointRequest")
ListApiEndpointsRequest = message_class("yandex.cloud.endpoint.ListApiEndpointsRequest")
ListApiEndpointsResponse = message_class("yandex.cloud.endpoint.ListApiEndpointsResponse")

HealthCheckRequest = message_class("grpc.health.v1.HealthCheckRequest")
HealthCheckResponse = message_class("grpc.health.v1.HealthCheckResponse")
HealthListRequest = message_class("grpc.health.v1.HealthListRequest")
HealthListResponse = message_class("grpc.health.v1.HealthListResponse")

ExplainRequest = message_class("emulator.v1.ExplainRequest")
ExplainResponse = message_class("emulator.v1.ExplainResponse")

RpcStatus = message_class("google.rpc.Status")
RequestInfo = message_class("google.rpc.RequestInfo")
RetryInfo = message_class("google.rpc.RetryInfo")
QuotaFailure = message_class("google.rpc.QuotaFailure")
ErrorInfo = message_class("google.rpc.ErrorInfo")

Any = message_class("google.protobuf.Any")
Duration = message_class("google.protobuf.Duration")
Struct = message_class("google.protobuf.Struct")
Timestamp = message_class("google.protobuf.Timestamp")


def pack(message: message.Message) -> typing.Any:
    """A `google.protobuf.Any` that holds `message` under `type.googleapis.com/<full name>`.

    Clients compare that type URL letter by letter. Equal messages give equal bytes. Messages of another pool are
    welcome: only their bytes are taken.
    """
    return Any(
        type_url=TYPE_URL + message.DESCRIPTOR.full_name,
        value=message.SerializeToString(deterministic=True),
    )


def to_dict(message: message.Message, *, camel: bool = False, defaults: bool = False) -> dict[str, typing.Any]:
    """The message as JSON data: int64 as text, enums by name, bytes in base64, `Any` opened up under `@type`.

    Fields have their proto names, or camelCase ones with `camel`; with `defaults` those without presence are there even
    if unset. Raises ValueError for what JSON can't say: NaN in a Struct, a time out of range, an Any of unknown type.
    """
    from google.protobuf import json_format

    try:
        data = json_format.MessageToDict(
            message,
            preserving_proto_field_name=not camel,
            always_print_fields_with_no_presence=defaults,
            descriptor_pool=POOL,
        )
    except (json_format.Error, TypeError, ValueError) as error:
        raise ValueError(f"{message.DESCRIPTOR.name} can't be said in JSON: {error}") from error
    return {name: _plain(value) for name, value in data.items()}


def _plain(value: typing.Any) -> typing.Any:
    """The same data in plain dicts: json_format makes an OrderedDict of an Any, which YAML writes badly."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def plain_struct(struct: typing.Any) -> dict[str, typing.Any]:
    """A google.protobuf.Struct as a dict; numbers are floats, as they travelled, and may be NaN or infinite."""
    return {name: _plain_value(value) for name, value in struct.fields.items()}


def _plain_value(value: typing.Any) -> typing.Any:
    kind = value.WhichOneof("kind")
    if kind is None or kind == "null_value":
        return None
    if kind == "struct_value":
        return plain_struct(value.struct_value)
    if kind == "list_value":
        return [_plain_value(element) for element in value.list_value.values]
    return getattr(value, kind)


def from_dict(mapping: Mapping[str, typing.Any], cls: type[_M]) -> _M:
    """The message of class `cls` that JSON data stands for; fields go by their proto names or by camelCase ones.

    Raises ValueError that names the place for a field `cls` doesn't have, and for a value that doesn't fit its field.
    """
    from google.protobuf import json_format

    _check_fields(mapping, typing.cast("Descriptor", cls.DESCRIPTOR), cls.DESCRIPTOR.name)
    try:
        return json_format.ParseDict(typing.cast("dict[str, typing.Any]", mapping), cls(), descriptor_pool=POOL)
    except (json_format.Error, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{cls.DESCRIPTOR.name}: {error}") from error


def _check_fields(value: object, descriptor: Descriptor, place: str) -> None:
    """Raise ValueError at the first field under `value` that no message has.

    json_format would refuse it too, but with no word of what was meant. What is below google.protobuf (Struct, Any,
    Timestamp) has a JSON form of its own and is left to json_format.
    """
    if value is None or descriptor.file.package == "google.protobuf":
        return
    if not isinstance(value, Mapping):
        raise ValueError(f"{place}: a mapping belongs here, not {value!r}")
    fields = {name: field for field in descriptor.fields for name in (field.name, field.camelcase_name)}
    for key, inner in value.items():
        field = fields.get(key)
        if field is None:
            raise ValueError(f"{place}.{key}: no such field{_meant(key, descriptor)}")
        kind = field.message_type
        if kind is None:
            continue
        for step, item in _items(inner, kind):
            _check_fields(item, kind, f"{place}.{key}{step}")


def _items(value: object, kind: Descriptor) -> Iterator[tuple[str, object]]:
    """The messages that a message field's value stands for, each with its step in the path."""
    if kind.GetOptions().map_entry:
        # An entry is a key and a value on the wire, but not in JSON.
        yield from ()
    elif isinstance(value, list | tuple):
        yield from ((f"[{index}]", item) for index, item in enumerate(value))
    else:
        yield "", value


def _meant(key: object, descriptor: Descriptor) -> str:
    import difflib

    names = [field.name for field in descriptor.fields]
    near = difflib.get_close_matches(str(key), names, n=1)
    return f"; did you mean {near[0]}?" if near else f"; {descriptor.name} has {', '.join(names) or 'no fields'}"
