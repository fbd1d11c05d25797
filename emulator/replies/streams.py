"""From a final reply to a stream: cumulative PARTIAL messages, then the final one.

As recorded: every message holds the whole text so far, a strict extension of the one before; all but the last are
PARTIAL and the last, which still adds text, is the reply itself. Usage grows: input tokens stay, completion tokens and
the total rise with each message.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from ..api import CompletionResponse
from ..errors import Status
from ..rules import model
from ..rules.duration import Delay, draw
from ..seed import Seed
from . import chunks, tokens

DEFAULT_TOKENS = 14
"""Tokens a chunk where a fixture says nothing: recorded streams add 9 to 18 a message."""

FOREVER = -1
"""A wait that only the client's leaving or the server's shutdown ends."""

_LONGEST_REMEMBERED = 4096
"""Characters of a text whose pieces are remembered."""

MODES: dict[str, Callable[[str, int], list[str]]] = {
    "tokens": chunks.by_tokens,
    "words": chunks.by_words,
    "characters": chunks.by_characters,
    "chunks": chunks.into,
}


PLAIN = model.Stream()
"""What a fixture says that says nothing of streams."""


class Step(Struct, frozen=True):
    """One message: wait so many ns after the step before (or FOREVER), then send `message`, or end with `failure`."""

    wait: int
    message: Any = None
    failure: Status | None = None


class Cutting(Struct, frozen=True):
    """How a play's final text is cut, paced and broken; `stop` is the status that ends it early."""

    spec: model.Stream
    seed: Seed
    stop: Status | None = None
    streaming: bool = True

    @property
    def whole(self) -> bool:
        """Whether the final message is all, at once."""
        return not self.streaming and self.stop is None and self.spec.stall is None

    @property
    def unpaced(self) -> bool:
        """Whether no message waits for its time, and the last one is the end."""
        spec = self.spec
        if self.stop is not None or spec.stall is not None or spec.every is not None or spec.first_after is not None:
            return False
        return not any(isinstance(piece, model.Piece) and piece.after is not None for piece in spec.pieces or ())


WHOLE = Cutting(PLAIN, Seed(0), streaming=False)
"""One message at once, of which nothing is drawn."""


def pieces_of(text: str, spec: model.Stream) -> list[str]:
    """`text` in the pieces that `spec` asks for; they join to exactly `text`."""
    if spec.pieces is not None:
        return _cut_to(text, [p if isinstance(p, str) else p.text for p in spec.pieces])
    for mode, cut in MODES.items():
        size = getattr(spec, mode)
        if size is not None:
            return cut(text, size)
    return chunks.by_tokens(text, DEFAULT_TOKENS)


def _cut_to(text: str, pieces: Sequence[str]) -> list[str]:
    """Explicit pieces, as far as a truncated text goes."""
    kept, left = [], len(text)
    for piece in pieces:
        if left <= 0:
            break
        kept.append(piece[:left])
        left -= len(piece)
    return kept or [""]


def steps(final: Any, cutting: Cutting) -> Iterator[Step]:
    """The steps of a streamed completion whose final message is `final`; a reply without text is one step."""
    spec = cutting.spec
    if not cutting.streaming:
        yield from _single(final, cutting)
        return
    pieces, counts = _plan(final, spec)
    waits = _waits(len(pieces), spec, cutting.seed)
    stop_after = spec.stop.after if spec.stop is not None else None
    end = 0
    partial = CompletionResponse()
    partial.CopyFrom(final)
    for i, piece in enumerate(pieces):
        stalled = _stall(spec, i)
        if stop_after is not None and i >= stop_after:
            yield Step(stalled, failure=cutting.stop)
            return
        end += len(piece)
        last = i == len(pieces) - 1
        wait = FOREVER if stalled == FOREVER else waits[i] + stalled
        if last:
            yield Step(wait, final)
        else:
            yield Step(wait, _partial(partial, final, end, counts[i]))
    after = _stall(spec, len(pieces))
    if cutting.stop is not None:
        yield Step(after, failure=cutting.stop)
    elif after:
        yield Step(after)


def _single(final: Any, cutting: Cutting) -> Iterator[Step]:
    """A call that does not stream: one message; a stream's fault leaves none."""
    stall = cutting.spec.stall
    wait = 0 if stall is None else FOREVER if stall.for_.ns is None else stall.for_.ns
    if cutting.stop is not None:
        yield Step(wait, failure=cutting.stop)
    else:
        yield Step(wait, final)


