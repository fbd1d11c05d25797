"""A gRPC client that speaks bytes, and requests in the shape that clients send them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import grpc

from emulator.api import (
    METHODS,
    CompletionRequest,
    FewShotTextClassificationRequest,
    GetOperationRequest,
    ImageGenerationRequest,
    Operation,
    RpcStatus,
    TextClassificationRequest,
    TextEmbeddingRequest,
    TokenizeRequest,
)

FOLDER = "b1gtest"
DATASET = "fds00000000000000001"
STORED = {"datasets": {DATASET: {"rows": [{"request": [{"role": "user", "text": "Привет!"}]}]}}}
"""Fixtures with a dataset that a batch may run over."""

MODEL = f"gpt://{FOLDER}/yandexgpt/latest"
T = TypeVar("T")


def path(short: str) -> str:
    """The whole path of `TextGenerationService/Completion`; one that begins with a slash is whole already."""
    if short.startswith("/"):
        return short
    (found,) = (known for known in METHODS if known.endswith((f".{short}", f"/{short}")))
    return found


@dataclass(frozen=True)
class Reply:
    """All that came of one call: its messages, its status by name, and both kinds of metadata."""

    messages: list[Any]
    code: str
    text: str
    headers: dict[str, Any]
    trailers: dict[str, Any]

    @property
    def only(self) -> Any:
        """The one message of a call that went well."""
        assert self.code == "OK", f"{self.code}: {self.text}"
        (message,) = self.messages
        return message

    @property
    def status(self) -> Any:
        """The google.rpc.Status of a call that failed."""
        return RpcStatus.FromString(self.trailers["grpc-status-details-bin"])


class Client:
    """Calls methods of an emulator at `target`."""

    def __init__(self, target: str) -> None:
        self.channel: Any = grpc.insecure_channel(target, options=[("grpc.use_local_subchannel_pool", 1)])

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()

    def begin(self, method: str, request: Any, metadata: Iterable[tuple[str, str]] = (), timeout: float = 20) -> Any:
        """The call under way: messages are bytes. A unary method looks no different on the wire."""
        raw = request if isinstance(request, bytes) else request.SerializeToString()
        return self.channel.unary_stream(path(method), None, None)(raw, metadata=tuple(metadata), timeout=timeout)

    def call(self, method: str, request: Any, metadata: Iterable[tuple[str, str]] = (), timeout: float = 20) -> Reply:
        """The whole call; a failed one is a reply as well."""
        under_way = self.begin(method, request, metadata, timeout)
        messages = []
        with suppress(grpc.RpcError):  # its status is in the reply
            for message in under_way:
                messages.append(message)  # noqa: PERF402 - what came before the error is kept
        known = METHODS.get(path(method))
        return Reply(
            [known.output.FromString(raw) if known is not None else raw for raw in messages],
            under_way.code().name,
            under_way.details(),
            dict(under_way.initial_metadata() or ()),
            dict(under_way.trailing_metadata() or ()),
        )

    def bidirectional(self, method: str, requests: Iterable[bytes]) -> Iterator[bytes]:
        """A call with streams in both directions."""
        replies: Iterator[bytes] = self.channel.stream_stream(path(method), None, None)(iter(requests), timeout=20)
        return replies

    def complete(self, request: Any, **more: Any) -> Reply:
        return self.call("TextGenerationService/Completion", request, **more)

    def operation(self, operation_id: str) -> Any:
        """What the operation is now, which counts as a poll."""
        return self.call("OperationService/Get", GetOperationRequest(operation_id=operation_id)).only

    def finished(self, operation_id: str) -> Any:
        """The operation once it is done."""
        got: list[Operation] = []  # type: ignore[valid-type]

        def done() -> bool:
            got[:] = [self.operation(operation_id)]
            return bool(got[0].done)  # type: ignore[attr-defined]

        eventually(done)
        return got[0]


def asking(*texts: str, stream: bool = False, model: str = MODEL, max_tokens: int | None = None, **more: Any) -> Any:
    """A CompletionRequest: texts of the user and the assistant in turn."""
    request = CompletionRequest(model_uri=model, **more)
    request.completion_options.stream = stream
    if max_tokens is not None:
        request.completion_options.max_tokens.value = max_tokens
    for i, text in enumerate(texts):
        request.messages.add(role="assistant" if i % 2 else "user", text=text)
    return request


def drawing(prompt: str = "кот", model: str = f"art://{FOLDER}/yandex-art/latest", **more: Any) -> Any:
    """An ImageGenerationRequest."""
    request = ImageGenerationRequest(model_uri=model, generation_options=more)
    request.messages.add(text=prompt)
    return request


def tokenizing(text: str = "Привет", model: str = MODEL) -> Any:
    """A TokenizeRequest."""
    return TokenizeRequest(model_uri=model, text=text)


def embedding(
    text: str = "Привет", dim: int | None = None, model: str = f"emb://{FOLDER}/text-search-doc/latest"
) -> Any:
    """A TextEmbeddingRequest."""
    request = TextEmbeddingRequest(model_uri=model, text=text)
    if dim is not None:
        request.dim.value = dim
    return request


def classifying(text: str = "Привет", model: str = f"cls://{FOLDER}/bt10000000000000000a") -> Any:
    """A TextClassificationRequest to a tuned model."""
    return TextClassificationRequest(model_uri=model, text=text)


def choosing(text: str, *labels: str, task: str = "О чём текст?", **samples: str) -> Any:
    """A FewShotTextClassificationRequest; `samples` are texts by their labels."""
    request = FewShotTextClassificationRequest(
        model_uri=f"cls://{FOLDER}/yandexgpt/latest", text=text, labels=labels, task_description=task
    )
    for label, sample in samples.items():
        request.samples.add(text=sample, label=label)
    return request


def eventually(condition: Callable[[], T], within: float = 5.0) -> T:
    """What `condition` gives as soon as that is something; an assertion fails if it never does."""
    end = time.monotonic() + within
    while not (result := condition()):
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)
    return result
