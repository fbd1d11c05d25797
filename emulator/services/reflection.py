"""Server reflection, v1 and v1alpha: tools list the services and call them with no proto file at hand.

The two versions are the same on the wire, so the messages of v1 serve both. What is told comes from our own descriptor
pool. grpcio-reflection would do as much, but each release of it works with the protobuf of its day alone, and the
emulator is installed beside others that need an older one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

from ..api import POOL, message_class
from ..call import Call
from ..errors import Code, Status
from ..gates import Handler

SERVICES = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")


def handlers(services: Callable[[], Sequence[str]]) -> Mapping[str, Handler]:
    """The services' methods by path; `services` is asked for the names to list when a tool asks."""
    answering = _Answering(services)

    async def info(call: Call) -> AsyncIterator[bytes]:
        request_class = message_class("grpc.reflection.v1.ServerReflectionRequest")
        assert call.requests is not None
        while (raw := await call.session.clock.unless_closed(_next(call.requests))) is not None:
            try:
                request = request_class.FromString(raw)
            except Exception:
                raise Status(Code.INVALID_ARGUMENT, "the request is not a ServerReflectionRequest") from None
            yield answering.response(request).SerializeToString()

    return {f"/{service}/ServerReflectionInfo": info for service in SERVICES}


class _Answering:
    """What each question is answered with."""

    def __init__(self, services: Callable[[], Sequence[str]]) -> None:
        self._services = services
        self._answers: Mapping[str, Callable[[Any, Any], None]] = {
            "list_services": self._list,
            "file_by_filename": lambda name, response: _tell(POOL.FindFileByName(name), response),
            "file_containing_symbol": lambda symbol, response: _tell(_declaring(symbol), response),
            "file_containing_extension": _tell_extension,
            "all_extension_numbers_of_type": _tell_extensions,
        }

    def response(self, request: Any) -> Any:
        response = message_class("grpc.reflection.v1.ServerReflectionResponse")(
            valid_host=request.host, original_request=request
        )
        asked = request.WhichOneof("message_request")
        try:
            if asked is None:
                _refuse(response, Code.INVALID_ARGUMENT)
            else:
                self._answers[asked](getattr(request, asked), response)
        except KeyError:
            _refuse(response, Code.NOT_FOUND)
        return response

    def _list(self, _: str, response: Any) -> None:
        for name in sorted(self._services()):
            response.list_services_response.service.add(name=name)


def _refuse(response: Any, code: Code) -> None:
    response.error_response.error_code = int(code)
    response.error_response.error_message = code.name.lower().replace("_", " ")


def _tell(file: Any, response: Any) -> None:
    """Tell of a file and of all that it imports, each once."""
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    files, waiting = {file.name: file}, [file]
    while waiting:
        new = {one.name: one for one in waiting.pop().dependencies if one.name not in files}
        files.update(new)
        waiting.extend(new.values())
    for each in files.values():
        proto = FileDescriptorProto()
        each.CopyToProto(proto)
        response.file_descriptor_response.file_descriptor_proto.append(proto.SerializeToString())


def _tell_extension(asked: Any, response: Any) -> None:
    extended = POOL.FindMessageTypeByName(asked.containing_type)
    extension = POOL.FindExtensionByNumber(extended, asked.extension_number)
    _tell(POOL.FindFileContainingSymbol(extension.full_name), response)


def _tell_extensions(name: str, response: Any) -> None:
    extended = POOL.FindMessageTypeByName(name)
    told = response.all_extension_numbers_response
    told.base_type_name = extended.full_name
    told.extension_number.extend(sorted(extension.number for extension in POOL.FindAllExtensions(extended)))


async def _next(requests: AsyncIterator[bytes]) -> bytes | None:
    """The client's next message; None once it has sent all."""
    async for raw in requests:
        return raw
    return None


def _declaring(symbol: str) -> Any:
    """The file that declares `symbol`. Raises KeyError."""
    return POOL.FindFileContainingSymbol(_container(symbol))


def _container(symbol: str) -> str:
    """What `symbol` is declared in, if it is a method or a field; Python's pool finds files by larger things alone."""
    parent, _, name = symbol.rpartition(".")
    try:
        if name in POOL.FindServiceByName(parent).methods_by_name:
            return parent
    except KeyError:
        pass
    try:
        return parent if name in POOL.FindMessageTypeByName(parent).fields_by_name else symbol
    except KeyError:
        return symbol