def spelled_out(final: Any, cutting: Cutting) -> model.Stream:
    """What cuts the final message `final` into the same steps as `cutting`, with nothing left to be worked out."""
    spec = cutting.spec
    pieces, counts = _plan(final, spec)
    waits = _waits(len(pieces), spec, cutting.seed)
    told: list[str | model.Piece] = [
        model.Piece(text=text, completion_tokens=count, after=Delay(wait))
        for text, count, wait in zip(pieces, counts, waits, strict=True)
    ]
    return model.Stream(pieces=told, stall=spec.stall)


def text_of(final: Any) -> str:
    """The text that is cut; empty where the reply has none, or several alternatives."""
    return str(final.alternatives[0].message.text) if _is_text(final) else ""


def _is_text(final: Any) -> bool:
    return len(final.alternatives) == 1 and final.alternatives[0].message.WhichOneof("Content") == "text"


def _plan(final: Any, spec: model.Stream) -> tuple[list[str], list[int]]:
    """The pieces of the final text, and the completion tokens by the end of each."""
    if not _is_text(final):
        return [""], [0]
    text, goal = final.alternatives[0].message.text, final.usage.completion_tokens
    if spec.pieces is None and len(text) <= _LONGEST_REMEMBERED:
        return _planned(text, goal, spec.tokens, spec.words, spec.characters, spec.chunks)
    pieces = pieces_of(text, spec)
    return pieces, _counts(pieces, goal, spec)


@lru_cache(256)
def _planned(
    text: str, goal: int, by_tokens: int | None, by_words: int | None, by_characters: int | None, into: int | None
) -> tuple[list[str], list[int]]:
    """The same for a text that many requests may get."""
    spec = model.Stream(tokens=by_tokens, words=by_words, characters=by_characters, chunks=into)
    pieces = pieces_of(text, spec)
    return pieces, _counts(pieces, goal, spec)


def _counts(pieces: list[str], goal: int, spec: model.Stream) -> list[int]:
    """Completion tokens by the end of each piece: those given, and between them in step with the text.

    They grow with every piece wherever there are enough tokens for that, and end at `goal`.
    """
    given = [p.completion_tokens if isinstance(p, model.Piece) else None for p in spec.pieces or pieces][: len(pieces)]
    if not any(given) and goal < len(pieces):  # too few to grow with every piece
        return [max(1, goal * (i + 1) // len(pieces)) for i in range(len(pieces))]
    given[-1] = goal
    most, room = goal, []
    for figure in reversed(given):
        most = figure if figure is not None else most - 1
        room.append(most)
    estimates = list(itertools.accumulate(max(1, tokens.count(piece)) for piece in pieces))
    counts: list[int] = []
    for figure, estimate, cap in zip(given, estimates, reversed(room), strict=True):
        least = counts[-1] if counts else 0
        wanted = round(goal * estimate / estimates[-1])
        counts.append(figure if figure is not None else max(least, min(max(wanted, least + 1), cap)))
    return counts


def _partial(partial: Any, final: Any, end: int, count: int) -> Any:
    alternative = partial.alternatives[0]
    alternative.message.text = final.alternatives[0].message.text[:end]
    alternative.status = _PARTIAL
    if final.HasField("usage"):
        partial.usage.completion_tokens = count
        partial.usage.total_tokens = final.usage.input_text_tokens + count
    return partial


_PARTIAL = 1  # ALTERNATIVE_STATUS_PARTIAL


def _waits(n: int, spec: model.Stream, seed: Seed) -> list[int]:
    waits = []
    for i in range(n):
        piece = spec.pieces[i] if spec.pieces is not None and i < len(spec.pieces) else None
        wait: Delay | None = spec.every if i else spec.first_after
        if isinstance(piece, model.Piece) and piece.after is not None:
            wait = piece.after
        waits.append(draw(wait, seed, "chunk", i) if wait is not None else 0)
    return waits


def _stall(spec: model.Stream, i: int) -> int:
    if spec.stall is None or spec.stall.after != i:
        return 0
    return FOREVER if spec.stall.for_.ns is None else spec.stall.for_.ns
