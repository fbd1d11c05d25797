"""Pictures: real JPEGs of the asked shape on which the prompt can be read."""

from __future__ import annotations

import io
import time

import pytest
from PIL import Image, ImageChops, ImageDraw

from emulator.replies import images


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


def test_a_square_is_a_baseline_jpeg_of_1024_by_1024() -> None:
    data = images.picture("a cat on the moon", seed=1)
    image = opened(data)
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (1024, 1024))
    assert "progressive" not in image.info
    assert 60_000 < len(data) < 400_000


@pytest.mark.parametrize(
    ("ratio", "size"),
    [
        ((1, 1), (1024, 1024)),
        ((7, 7), (1024, 1024)),
        ((16, 9), (1368, 768)),
        ((9, 16), (768, 1368)),
        ((2, 1), (1448, 728)),
    ],
)
def test_a_ratio_keeps_the_area(ratio: tuple[int, int], size: tuple[int, int]) -> None:
    assert images.size(*ratio) == size
    assert abs(size[0] * size[1] / 1024**2 - 1) < 0.01


@pytest.mark.parametrize("ratio", [(1, 10**12), (10**12, 1), (0, 5), (-3, 2), (10**400, 10**400)])
def test_absurd_ratios_give_sane_sides(ratio: tuple[int, int]) -> None:
    assert all(300 <= side <= 3000 and side % 8 == 0 for side in images.size(*ratio))


def test_the_picture_has_the_asked_size() -> None:
    assert opened(images.picture("кот", seed=1, width_ratio=16, height_ratio=9)).size == (1368, 768)


def test_the_same_prompt_and_seed_give_the_same_bytes_and_others_do_not() -> None:
    first = images.picture("рыжий кот", seed=1)
    assert images.picture("рыжий кот", seed=1) == first
    assert images.picture("рыжий кот", seed=2) != first
    assert images.picture("рыжий кит", seed=1) != first


def test_cyrillic_letters_look_different_from_one_another() -> None:
    font = images._font(48)
    looks = {bytes(font.getmask(letter)) for letter in "абвгдежзиклмнопрстуфхцчшщъыьэюя"}
    assert len(looks) == 31


def test_the_prompt_stands_in_the_middle_in_white() -> None:
    blank, written = (opened(images.picture(prompt, seed=1)) for prompt in ("", "щщщ"))
    middle = (300, 400, 724, 624)
    assert written.crop(middle).convert("L").getextrema()[1] > 245
    assert ImageChops.difference(blank.crop(middle), written.crop(middle)).getbbox() is not None


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16, 9), (9, 16), (1, 8), (8, 1)])
def test_500_characters_fit_whole(width: int, height: int) -> None:
    text = ("Фотореалистичный портрет рыжего кота в вязаной шапке на подоконнике. " * 8)[:500].strip()
    across, down = images.size(width, height)
    room = (across * 5 // 7, down * 5 // 7)
    font, lines = images._fitted(text, room)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert max(font.getlength(line) for line in lines) <= room[0]
    assert len(lines) * font.size <= room[1]


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t ",
        "a\nb\r\nc",
        "👩\u200d👩\u200d👧 🇷🇺 ☂️",
        "x" * 5000,
        "\x00\x07",
        "漢字 العربية",
        "и\u0306",
        "\u0301",
    ],
)
def test_no_prompt_breaks_it(prompt: str) -> None:
    assert opened(images.picture(prompt, seed=3)).size == (1024, 1024)


def test_a_long_word_is_broken_within_the_room() -> None:
    font, lines = images._fitted("ж" * 300, (400, 400))
    assert "".join(lines) == "ж" * 300
    assert max(font.getlength(line) for line in lines) <= 400


def test_lines_are_as_wide_as_measured_when_drawn() -> None:
    font = images._font(36)
    image = Image.new("L", (2000, 80))
    draw = ImageDraw.Draw(image)
    line = "Широкая электрификация южных губерний"
    assert abs(draw.textlength(line, font=font) - sum(font.getlength(char) for char in line)) < 2


def test_it_takes_a_moment_only() -> None:
    images.picture("first", seed=1)
    begun = time.process_time()
    images.picture("рыжий кот " * 50, seed=1)
    assert time.process_time() - begun < 1
