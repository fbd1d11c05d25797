"""A local emulator of Yandex Cloud's Foundation Models gRPC API.

The Python API is `Emulator`; what can go wrong with its arguments is `FixtureError` and `UsageError`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import Code, FixtureError, Mistake, Status, UsageError

if TYPE_CHECKING:
    from .server import Emulator

__version__ = "0.1.0"
__all__ = ["Code", "Emulator", "FixtureError", "Mistake", "Status", "UsageError", "__version__"]


def __getattr__(name: str) -> Any:
    if name == "Emulator":  # grpc is imported when an emulator is wanted, not with the package
        from .server import Emulator

        return Emulator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
