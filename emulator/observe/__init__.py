"""Who looks on while calls are answered: counts for Prometheus, spans for OpenTelemetry. Off unless asked for.

The router tells an `Observer` of each call that is over, and nothing else; what is off costs nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from ..errors import UsageError

if TYPE_CHECKING:
    from ..call import Call

OTHER = "other"
"""Stands for names beyond those that are told apart, and for methods that are none."""


class Observer(Protocol):
    """Is told of calls of programs; those of tools, such as health and the control API, are none."""

    def closed(self, call: Call) -> None:
        """`call` is over, and its entry tells how. Raises nothing."""


class Several:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    def closed(self, call: Call) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.closed(call)


def needs(option: str, library: str, *modules: str) -> None:
    """Raise UsageError if one of `modules`, which `option` stands on, is not installed."""
    from importlib.util import find_spec

    for module in modules:
        try:
            found = find_spec(module)
        except ModuleNotFoundError:  # what it is in is missing as well
            found = None
        if found is None:
            extra = f"pip install 'fm-emulator[{option}]'"
            raise UsageError(f"{option}: it needs {library}, which is not installed: {extra}")
