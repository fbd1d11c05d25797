"""Chunks: where the text of a reply is cut for streaming.

Each function answers with the pieces that the successive messages add: none is empty, their join is exactly the text,
and no cut falls within a grapheme cluster. A text that can't be cut is one piece; an empty one is `[""]`. `n` below 1
raises ValueError.
"""

from __future__ import annotations

import re

from emulator.replies import graphemes, tokens

_WORD = re.compile(r"\S+")


def by_tokens(text: str, n: int) -> list[str]:
    """Chunks of `n` tokens each, as `tokens.split` makes them; the last may be shorter."""
    return _groups(tokens.split(text), n)


def by_words(text: str, n: int) -> list[str]:
    """Chunks of `n` words each, each word with the white space before it; what ends the text belongs to the last."""
    ends = [word.end() for word in _WORD.finditer(text)]
    starts = [0, *ends[:-1]]
    words = [text[start:end] for start, end in zip(starts, [*ends[:-1], len(text)], strict=False)]
    return _groups(words or [text], n)


def by_characters(text: str, n: int) -> list[str]:
    """Chunks of `n` characters each, a character being a grapheme cluster."""
    return _groups(graphemes.split(text), n)


def into(text: str, n: int) -> list[str]:
    """`n` chunks of as many tokens each as can be, or of characters where tokens are too few.

    Fewer than `n` only for a text of fewer than `n` characters, which gives a chunk for each.
    """
    _at_least_one(n)
    units = tokens.split(text)
    if len(units) < n:
        units = graphemes.split(text)
    n = min(n, len(units))
    return ["".join(units[i * len(units) // n : (i + 1) * len(units) // n]) for i in range(n)] or [""]


def _groups(units: list[str], n: int) -> list[str]:
    _at_least_one(n)
    return ["".join(units[i : i + n]) for i in range(0, len(units), n)] or [""]


def _at_least_one(n: int) -> None:
    if n < 1:
        raise ValueError(f"a chunk can't be made of {n}: say 1 or more")
