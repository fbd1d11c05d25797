"""The services, a thin module each, and the router around them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from ..api import METHODS

if TYPE_CHECKING:
    from ..gates import Handler


def late(service: str, handlers: Callable[[], Mapping[str, Handler]]) -> Mapping[str, Handler]:
    """The methods of a service that most programs never call; `handlers` imports it when one is called first."""
    found = cache(handlers)

    def handler(path: str) -> Handler:
        return lambda call: found()[path](call)

    return {path: handler(path) for path, method in METHODS.items() if method.service == service}
