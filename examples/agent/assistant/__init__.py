"""An assistant of a help desk, on YandexGPT and YandexART."""

from __future__ import annotations

from .app import Assistant
from .failures import Failure
from .settings import Settings

__all__ = ["Assistant", "Failure", "Settings"]
