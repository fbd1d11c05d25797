"""Replies that are remembered by their idempotency key, as data: what a snapshot holds of them, and the way back.

A stream is written down chunk by chunk, each with its wait and its tokens, so that what cut it need not be kept. As
with operations, what is read may have been changed by hand, and the way back raises ValueError that names the place.
"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from ..rules import model
from ..rules.duration import LONGEST_NS, Delay
from ..seed import Seed
from . import streams
from .metadata import wrong_key, wrong_value
from .play import Play
from .stored import Count, Instant, restored_message, within

Wait = Annotated[int, Meta(ge=0, le=LONGEST_NS)]
Pair = tuple[str, str]
_FINAL = "yandex.cloud.ai.foundation_models.v1.CompletionResponse"


class StoredStream(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A streamed completion: its final message, serialized; each chunk's text, completion tokens by its end, and wait
    (ns); where it stalls, after so many chunks for so long (ns). `delay` comes before the first (ns).
    """

    final: bytes
    chunks: list[tuple[str, Count, Wait]]
    delay: Wait = 0
    stall: tuple[Count, Wait] | None = None


class StoredReply(Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A reply of `method` (its path), under `key`, a digest of who called, which method and under which idempotency
    key; `request` is one of the request. It has `messages` or a `stream`.
    """

    key: bytes
    method: str
    request: bytes
    at: Instant
    call: str
    size: Count
    rule: str = ""
    operation_id: str = ""
    headers: list[Pair] = field(default_factory=list)
    trailers: list[Pair] = field(default_factory=list)
    messages: list[bytes] = field(default_factory=list)
    stream: StoredStream | None = None


def stored_stream(play: Play) -> StoredStream:
    """The play of a stream that is whole, as data."""
    assert play.cutting is not None
    final = play.final()
    spec = streams.spelled_out(final, play.cutting)
    chunks = [
        (piece.text, piece.completion_tokens or 0, piece.after.ns if piece.after is not None else 0)
        for piece in spec.pieces or ()
        if isinstance(piece, model.Piece)
    ]
    stall = (spec.stall.after, spec.stall.for_.ns or 0) if spec.stall is not None else None
    return StoredStream(final.SerializeToString(deterministic=True), chunks, play.delay, stall)


def restored_stream(stored: StoredStream, rule: str) -> Play:
    """The play again. Raises ValueError."""
    final = within("final", partial(restored_message, _FINAL, stored.final))
    if not stored.chunks:
        raise ValueError("chunks: a stream has one at least")
    pieces: list[str | model.Piece] = [
        model.Piece(text=text, completion_tokens=tokens, after=Delay(wait)) for text, tokens, wait in stored.chunks
    ]
    stall = None
    if stored.stall is not None:
        stall = model.Stall(after=stored.stall[0], for_=model.Stretch(stored.stall[1]))
    cutting = streams.Cutting(model.Stream(pieces=pieces, stall=stall), Seed(0))
    play = Play(rule, delay=stored.delay, final=lambda: final, cutting=cutting)
    within("chunks", lambda: _check_text(final, play))
    return play


def _check_text(final: Any, play: Play) -> None:
    """Raise ValueError unless the chunks come to the text of the final message."""
    assert play.cutting is not None
    spec = play.cutting.spec
    said = "".join(piece.text for piece in spec.pieces or () if isinstance(piece, model.Piece))
    if said != streams.text_of(final):
        raise ValueError("together they are not the text of the final message")


def check_reply(stored: StoredReply) -> None:
    """Raise ValueError for a reply that its method can't have given, and for metadata that can't travel."""
    from ..api import METHODS

    method = METHODS.get(stored.method)
    if method is None:
        raise ValueError(f"method: no such method: {stored.method[:100]!r}")
    if len(stored.messages) != (stored.stream is None):
        raise ValueError("messages: a reply is one message or a stream")
    if stored.stream is not None and method.output.DESCRIPTOR.full_name != _FINAL:
        raise ValueError(f"stream: {stored.method} does not stream")
    for i, raw in enumerate(stored.messages):
        within(f"messages[{i}]", partial(restored_message, method.output.DESCRIPTOR.full_name, raw))
    for name in ("headers", "trailers"):
        for key, value in getattr(stored, name):
            wrong = wrong_key(key) or wrong_value(value)
            if wrong is not None:
                raise ValueError(f"{name}: {key[:60]!r}: {wrong}")
