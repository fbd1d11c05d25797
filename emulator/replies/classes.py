"""How sure a classifier is of each label: by how alike the text is to the label and to the samples of that label."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from itertools import islice

from .likeness import features, likeness

LABELS: dict[str, str] = {
    "positive": "хорошо отлично прекрасно супер рад доволен нравится люблю спасибо рекомендую good great excellent "
    "love like happy thanks perfect nice",
    "neutral": "обычно нормально средне вопрос information question okay normal usual",
    "negative": "плохо ужасно отвратительно недоволен разочарован ненавижу сломано брак возврат bad awful terrible "
    "hate broken worst poor disappointed refund",
}
"""The labels of a fine-tuned classifier, and words that speak for each. A real one has those that it was tuned with,
which nobody here can know: script your own with `predictions`.
"""

MOST, MOST_CHARACTERS = 200, 2000
"""So many labels and samples are looked at, and so much of each: the longest request is answered in a blink, too."""

_LEAST = 20
_DRAW = 10


def confidences(text: str, labels: Sequence[str], samples: Iterable[tuple[str, str]] = ()) -> list[float]:
    """A number from 0 to 1 for each label, in their order, that add up to 1. `samples` are texts with their labels.

    Where nothing speaks for any label they are about even, and which is ahead depends on text and label alone.
    """
    asked = features(text)
    likest = {label: likeness(asked, features(label[:MOST_CHARACTERS])) for label in labels[:MOST]}
    for sample, label in islice(samples, MOST):
        if label in likest:
            likest[label] = max(likest[label], likeness(asked, features(sample[:MOST_CHARACTERS])))
    drawn = _crc(text)
    weights = [(_LEAST + _crc(label, drawn) % _DRAW + likest.get(label, 0)) ** 3 for label in labels]
    total = sum(weights)
    return [weight / total for weight in weights]


def _crc(text: str, before: int = 0) -> int:
    return zlib.crc32(text.encode("utf-8", "replace"), before)
