"""The reply of an operation, as bytes: made when the operation begins, and told as it is when somebody asks."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..api import (
    BatchCompletionResponse,
    CompletionResponse,
    ImageGenerationResponse,
    ValidateDatasetResponse,
)
from ..replies.play import Play

RESPONSES: Mapping[str, type[Any]] = {
    "completion_async": CompletionResponse,
    "generate_image": ImageGenerationResponse,
    "completion_batch": BatchCompletionResponse,
    "validate_dataset": ValidateDatasetResponse,
}
"""What an operation of each kind is done with."""


def parts(play: Play) -> tuple[bytes | Callable[[], Any] | None, bytes]:
    """The reply of a play and the rest of it, as `Record` keeps them.

    Of a completion the text is the same for all calls of a rule, and the usage, which follows it on the wire, is not.
    """
    if play.failure is not None:
        return None, b""
    if play.slow:
        return play.final, b""
    final = play.final()
    if final is None:
        return None, b""
    raw: bytes = final.SerializeToString(deterministic=True)
    if not isinstance(final, CompletionResponse):
        return raw, b""
    usage = final.usage if final.HasField("usage") else None
    rest: bytes = CompletionResponse(usage=usage, model_version=final.model_version).SerializeToString(
        deterministic=True
    )
    return (raw[: -len(rest)], rest) if rest and raw.endswith(rest) else (raw, b"")
