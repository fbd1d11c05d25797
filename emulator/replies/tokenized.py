"""Tokens as the tokenizer's service shows them: a text, an id, and whether it is a special one.

The shape is that of recorded traffic: `<s>` begins, `▁` stands for a space and begins each text, a line break is
`[NL]`. What is one token is told in `tokens`. The real vocabulary is not public: ids that were seen in traffic are
those, the others are hashes, the same for the same text everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from typing import Any

from ..api import Token
from . import tokens

SPECIAL = {tokens.START: 1, tokens.LINE_BREAK: 3, tokens.END: 4}
"""Marks that stand for no text, and their ids (recorded)."""

SEEN = {
    "▁Пользователь": 16861,
    ":": 125851,
    "▁ping": 45533,
    "А": 125904,
    "сси": 845,
    "стент": 57590,
    "▁[": 502,
    "EDIT": 32166,
    "ORS": 20386,
    "]": 125895,
}
"""Ids from recorded traffic."""

LOWEST_ID, HIGHEST_ID = 5, 125_999
"""Between which ids of texts lie: above the special ones; the highest seen is 125904."""

MOST_TOKENS = 200_000
"""Tokens in a reply: more than any text that the service takes can have, and what a client still receives."""


def of_text(text: str) -> list[str]:
    """The texts of a text's tokens: a start mark, then its pieces."""
    return _bounded([tokens.START, *_shown(tokens.split(text))])


def of_conversation(messages: Iterable[Any], tools: Iterable[Any] = ()) -> list[str]:
    """The texts of a whole prompt's tokens, as many as its completion's `usage.input_text_tokens`."""
    runs = tokens.prompt(messages, tools)
    return _bounded([text for run in runs for text in (run if isinstance(run, tokens.Fixed) else _shown(run))])


def token(text: str, id_: int | None = None, special: bool = False) -> Any:
    """A Token of that text, which brings its id unless one is given; a special one's text brings both."""
    special = special or text in SPECIAL
    return Token(id=id_of(text) if id_ is None else id_, text=text, special=special)


def id_of(text: str) -> int:
    """The id of the token with that text."""
    known = SPECIAL.get(text) or SEEN.get(text)
    return known or LOWEST_ID + zlib.crc32(text.encode()) % (HIGHEST_ID - LOWEST_ID + 1)


def _shown(pieces: Sequence[str]) -> list[str]:
    """Pieces of one text as tokens show them."""
    shown = [tokens.LINE_BREAK if piece in ("\n", "\r\n") else piece.replace(" ", "▁") for piece in pieces]
    if shown and not shown[0].startswith("▁") and shown[0] != tokens.LINE_BREAK:
        shown[0] = "▁" + shown[0]
    return shown


def _bounded(texts: list[str]) -> list[str]:
    if len(texts) > MOST_TOKENS:
        raise ValueError(
            f"it would have {len(texts)} tokens, which is more than the {MOST_TOKENS} that one reply holds"
        )
    return texts
