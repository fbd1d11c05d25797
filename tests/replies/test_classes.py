"""Confidences: in the labels' order, adding up to 1, and highest where the text is likest."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.replies.classes import LABELS, confidences

TOPICS = ["культура", "технологии", "спорт"]
SAMPLES = [("матч закончился ничьей", "спорт"), ("в музее открылась выставка", "культура"), ("новый чип", "технологии")]


@given(st.text(), st.lists(st.text(), min_size=1, max_size=25), st.lists(st.tuples(st.text(), st.text()), max_size=5))
def test_they_add_up_to_one_whatever_is_asked(text: str, labels: list[str], samples: list[tuple[str, str]]) -> None:
    found = confidences(text, labels, samples)
    assert len(found) == len(labels)
    assert sum(found) == pytest.approx(1, abs=1e-12)
    assert all(0 < figure <= 1 for figure in found)
    assert found == confidences(text, labels, samples)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("Матчи тура закончились", "спорт"),
        ("Выставку в музее продлили", "культура"),
        ("Вышел чип нового поколения", "технологии"),
        ("Спортом заняться никогда не поздно", "спорт"),
    ],
)
def test_the_label_whose_samples_or_name_the_text_is_like_wins(text: str, label: str) -> None:
    found = dict(zip(TOPICS, confidences(text, TOPICS, SAMPLES), strict=True))
    assert max(found, key=found.__getitem__) == label
    assert found[label] > 0.6


def test_a_sample_itself_is_as_good_as_certain() -> None:
    assert confidences("В музее открылась выставка", TOPICS, SAMPLES)[0] > 0.99


def test_a_text_that_is_like_nothing_is_about_even() -> None:
    assert max(confidences("xyzzy", TOPICS, SAMPLES)) < 0.7


def test_samples_of_labels_that_are_not_asked_for_change_nothing() -> None:
    assert confidences("матч", TOPICS, [("матч", "погода")]) == confidences("матч", TOPICS)


@pytest.mark.parametrize(
    ("text", "label"), [("Отлично, спасибо!", "positive"), ("Товар сломан, верните деньги. Ужасно!", "negative")]
)
def test_a_tuned_classifier_knows_praise_from_complaint(text: str, label: str) -> None:
    found = dict(zip(LABELS, confidences(text, list(LABELS), [(v, k) for k, v in LABELS.items()]), strict=True))
    assert max(found, key=found.__getitem__) == label
