"""The calls that rules answer: the fixture language's names for them, and the methods they are."""

from __future__ import annotations

from collections.abc import Mapping

_FM = "/yandex.cloud.ai.foundation_models.v1."

METHODS_BY_CALL: Mapping[str, str] = {
    "completion": f"{_FM}TextGenerationService/Completion",
    "completion_async": f"{_FM}TextGenerationAsyncService/Completion",
    "completion_batch": f"{_FM}TextGenerationBatchService/Completion",
    "generate_image": f"{_FM}image_generation.ImageGenerationAsyncService/Generate",
}
"""The method of each call, by its path."""

CALLS_BY_METHOD: Mapping[str, str] = {path: call for call, path in METHODS_BY_CALL.items()}

CHATS = frozenset({"completion", "completion_async", "batch_row"})
"""Calls with messages to answer; the rows of a batch are no method, and answered like completions."""

OPERATIONS = frozenset({"completion_async", "completion_batch", "generate_image"})
"""Calls that are answered with an operation."""

ALL_CALLS = CHATS | OPERATIONS
