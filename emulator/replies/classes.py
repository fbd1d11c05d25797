"""How sure a classifier is of each label: by how alike the text is to the label and to the samples of that label."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence

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

MOST = 1000
"""So many labels and samples are looked at."""

_LEAST = 20
_DRAW = 10


def confidences(text: str, labels: Sequence[str], samples: Iterable[tuple[str, str]] = ()) -> list[float]:
    """A number from 0 to 1 for each label, in their order, that add up to 1. `samples` are texts with their labels.

    Where nothing speaks for any label they are about even, and which is ahead depends on text and label alone.
    """
    asked = features(text)
    likest = {label: likeness(asked, features(label)) for label in labels[:MOST]}
    for sample, label in list(samples)[:MOST]:
        if label in likest:
            likest[label] = max(likest[label], likeness(asked, features(sample)))
    weights = [(_LEAST + _draw(text, label) + likest.get(label, 0)) ** 3 for label in labels]
    return [weight / sum(weights) for weight in weights]


def _draw(text: str, label: str) -> int:
    return zlib.crc32(f"{label}\0{text}".encode("utf-8", "replace")) % _DRAW
