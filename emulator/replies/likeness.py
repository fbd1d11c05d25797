"""How alike two texts are, without a model: by the words they share, and by pieces of words.

What `contains` overlooks (case, ё and е, white space) makes no difference here either. Pieces of four letters bring the
forms of a word near one another, which matters in Russian: `погода` and `погоды`. All of it is whole numbers, so that
it comes out the same on every machine.
"""

from __future__ import annotations

from collections import Counter
from functools import cached_property, lru_cache
from math import isqrt

from ..rules.text import fold, words_of


class Features(dict[str, int]):
    """What a text is to a comparison: words (`=погода`) and pieces (`пого`), and the weight of each."""

    @cached_property
    def square(self) -> int:
        """The square of their length as a vector."""
        return sum(weight * weight for weight in self.values())


SAME = 1000
"""The likeness of a text to itself."""

MOST_CHARACTERS = 100_000
"""So much of a text is looked at: as long as the service takes."""

_PIECE = 4
_LONGEST_WORD = 60
_COMMON = frozenset(
    words_of(
        "а без бы был была были было в вам вас во вот все вы где да для до его ее если есть еще же за и из или им "
        "их к как ко когда кто ли мне мы на не него нет ни но ну о об он она они от по под при с со так там то "
        "тоже только ты у уже чем что чтобы это этот я a an and are as at be by can do does for from has have how "
        "i if in is it its me my of on or so that the this to was we were what when where which who why will with "
        "you your"
    )
)
"""Words that say little of what a text is about."""


def features(text: str) -> Features:
    """The features of `text`. There is always one, even if the text has no letter in it."""
    folded = fold(text[:MOST_CHARACTERS])
    found: Counter[str] = Counter()
    for word, times in Counter(words_of(folded)).items():
        for feature, weight in _of_word(word[:_LONGEST_WORD]):
            found[feature] += weight * times.bit_length()  # a word said twice as often is not twice as important
    return Features(found or {f"={folded}": 1})


@lru_cache(maxsize=4096)
def _of_word(word: str) -> tuple[tuple[str, int], ...]:
    if word in _COMMON:
        return ((f"={word}", 1),)
    begun = f"^{word}"
    pieces = tuple((begun[i : i + _PIECE], 2) for i in range(max(1, len(begun) - _PIECE + 1)))
    return ((f"={word}", 3), *pieces)


def likeness(one: Features, other: Features) -> int:
    """From 0, nothing in common, to `SAME`: the cosine between the two."""
    if len(other) < len(one):
        one, other = other, one
    product = sum(weight * other[feature] for feature, weight in one.items() if feature in other)
    return isqrt(SAME * SAME * product * product // (one.square * other.square))
