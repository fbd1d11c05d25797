"""Texts as they are compared: folding, words, globs.

`contains` and `word` compare what a person would call the same: case, ё and е, the way letters are composed and the
amount of white space make no difference (`fold`). Globs are exact.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import takewhile

from . import narrow
from .lazy import cached_property

_YO = re.compile(r"ё[^\w\s]*")
_JOINERS = frozenset("-'’_")
_HYPHENS = ("\N{HYPHEN}", "\N{NON-BREAKING HYPHEN}")
_MANY = 64


def fold(text: str) -> str:
    """`text` with what `contains` and `word` overlook evened out.

    NFC, case folded, ё as е, runs of white space as one space, none at the ends. Folding twice changes nothing.
    """
    return Text(text).folded


def _evened(text: str) -> str:
    """`_folded` of a text of which each character folds by itself."""
    return " ".join(text.casefold().replace("ё", "е").split())


def _folded(text: str) -> str:
    if "\u0345" in unicodedata.normalize("NFD", text):
        # The iota subscript changes class when folded, so marks must be in their final order first.
        text = unicodedata.normalize("NFD", text)
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    while "ё" in folded:
        folded = unicodedata.normalize("NFC", _YO.sub(_without_dots, folded))
    return " ".join(folded.split())


def _without_dots(match: re.Match[str]) -> str:
    after = match[0][1:]
    marks = "".join(takewhile(_is_mark, after))
    return "е" + marks.replace("\u0308", "") + after[len(marks) :]


def _is_mark(character: str) -> bool:
    return unicodedata.category(character)[0] == "M"


class Text:
    """A text of a request, folded and cut into words at most once, however many rules look at it.

    Most texts have narrow forms (see `narrow`), which are looked through faster: those whose `narrow` is not None.
    """

    def __init__(self, raw: str) -> None:
        self.raw = raw

    @cached_property
    def folded(self) -> str:
        """What `fold` makes of it."""
        if self.narrow is None:
            return _folded(self.raw)
        return _evened(self.raw) if self.has_symbols else narrow.wide(self.evened)

    @cached_property
    def words(self) -> str:
        """Its folded words, a space before and after each, so that `word_needle(...) in text.words` finds whole words.

        Hyphenated words stand there in parts, and whole on a second line.
        """
        return _spaced(self.folded)

    @cached_property
    def narrow(self) -> bytes | None:
        """It at a byte a character, or None."""
        return narrow.narrow(self.raw)

    @cached_property
    def has_symbols(self) -> bool:
        """Whether it is narrow and some of its characters have no byte of their own there."""
        return self.narrow is not None and narrow.SYMBOL in self.narrow

    @cached_property
    def evened(self) -> bytes:
        """`folded`, narrow."""
        assert self.narrow is not None
        return narrow.folded(self.narrow)

    @cached_property
    def parts(self) -> bytes:
        """The first line of `words`, narrow, but with more than one space between some."""
        return narrow.parts(self.evened)

    @cached_property
    def whole(self) -> bytes:
        """The same of the second line."""
        return narrow.whole(self.evened)

    @cached_property
    def narrow_words(self) -> bytes:
        """`words`, narrow."""
        return narrow.words(self.evened)

    def __repr__(self) -> str:
        return f"Text({self.raw!r})"


def words_of(text: str) -> list[str]:
    """The words of `text`, as written: runs of letters, digits and combining marks, hyphenated ones whole."""
    return _words_of(text) if narrow.narrow(text) is None else _WORD.findall(text)


_WORD = re.compile(r"[^\W_]+(?:-[^\W_]+)*")


def _words_of(text: str) -> list[str]:
    for hyphen in _HYPHENS:
        text = text.replace(hyphen, "-")
    separators = [c for c in set(text) if c != "-" and not _in_word(c)]
    if len(separators) > _MANY:
        text = text.translate(dict.fromkeys(map(ord, separators), " "))
    else:
        for separator in separators:
            text = text.replace(separator, " ")
    tokens = (token.strip("-") for token in text.replace("--", " ").split(" "))
    return [token for token in tokens if token.isalnum() or any(map(str.isalnum, token))]


def _in_word(character: str) -> bool:
    return character.isalnum() or _is_mark(character)


def _spaced(folded: str) -> str:
    whole = " ".join(words_of(folded))
    if "-" not in whole:
        return f" {whole} "
    return f" {whole.replace('-', ' ')} \n {whole} "


def word_needle(pattern: str) -> str:
    """What to look for in `Text.words` for the word, phrase or `beginning*` of a `word` operator.

    Raises ValueError, with the remedy, for a pattern that could not match as its author meant.
    """
    stem, open_end = (pattern[:-1], True) if pattern.endswith("*") else (pattern, False)
    if "*" in stem:
        raise ValueError("`*` stands only at the end of a word pattern; use matches for anything else")
    odd = next((c for c in stem if not (c.isspace() or c in _JOINERS or c in _HYPHENS or _in_word(c))), None)
    if odd is not None:
        raise ValueError(f"a word is of letters and digits, {odd!r} is neither; use contains")
    folded = fold(stem)
    words = words_of(folded)
    if not words:
        raise ValueError("there is no letter or digit in it; use contains")
    if not open_end:
        return f" {' '.join(words)} "
    if stem[-1:].isspace():
        raise ValueError("`*` continues a word, so no space may stand before it")
    # A hyphen before the `*` asks for more after it: `где-*` is где-то, not где.
    return f" {' '.join(words)}" + ("-" if folded.endswith(("-", *_HYPHENS)) else "")


class Glob:
    """A pattern in which `*` is any run of characters and `?` any one; case counts.

    With `segments` neither reaches across a `/`, as in model names.
    """

    __slots__ = ("_parts", "pattern")

    def __init__(self, pattern: str, *, segments: bool = False) -> None:
        self.pattern = pattern
        self._parts: list[_Segment] | _Segment
        self._parts = [_Segment(part) for part in pattern.split("/")] if segments else _Segment(pattern)

    def matches(self, text: str) -> bool:
        """Whether the pattern covers the whole of `text`. Takes time in proportion to its length."""
        if isinstance(self._parts, _Segment):
            return self._parts.matches(text)
        texts = text.split("/")
        return len(texts) == len(self._parts) and all(p.matches(t) for p, t in zip(self._parts, texts, strict=True))


class _Segment:
    # The pieces between stars have a fixed length each, and the leftmost place for each is as good as any other:
    # hence no backtracking, however many stars.
    __slots__ = ("first", "last", "middle", "shortest")

    def __init__(self, pattern: str) -> None:
        pieces = pattern.split("*")
        self.shortest = sum(map(len, pieces))
        self.first = _piece(pieces[0])
        self.last = _piece(pieces[-1]) if len(pieces) > 1 else None
        self.middle = [_piece(piece) for piece in pieces[1:-1] if piece]

    def matches(self, text: str) -> bool:
        if self.last is None:
            return len(text) == self.shortest and _stands(self.first, text, 0)
        end = len(text) - _length(self.last)
        if len(text) < self.shortest or not _stands(self.first, text, 0) or not _stands(self.last, text, end):
            return False
        at = _length(self.first)
        for piece in self.middle:
            found = _search(piece, text, at, end)
            if found < 0:
                return False
            at = found + _length(piece)
        return at <= end


class _Piece:
    __slots__ = ("length", "pattern")

    def __init__(self, piece: str) -> None:
        self.length = len(piece)
        self.pattern = re.compile("".join("." if c == "?" else re.escape(c) for c in piece), re.DOTALL)


def _piece(piece: str) -> str | _Piece:
    return _Piece(piece) if "?" in piece else piece


def _length(piece: str | _Piece) -> int:
    return len(piece) if isinstance(piece, str) else piece.length


def _stands(piece: str | _Piece, text: str, at: int) -> bool:
    return text.startswith(piece, at) if isinstance(piece, str) else piece.pattern.match(text, at) is not None


def _search(piece: str | _Piece, text: str, start: int, end: int) -> int:
    if isinstance(piece, str):
        return text.find(piece, start, end)
    found = piece.pattern.search(text, start, end)
    return found.start() if found else -1
