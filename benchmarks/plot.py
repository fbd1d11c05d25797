"""A picture of a run: for each case the ratios to the floor, as bars on a logarithmic scale, in SVG or PNG.

A bar to the right of the line is better than the floor, one to the left worse, whatever is measured. Of several layouts
the first is shown.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from xml.sax.saxutils import escape

from . import npm, servers, startup
from .results import MORE, Figure, Results, number, times

FORMATS = (".svg", ".png")
MARGIN, GAP, PANEL = 28, 36, 620
LABELS, VALUES = 250, 126
WIDTH = 2 * MARGIN + GAP + 2 * PANEL
BAR, BETWEEN, HEAD, SIZE = 15, 7, 56, 12
INK, FAINT, RULE = "#1f2328", "#6e7781", "#d8dee4"
COLOURS = {
    servers.EMULATOR: "#0969da",
    servers.NO_UVLOOP: "#80b8ff",
    servers.NATIVE: "#8250df",
    f"{servers.BARE} + uvloop": "#afb8c1",
    f"{servers.BARE}, raw bytes": "#d0d7de",
    "bare pygrpc-native": "#d8b9ff",
    npm.NAME: "#cf222e",
    startup.IMPORT: "#57606a",
}
OTHERS = "#8c959f"


class Canvas(Protocol):
    """What a picture is drawn on; coordinates in pixels from the top left."""

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle."""

    def text(self, x: float, y: float, text: str, colour: str, *, size: int = SIZE, right: bool = False) -> None:
        """A line of text whose middle is at y; it begins at x, or with `right` it ends there."""


class Svg:
    """SVG, as text."""

    def __init__(self, width: int, height: int) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            'font-family="system-ui, -apple-system, Segoe UI, DejaVu Sans, sans-serif">',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        size = f'width="{width:.1f}" height="{height:.1f}"'
        self._parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}"/>')

    def text(self, x: float, y: float, text: str, colour: str, *, size: int = SIZE, right: bool = False) -> None:
        anchor = ' text-anchor="end"' if right else ""
        at = f'x="{x:.1f}" y="{y + size * 0.36:.1f}" font-size="{size}"'
        self._parts.append(f'<text {at} fill="{colour}"{anchor}>{escape(text)}</text>')

    def save(self, path: Path) -> None:
        """Write it."""
        path.write_text("\n".join([*self._parts, "</svg>\n"]), encoding="utf-8")


