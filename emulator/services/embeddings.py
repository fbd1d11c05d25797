"""EmbeddingsService: a text as a vector."""

from __future__ import annotations

from collections.abc import Mapping

from ..calls import METHODS_BY_CALL
from ..gates import Handler
from .decide import at_once


def handlers() -> Mapping[str, Handler]:
    """The service's methods by path."""
    return {METHODS_BY_CALL[name]: at_once for name in ("text_embedding",)}
