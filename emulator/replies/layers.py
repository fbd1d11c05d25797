"""A reply is made of layers: what it says itself, over the snippets it uses, over its file's defaults.

What the upper layer says stands; streams are merged field by field; and of the things a reply can be, such as a text or
an error, it is the uppermost's only.
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET

from ..rules import model
from .streams import MODES

CONTENT = ("text", "json", "tool_calls", "image", "tokens", "embedding", "predictions", "message", "error")
CUTS = (*MODES, "pieces")
"""The ways to cut a stream."""


def merged(reply: model.Reply, *under: model.Reply | model.Defaults | None) -> model.Reply:
    """`reply` with what it leaves out taken from `under`, the nearest first; streams are merged field by field."""
    layers = [layer for layer in under if layer is not None]
    if not layers and type(reply) is model.Reply:
        return reply
    values = {name: getattr(reply, name) for name in model.Reply.__struct_fields__}
    for layer in layers:
        said = says_something(model.Reply(**{name: values[name] for name in (*CONTENT, "stream")}))
        for name in values:
            theirs = getattr(layer, name, UNSET)
            if theirs is UNSET or not is_said(name, theirs) or name == "use" or (name in CONTENT and said):
                continue
            if name == "stream" and values[name] is not None:
                values[name] = _merged_stream(values[name], theirs)
            elif not is_said(name, values[name]):
                values[name] = theirs
    return model.Reply(**{k: v for k, v in values.items() if is_said(k, v)})


def says_something(reply: model.Reply) -> bool:
    """Whether a reply has content of its own, rather than only how it is sent."""
    return any(is_said(name, getattr(reply, name)) for name in CONTENT) or has_pieces(reply.stream)


def is_said(name: str, value: Any) -> bool:
    """Whether a field is there; `json: null` says null."""
    return value is not UNSET and (value is not None or name == "json")


def has_pieces(stream: model.Stream | None) -> bool:
    return stream is not None and stream.pieces is not None


def _merged_stream(own: model.Stream, under: model.Stream) -> model.Stream:
    values = {name: getattr(own, name) for name in model.Stream.__struct_fields__}
    cut = any(values[mode] is not None for mode in CUTS)
    for name, mine in values.items():
        if mine is None and not (cut and name in CUTS):
            values[name] = getattr(under, name)
    return model.Stream(**values)