class Png:
    """PNG, twice as fine as its coordinates say."""

    def __init__(self, width: int, height: int) -> None:
        from PIL import Image, ImageDraw

        self._image = Image.new("RGB", (2 * width, 2 * height), "#ffffff")
        self._draw = ImageDraw.Draw(self._image)
        self._fonts: dict[int, Any] = {}

    def box(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        self._draw.rectangle((2 * x, 2 * y, 2 * (x + width) - 1, 2 * (y + height) - 1), fill=colour)

    def text(self, x: float, y: float, text: str, colour: str, *, size: int = SIZE, right: bool = False) -> None:
        if size not in self._fonts:
            from PIL import ImageFont

            self._fonts[size] = ImageFont.load_default(2 * size)
        anchor = "rm" if right else "lm"
        self._draw.text((2 * x, 2 * y), text, fill=colour, font=self._fonts[size], anchor=anchor)

    def save(self, path: Path) -> None:
        """Write it."""
        self._image.save(path)


@dataclass(frozen=True)
class Panel:
    """A measure of a case: by row, the figures of its servers."""

    title: str
    rows: dict[str, list[Figure]]

    @property
    def height(self) -> int:
        """In pixels."""
        return HEAD + sum(BAR * len(figures) + BETWEEN for figures in self.rows.values()) + MARGIN


def write(found: Results, path: Path) -> None:
    """Draw the run into a file ending in .svg or .png."""
    pairs = [pair for case in found.cases for pair in _pairs(_panels(found, case))]
    shown = {f.server: None for pair in pairs for panel in pair for fs in panel.rows.values() for f in fs}
    top = 104
    height = top + sum(max(panel.height for panel in pair) for pair in pairs)
    canvas: Any = Svg(WIDTH, height) if path.suffix == ".svg" else Png(WIDTH, height)
    canvas.text(MARGIN, 30, "How many times better than the floor of the same rounds", INK, size=19)
    canvas.text(MARGIN, 54, found.about, FAINT, size=11)
    x = float(MARGIN)
    for server in shown:
        canvas.box(x, 71, 11, 11, COLOURS.get(server, OTHERS))
        canvas.text(x + 17, 77, server, INK)
        x += 40 + 6.6 * len(server)
    for pair in pairs:
        for n, panel in enumerate(pair):
            _draw(canvas, MARGIN + n * (PANEL + GAP), top, panel)
        top += max(panel.height for panel in pair)
    canvas.save(path)


def _panels(found: Results, case: str) -> list[Panel]:
    panels = []
    for measure in dict.fromkeys(f.measure for f in found.of(case)):
        rows: dict[str, list[Figure]] = {}
        for f in found.of(case):
            itself = f.rounds == f.floor
            if f.measure == measure and f.ratio and not itself and not f.row.endswith(f", {servers.BOTH}"):
                rows.setdefault(f.row.removesuffix(f", {servers.EACH}"), []).append(f)
        if rows:
            shown = [f for figures in rows.values() for f in figures]
            units = " or ".join(dict.fromkeys(f.unit for f in shown))
            panels.append(Panel(f"{case}: {measure}, {units}, {shown[0].better} is better", rows))
    return panels


def _pairs(panels: list[Panel]) -> Iterator[list[Panel]]:
    for n in range(0, len(panels), 2):
        yield panels[n : n + 2]


def times_better(figure: Figure) -> float:
    """How many times better than its floor: 2 is twice as much, or half where less is better."""
    ratio = figure.ratio or 1.0
    return ratio if figure.better == MORE else 1 / ratio


def _draw(canvas: Canvas, x: float, y: float, panel: Panel) -> None:
    left, width = x + LABELS, PANEL - LABELS - VALUES
    ticks = ticks_for([times_better(f) for figures in panel.rows.values() for f in figures])
    low, high = math.log(ticks[0]), math.log(ticks[-1])

    def at(value: float) -> float:
        return left + width * (math.log(min(max(value, ticks[0]), ticks[-1])) - low) / (high - low)

    canvas.text(x, y + 12, panel.title, INK, size=14)
    top, bottom = y + HEAD - 6, y + panel.height - MARGIN - BETWEEN
    for tick in ticks:
        canvas.box(at(tick), top, 1, bottom - top, INK if tick == 1 else RULE)
        canvas.text(at(tick) - 4, top - 10, f"{tick:g}", FAINT, size=10)
    y += HEAD
    for row, figures in panel.rows.items():
        canvas.text(left - 12, y + BAR * len(figures) / 2, row, INK, right=True)
        for figure in figures:
            better = times_better(figure)
            begin, end = sorted((at(1), at(better)))
            canvas.box(begin, y + 2, max(end - begin, 2), BAR - 4, COLOURS.get(figure.server, OTHERS))
            canvas.text(x + PANEL - 82, y + BAR / 2, times(better), INK, size=11, right=True)
            canvas.text(x + PANEL, y + BAR / 2, number(figure.value, ""), FAINT, size=11, right=True)
            y += BAR
        y += BETWEEN


def ticks_for(shown: Sequence[float]) -> list[float]:
    """Round numbers around 1 between which all of these find place; 0.001 to 1,000 at most."""
    steps = [digit * 10.0**power for power in range(-3, 3) for digit in (1, 2, 5)] + [1000.0]
    least, most = min(0.5, *shown), max(2.0, *shown)
    first = max((n for n, step in enumerate(steps) if step <= least), default=0)
    last = min((n for n, step in enumerate(steps) if step >= most), default=len(steps) - 1)
    found = steps[first : last + 1]
    if len(found) > 8:
        found = [step for step in found if f"{step:e}"[0] == "1" or step in (found[0], found[-1])]
    return found
