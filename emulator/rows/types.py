"""The task types of datasets: what their rows look like, as types.

One declaration serves the check of each line, the columns of the Parquet file and the JSON Schema that
`ListUploadSchemas` tells. Requests, with and without a response, are as recorded; labels, pairs and triplets as
documented. Of speech and pictures nothing is known: a row is any object that is not empty (our choice).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from .names import FORMATS, LABELLED, ROLES, TASK_TYPES

NotEmpty = Annotated[str, Meta(min_length=1)]
Role = Literal["system", "user", "assistant"]
assert Role.__args__ == ROLES  # type: ignore[attr-defined]


class _Row(Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Message(_Row, frozen=True):
    """What one side says."""

    role: Role
    text: NotEmpty


class Request(_Row, frozen=True):
    """A conversation that a batch answers."""

    request: Annotated[list[Message], Meta(min_length=1)]


class Generation(_Row, frozen=True):
    """A conversation and its answer."""

    request: Annotated[list[Message], Meta(min_length=1)]
    response: NotEmpty


class TextPart(_Row, frozen=True, tag_field="type", tag="text"):
    """Text beside pictures."""

    text: NotEmpty


class ImagePart(_Row, frozen=True, tag_field="type", tag="image"):
    """A picture in base64."""

    image: NotEmpty


class ImageMessage(_Row, frozen=True):
    """What one side says, with pictures."""

    role: Role
    content: Annotated[list[TextPart | ImagePart], Meta(min_length=1)]


class ImageRequest(_Row, frozen=True):
    """A conversation with pictures."""

    request: Annotated[list[ImageMessage], Meta(min_length=1)]


class Pair(_Row, frozen=True):
    """A text and one that is near it."""

    anchor: NotEmpty
    positive: NotEmpty


class Triplet(_Row, frozen=True):
    """A text, one that is near it and one that is not."""

    anchor: NotEmpty
    positive: NotEmpty
    negative: NotEmpty


ROWS: Mapping[str, type[_Row]] = {
    "TextToTextGeneration": Generation,
    "TextToTextGenerationRequest": Request,
    "ImageTextToTextGenerationRequest": ImageRequest,
    "TextEmbeddingsPair": Pair,
    "TextEmbeddingsTriplet": Triplet,
}
"""Rows that have the same fields in every dataset, by task type."""


def schema(task_type: str) -> str:
    """The JSON Schema of a row, as text."""
    if task_type in ROWS:
        found: Any = msgspec.json.schema(ROWS[task_type])
    elif task_type in LABELLED:
        text = {"type": "string", "minLength": 1}
        found = {"type": "object", "properties": {"text": text}, "required": ["text"], "minProperties": 2}
        found["additionalProperties"] = {"type": "integer", "enum": [0, 1]}
    else:
        found = {"type": "object", "minProperties": 1}
    draft = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": task_type}
    return json.dumps({**draft, **found}, ensure_ascii=False)


__all__ = ["FORMATS", "LABELLED", "ROWS", "TASK_TYPES", "schema"]
