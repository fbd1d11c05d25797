"""Texts at a byte a character: what people write in Russian and English, of which each character folds by itself.

Such a text is folded, cut into words and looked through by passes over bytes, in a tenth of the time that texts take.
What is told here of narrow texts is what `text` tells of them, and property tests hold it to that.
"""

from __future__ import annotations

import codecs
import unicodedata
from functools import cache, lru_cache
from typing import Any

SYMBOL = b"\x98"
"""What stands for every symbol without a byte of its own, such as emoji."""

_SYMBOLS = "emulator.symbols"
_SPACE = ord(" ")
_MANY = 8


def narrow(text: str) -> bytes | None:
    """`text` at a byte a character; None where it has others than ASCII, Cyrillic, common punctuation and symbols.

    None of these is made of several characters, combines with another, or folds to what isn't among them.
    """
    if text.isascii():
        return text.encode()
    try:
        return codecs.charmap_encode(text, _SYMBOLS, _codes())[0]
    except UnicodeEncodeError:
        return None


def needle(text: str) -> bytes | None:
    """What `narrow` gives of a text that is to be looked for in others; None where it has symbols, too."""
    coded = narrow(text)
    return None if coded is None or SYMBOL in coded else coded


def wide(coded: bytes) -> str:
    """The text of which `coded` is the narrow form, if there is no `SYMBOL` in it."""
    return codecs.charmap_decode(coded, "strict", characters())[0]


@lru_cache(2048)
def is_symbol(character: str) -> bool:
    """Whether a character stands alone, whatever is beside it: no letter, digit, mark or hyphen, nor what joins, is
    joined or decomposed.
    """
    ours = any(first <= character <= last for first, last in _BLOCKS)
    return ours and unicodedata.category(character) in _KINDS and unicodedata.normalize("NFD", character) == character


_KINDS = frozenset({"Sc", "Sm", "So", "Po", "Pd", "Ps", "Pe", "Pi", "Pf"})
_BLOCKS = (
    *(("\xa1", "\xbf"), ("\u2012", "\u205e"), ("\u20a0", "\u20cf"), ("\u2100", "\u23ff"), ("\u2500", "\u2bff")),
    *(("\u3001", "\u3029"), ("\U0001f300", "\U0001faff")),
)


def _stand_in(failed: UnicodeError) -> tuple[bytes, int]:
    assert isinstance(failed, UnicodeEncodeError)
    if not all(map(is_symbol, failed.object[failed.start : failed.end])):
        raise failed
    return SYMBOL * (failed.end - failed.start), failed.end


codecs.register_error(_SYMBOLS, _stand_in)


def folded(coded: bytes) -> bytes:
    """A narrow text, folded (see `text.fold`)."""
    evened = coded.translate(_folding())
    if b"  " in evened or evened[:1] == b" " or evened[-1:] == b" ":
        return b" ".join(evened.split())
    return evened


def parts(folded: bytes) -> bytes:
    """The words of a folded narrow text, hyphenated ones in parts, with one space or more before and after each."""
    return b" %b " % folded.translate(_separating()).replace(b"-", b" ")


def whole(folded: bytes) -> bytes:
    """The same with hyphenated words whole."""
    words = b" %b " % folded.translate(_separating())
    hyphens = words.count(b"-")
    at = 0
    while hyphens and hyphens < _MANY:
        at = words.index(b"-", at + 1)
        if words[at - 1] == _SPACE or words[at + 1] in b" -":
            break
        hyphens -= 1
    if not hyphens:
        return words  # each stands within a word
    # With the pairs gone, a hyphen is within a word unless it stands beside a space.
    return words.replace(b"--", b"  ").replace(b" -", b"  ").replace(b"- ", b"  ")


def words(folded: bytes) -> bytes:
    """Both, a line each, with exactly one space before and after each word, so that phrases can be found."""
    return b"\n".join([b" %b " % b" ".join(line.split()) for line in (parts(folded), whole(folded))])


@cache
def characters() -> str:
    """The character of each byte, U+FFFE for two that have none.

    The micro sign folds to a letter that isn't there, so it isn't either.
    """
    return bytes(range(256)).decode("cp1251", "replace").replace("\ufffd", "\ufffe").replace("µ", "\ufffe")


@cache
def _codes() -> Any:
    return codecs.charmap_build(characters())


@cache
def _folding() -> bytes:
    evened = characters().casefold().replace("ё", "е")
    places = {c: i for i, c in enumerate(characters())}
    return bytes(ord(" ") if c.isspace() else i if c == "\ufffe" else places[c] for i, c in enumerate(evened))


@cache
def _separating() -> bytes:
    return bytes(ord("-") if c == "-" else i if c.isalnum() else ord(" ") for i, c in enumerate(characters()))
