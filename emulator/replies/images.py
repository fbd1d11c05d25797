"""Pictures: what an image model that only reads would paint.

A generated picture is a background of our own making with the prompt written on it, so that a person can tell which
request it answers. Equal arguments give equal bytes, as long as Pillow and the JPEG library it carries stay the same.
What the real service paints is not imitated, only its form: a baseline JPEG of 1024x1024.
"""

from __future__ import annotations

import colorsys
import functools
import hashlib
import io
import math
import unicodedata
from collections.abc import Mapping
from importlib import resources
from typing import TYPE_CHECKING

from emulator.seed import Seed

if TYPE_CHECKING:
    from PIL import Image, ImageDraw, ImageFont

_AREA = 1024 * 1024
_STEP = 8
_WIDEST = 8
_LONGEST_PROMPT = 1000
_FONT = "DejaVuSans-Bold-subset.ttf"
_SIZES = (112, 96, 84, 72, 64, 56, 48, 42, 36, 32, 28, 24, 21, 18, 16, 14, 12)
_LEADING = 1.3
_BREAKS_WORDS_AT = 36
_INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def picture(prompt: str, *, seed: int, width_ratio: int = 1, height_ratio: int = 1) -> bytes:
    """A JPEG with `prompt` on it, of `size(width_ratio, height_ratio)` pixels.

    Another seed gives another background and other bytes. A prompt of more than 1,000 characters is cut short with an
    ellipsis; characters that the bundled font lacks are shown as boxes.
    """
    from PIL import Image

    width, height = size(width_ratio, height_ratio)
    choice = Seed(seed).at("picture", prompt)
    image = _background(width, height, choice)
    image.paste(Image.new("RGB", image.size, "white"), mask=_shapes(width, height, choice))
    image = Image.blend(image, _grain(width, height, choice), 0.06)
    _write(image, prompt)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=85)
    return target.getvalue()


def size(width_ratio: int, height_ratio: int) -> tuple[int, int]:
    """Width and height in pixels for an aspect ratio.

    The area stays that of the recorded 1024x1024, as near as sides divisible by 8 allow. Our choice: what lies beyond
    8:1 or 1:8 is held to that, and a ratio with a part below 1 is a square.
    """
    if width_ratio < 1 or height_ratio < 1:
        return size(1, 1)
    bound = 1 / _WIDEST
    ratio = min(max(width_ratio / height_ratio, bound), _WIDEST)
    side = math.sqrt(_AREA * ratio)
    return _rounded(side), _rounded(_AREA / side)


def _rounded(side: float) -> int:
    return round(side / _STEP) * _STEP


def _background(width: int, height: int, choice: Seed) -> Image.Image:
    """Three related colours: one flowing into the next from top to bottom, the third glowing from a corner."""
    from PIL import Image

    hue = choice.fraction("hue")
    top = _colour(hue, 0.55, 0.42)
    bottom = _colour(hue + 0.08 + 0.12 * choice.fraction("bottom"), 0.62, 0.62)
    glow = _colour(hue - 0.15 - 0.1 * choice.fraction("glow"), 0.75, 0.66)
    down = Image.linear_gradient("L").resize((width, height))
    image = Image.composite(Image.new("RGB", down.size, bottom), Image.new("RGB", down.size, top), down)
    reach = Image.radial_gradient("L").point(lambda distance: max(0, 200 - distance)).resize((2 * width, 2 * height))
    x, y = choice.choice(((0, 0), (width, 0), (0, height), (width, height)), "corner")
    image.paste(Image.new("RGB", image.size, glow), mask=reach.crop((x, y, x + width, y + height)))
    return image


