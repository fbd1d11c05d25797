"""Grapheme clusters: what a reader takes for one character.

A rule of our own in place of the whole of UAX 29: it needs the standard library alone, and where it differs it joins
more rather than less, so a cut it allows is harmless. Combining marks, variation selectors, emoji modifiers and tags
stay with their base; ZWJ sequences, flags, CR LF, Hangul jamo and Indic conjuncts stay whole.
"""

from __future__ import annotations

import functools
import re
import unicodedata

# Blocks in which every character but CR LF stands alone: Latin, Greek, Cyrillic, most punctuation and symbols, Han.
_ALONE = ("[\\x00-\u02ff\u0370-\u0482\u048a-\u058f\u2010-\u2027\u2030-\u205e\u20a0-\u20cf\u2100-\u23ff"
                    "\u2500-\u2bff\u3001-\u3029\u3400-\u9fff]*")  # fmt: skip
_ZWJ = "\u200d"
_VIRAMA = 9
_THAI_AND_LAO_AM = "\u0e33\u0eb3"


@functools.cache
def _alone() -> re.Pattern[str]:
    """Compiled when first needed, which takes a millisecond."""
    return re.compile(_ALONE)


def separate(text: str) -> bool:
    """Whether every character of `text` is a cluster of its own, apart from CR LF; a fast test."""
    return _alone().fullmatch(text) is not None


def split(text: str) -> list[str]:
    """The clusters of `text`, in order; their join is `text`, and an empty text has none."""
    if "\r" not in text and separate(text):
        return list(text)
    clusters: list[str] = []
    start = flags = 0
    plain = {char for char in set(text) if char != "\r" and separate(char)}
    for position in range(1, len(text)):
        before, char = text[position - 1], text[position]
        flags = flags + 1 if before not in plain and _is_flag(before) else 0
        if not (before in plain and char in plain) and (_joined(before, char, flags) or _conjunct(text, position)):
            continue
        clusters.append(text[start:position])
        start = position
    if text:
        clusters.append(text[start:])
    return clusters


def _joined(before: str, char: str, flags: int) -> bool:
    """Whether `char` continues the cluster that `before` is in; `flags` regional indicators stand right before it."""
    if before == "\r" or char == "\n":
        return before + char == "\r\n"
    if before.isspace() and unicodedata.category(before) in ("Cc", "Zl", "Zp"):
        return False
    if _extends(char):
        return True
    if before == _ZWJ:
        return not char.isalnum() and not char.isspace()
    if "\u1100" <= before <= "\u115f":
        return "\u1100" <= char <= "\u115f" or "가" <= char <= "힣"
    return _is_flag(char) and flags % 2 == 1


def _conjunct(text: str, position: int) -> bool:
    """Whether a virama, with nothing but marks since, links the letter at `position` to what is before it."""
    if not text[position].isalpha():
        return False
    while position and _extends(text[position - 1]):
        position -= 1
        if unicodedata.combining(text[position]) == _VIRAMA:
            return True
    return False


def _extends(char: str) -> bool:
    if char < "\u0300":
        return False
    return (
        unicodedata.category(char)[0] == "M"
        or char in _THAI_AND_LAO_AM
        or "\u200c" <= char <= _ZWJ
        or "\u1160" <= char <= "\u11ff"
        or "\U0001f3fb" <= char <= "\U0001f3ff"
        or "\U000e0020" <= char <= "\U000e007f"
    )


def _is_flag(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"
