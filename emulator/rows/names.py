"""The names that datasets know: task types, as the official SDK lists them, and upload formats."""

from __future__ import annotations

TASK_TYPES = (
    "ImageTextToTextGenerationRequest",
    "SpeechToTextGeneration",
    "TextClassificationMulticlass",
    "TextClassificationMultilabel",
    "TextEmbeddingsPair",
    "TextEmbeddingsTriplet",
    "TextToImageGeneration",
    "TextToSpeechGeneration",
    "TextToTextGeneration",
    "TextToTextGenerationRequest",
)
FORMATS = ("jsonlines",)
ROLES = ("system", "user", "assistant")

LABELLED = ("TextClassificationMultilabel", "TextClassificationMulticlass")
"""Task types whose rows are a text and labels, which are a dataset's own: 1 where the label fits, else 0."""
