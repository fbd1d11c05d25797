"""Words in which Latin and Cyrillic letters that look alike are mixed."""

from __future__ import annotations

import re

from emulator.rules.problems import short

_LATIN_FIRST = re.compile(r"[A-Za-z][\u0400-\u04ff]")
_CYRILLIC_FIRST = re.compile(r"[\u0400-\u04ff][A-Za-z]")
_WORD = re.compile(r"\\?[A-Za-z\u0400-\u04ff]+")
_LATIN = re.compile(r"[A-Za-z]")
_CYRILLIC = re.compile(r"[\u0400-\u04ff]")
_LOOK_CYRILLIC = frozenset("aceopxyABCEHKMOPTXy")
_LOOK_LATIN = frozenset("асеорхуАВСЕНКМОРТХУіІј")


def mixed_word(text: str) -> str | None:
    """The first word of `text` in which letters of one alphabet pose as the other's, or None."""
    if not meet(text):
        return None
    for word in _WORD.findall(text):
        letters = word[2:] if word[0] == "\\" else word
        latin, cyrillic = _LATIN.findall(letters), _CYRILLIC.findall(letters)
        if latin and cyrillic and (_LOOK_CYRILLIC.issuperset(latin) or _LOOK_LATIN.issuperset(cyrillic)):
            return str(letters)
    return None


def meet(text: str) -> bool:
    """Whether a Latin and a Cyrillic letter stand side by side."""
    return bool(_CYRILLIC_FIRST.search(text) or _LATIN_FIRST.search(text))


def spelled(word: str) -> str:
    """The letters of `word` by alphabet, as a complaint tells them."""
    latin = "".join(dict.fromkeys(_LATIN.findall(word)))
    cyrillic = "".join(dict.fromkeys(_CYRILLIC.findall(word)))
    return f"Latin: {short(latin, 20)}; Cyrillic: {short(cyrillic, 20)}"