def _shapes(width: int, height: int, choice: Seed) -> Image.Image:
    """A mask of faint discs and rings, drawn at half the size so that enlarging smooths their edges."""
    from PIL import Image, ImageChops, ImageDraw

    canvas = (width // 2, height // 2)
    mask = Image.new("L", canvas, 0)
    for index in range(choice.integer(5, 9, "shapes")):
        shape = choice.at("shape", index)
        radius = shape.integer(min(canvas) // 10, min(canvas) // 2, "radius")
        x, y = shape.integer(0, canvas[0], "x"), shape.integer(0, canvas[1], "y")
        layer = Image.new("L", canvas, 0)
        box = (x - radius, y - radius, x + radius, y + radius)
        if shape.fraction("ring") < 0.4:
            ImageDraw.Draw(layer).ellipse(box, outline=60, width=max(3, radius // 12))
        else:
            ImageDraw.Draw(layer).ellipse(box, fill=shape.integer(14, 34, "strength"))
        mask = ImageChops.add(mask, layer)
    return mask.resize((width, height), Image.Resampling.BICUBIC)


def _grain(width: int, height: int, choice: Seed) -> Image.Image:
    """A tile of noise laid over the whole, which gives the file the weight of a photograph."""
    from PIL import Image

    side = 256
    tile = Image.frombytes("L", (side, side), hashlib.shake_128(choice.bits("grain")).digest(side * side))
    grain = Image.new("L", (width, height))
    for x in range(0, width, side):
        for y in range(0, height, side):
            grain.paste(tile, (x, y))
    return grain.convert("RGB")


def _colour(hue: float, lightness: float, saturation: float) -> tuple[int, int, int]:
    # Lightness is what makes white text readable, so it stays low whatever the hue.
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness * 0.8, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _write(image: Image.Image, prompt: str) -> None:
    """The prompt in the middle of `image`, as large as fits, on a darker panel."""
    from PIL import Image, ImageDraw

    text = _printable(prompt)
    if not text:
        return
    margin = min(image.size) // 14
    room = (image.width - 4 * margin, image.height - 4 * margin)
    font, lines = _fitted(text, room)
    leading = round(font.size * _LEADING)
    wide, high = max(math.ceil(font.getlength(line)) for line in lines), leading * len(lines)
    left, top = (image.width - wide) // 2, (image.height - high) // 2
    shade = Image.new("L", image.size, 0)
    panel = (left - margin, top - margin, left + wide + margin, top + high + margin)
    ImageDraw.Draw(shade).rounded_rectangle(panel, radius=margin // 2, fill=150)
    image.paste(Image.new("RGB", image.size, (16, 18, 28)), mask=shade)
    draw: ImageDraw.ImageDraw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((image.width / 2, top + (number + 0.5) * leading), line, font=font, fill="white", anchor="mm")


def _printable(prompt: str) -> str:
    """`prompt` in composed letters, without what has no shape of its own, and not endless."""
    text = unicodedata.normalize("NFC", prompt[: 2 * _LONGEST_PROMPT])
    lines = (" ".join(line.split()) for line in text.splitlines())
    text = "\n".join(line for line in lines if line)
    text = "".join(char for char in text if char == "\n" or _visible(char))
    return text if len(text) <= _LONGEST_PROMPT else text[: _LONGEST_PROMPT - 1].rstrip() + "…"


def _visible(char: str) -> bool:
    return unicodedata.category(char) not in _INVISIBLE and not "\ufe00" <= char <= "\ufe0f"


def _fitted(text: str, room: tuple[int, int]) -> tuple[ImageFont.FreeTypeFont, list[str]]:
    """The largest font in which `text`, broken into lines, fits `room`, and those lines; the smallest if none does."""
    for points in _SIZES:
        font = _font(points)
        widths = {char: font.getlength(char) for char in {*text, " "} - {"\n"}}
        lines = _wrapped(text, widths, room[0])
        words_whole = all(_width(word, widths) <= room[0] for word in text.split())
        if len(lines) * points * _LEADING <= room[1] and (words_whole or points <= _BREAKS_WORDS_AT):
            break
    return font, lines[: max(1, int(room[1] / (points * _LEADING)))]


def _wrapped(text: str, widths: Mapping[str, float], room: float) -> list[str]:
    lines = []
    for paragraph in text.split("\n"):
        line, reached = "", 0.0
        for piece in (piece for word in paragraph.split(" ") for piece in _broken(word, widths, room)):
            wide = _width(piece, widths)
            if line and reached + widths[" "] + wide > room:
                lines.append(line)
                line = ""
            line, reached = (f"{line} {piece}", reached + widths[" "] + wide) if line else (piece, wide)
        lines.append(line)
    return lines


def _broken(word: str, widths: Mapping[str, float], room: float) -> list[str]:
    """`word` in pieces no wider than `room`, however long it is."""
    pieces, piece, reached = [], "", 0.0
    for char in word:
        if piece and reached + widths[char] > room:
            pieces.append(piece)
            piece, reached = "", 0.0
        piece, reached = piece + char, reached + widths[char]
    return [*pieces, piece]


def _width(text: str, widths: Mapping[str, float]) -> float:
    # The basic layout sets letters side by side, so a text is as wide as its letters; asking the font is far slower.
    return sum(widths[char] for char in text)


@functools.lru_cache(maxsize=len(_SIZES))
def _font(points: int) -> ImageFont.FreeTypeFont:
    from PIL import ImageFont

    # The basic layout is in every build of Pillow; the other one depends on what the system has.
    data = (resources.files("emulator") / "fonts" / _FONT).read_bytes()
    return ImageFont.truetype(io.BytesIO(data), points, layout_engine=ImageFont.Layout.BASIC)
