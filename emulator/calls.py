"""The calls that rules answer: the fixture language's names for them, and the methods they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache

_FM = "/yandex.cloud.ai.foundation_models.v1."

METHODS_BY_CALL: Mapping[str, str] = {
    "completion": f"{_FM}TextGenerationService/Completion",
    "completion_async": f"{_FM}TextGenerationAsyncService/Completion",
    "completion_batch": f"{_FM}TextGenerationBatchService/Completion",
    "generate_image": f"{_FM}image_generation.ImageGenerationAsyncService/Generate",
    "tokenize": f"{_FM}TokenizerService/Tokenize",
    "tokenize_completion": f"{_FM}TokenizerService/TokenizeCompletion",
    "text_embedding": f"{_FM}EmbeddingsService/TextEmbedding",
    "classify": f"{_FM}text_classification.TextClassificationService/Classify",
    "few_shot_classify": f"{_FM}text_classification.TextClassificationService/FewShotClassify",
}
"""The method of each call, by its path."""

CALLS_BY_METHOD: Mapping[str, str] = {path: call for call, path in METHODS_BY_CALL.items()}

CHATS = frozenset({"completion", "completion_async", "batch_row"})
"""Calls with messages to answer; the rows of a batch are no method, and answered like completions."""

CONVERSATIONS = CHATS | {"tokenize_completion"}
"""Calls whose request is a conversation, whether it is answered or only measured."""

COMPLETIONS = CHATS | {"completion_batch"}
"""Calls that a rule answers without being told, as far as it fits them."""

TEXTS = frozenset({"tokenize", "text_embedding", "classify", "few_shot_classify"})
"""Calls about one text."""

MEASURES = TEXTS | {"tokenize_completion"}
"""Calls that are answered with one small message of their own: tokens, a vector, or classes."""

OPERATIONS = frozenset({"completion_async", "completion_batch", "generate_image"})
"""Calls that are answered with an operation."""

ALL_CALLS = CHATS | OPERATIONS | MEASURES


@cache
def common(one: frozenset[str], other: frozenset[str]) -> frozenset[str]:
    """The calls in both, one object for as many rules as ask: there are few sets of calls, and each takes 200 bytes."""
    return one & other
