"""A picture of a run: for each case the ratios to the floor, as bars; SVG by hand, PNG with Pillow."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from .results import Results

FORMATS = (".svg", ".png")


@dataclass(frozen=True)
class Bar:
    label: str
    value: float


def write(found: Results, path: Path) -> None:
    raise NotImplementedError
