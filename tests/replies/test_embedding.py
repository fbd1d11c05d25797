"""Vectors: unit length, the same everywhere, and near where texts are alike."""

from __future__ import annotations

import hashlib
import math
import struct
import subprocess
import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emulator.clock import Monotonic
from emulator.replies.embedding import MOST_DIM, vector


def near(one: str, other: str, dim: int | None = None) -> float:
    return sum(a * b for a, b in zip(vector(one, dim), vector(other, dim), strict=True))


@given(st.text(), st.one_of(st.none(), st.integers(1, 600)))
def test_a_vector_has_the_asked_length_and_is_of_length_one(text: str, dim: int | None) -> None:
    found = vector(text, dim)
    assert len(found) == (dim or 256)
    assert math.sqrt(sum(number * number for number in found)) == pytest.approx(1, abs=1e-9)
    assert found == vector(text, dim)


@pytest.mark.parametrize("dim", [0, -1, -(2**63)])
def test_a_length_that_can_not_be_is_brought_within_bounds(dim: int) -> None:
    assert len(vector("раз", dim)) == 1
    assert len(vector("раз", 2**62)) == MOST_DIM


def test_it_is_the_same_in_another_process_whatever_its_hash_seed() -> None:
    code = "import struct, hashlib; from emulator.replies.embedding import vector; v = vector('Привет, мир!'); "
    code += "print(hashlib.sha256(struct.pack('<256d', *v)).hexdigest())"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, check=True, capture_output=True, text=True
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert told == {hashlib.sha256(struct.pack("<256d", *vector("Привет, мир!"))).hexdigest()}
    assert told == {"cda30b7c9ffc95649b6ca2ab6e0052225c1f704168660ca1a9c9c27c24fdc632"}


ABOUT = {
    "weather": ["какая погода завтра в Москве", "Погода в москве на завтра", "прогноз погоды для Москвы"],
    "return": ["как вернуть товар в магазин", "Возврат товара: вернуть в магазин", "вернуть товары магазину"],
    "model": ["train a language model on text", "Language models are trained on texts", "the model reads text"],
}


@pytest.mark.parametrize("dim", [None, 512, 1024])
def test_texts_that_share_words_are_nearer_than_texts_that_do_not(dim: int | None) -> None:
    within = [near(a, b, dim) for texts in ABOUT.values() for a, b in product(texts, texts) if a != b]
    across = [
        near(a, b, dim)
        for one, other in product(ABOUT, ABOUT)
        if one != other
        for a, b in product(ABOUT[one], ABOUT[other])
    ]
    assert min(within) > max(across)


@pytest.mark.parametrize(
    ("word", "form", "other"),
    [
        ("погода", "погоды", "доллар"),
        ("кот", "коты", "дом"),
        ("доставка", "доставкой", "возврат"),
        ("embedding", "embeddings", "railway"),
    ],
)
def test_forms_of_a_word_are_near(word: str, form: str, other: str) -> None:
    assert near(word, form) > 0.2 > near(word, other)


@pytest.mark.parametrize("other", ["ЁЛКА И СНЕГ", "елка и снег", "  ёлка\nи\tснег ", "Е\u0308лка и снег"])
def test_case_yo_accents_and_white_space_make_no_difference(other: str) -> None:
    assert vector("ёлка и снег") == vector(other)


def test_words_that_say_little_weigh_little() -> None:
    assert near("что это за город", "что это за собака") < near("старый город", "город и река")


def test_a_long_text_takes_milliseconds() -> None:
    text = " ".join(f"слово{n % 900} и дело{n % 700}" for n in range(1000))
    vector(text)  # what is done once is done
    began = Monotonic.now()
    vector(text)
    assert Monotonic.now() - began < 0.2  # a few ms; other work on the machine must not fail it
