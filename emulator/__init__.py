"""A local emulator of Yandex Cloud's Foundation Models gRPC API.

The Python API is `Emulator`; what can go wrong with its arguments is `FixtureError` and `UsageError`. `Steering`,
`Scripted` and `Recorded` are there for type annotations: another session, rules that were added, a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Code, FixtureError, Mistake, Status, UsageError

if TYPE_CHECKING:
    from .recorded import Recorded
    from .server import Emulator
    from .steering import Scripted, Steering

__version__ = "0.1.0"
__all__ = [
    "Code",
    "Emulator",
    "FixtureError",
    "Mistake",
    "Recorded",
    "Scripted",
    "Status",
    "Steering",
    "UsageError",
    "__version__",
]
_LATE = {"Emulator": "server", "Recorded": "recorded", "Scripted": "steering", "Steering": "steering"}


def __getattr__(name: str) -> Any:
    if name in _LATE:  # grpc is imported when an emulator is wanted, not with the package
        from importlib import import_module

        return getattr(import_module(f"{__name__}.{_LATE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
