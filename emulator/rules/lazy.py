"""What is worked out when it is first asked for, and kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from functools import cached_property
else:

    class cached_property:
        """The standard library's without its lock, which before Python 3.12 costs more than what is read here."""

        def __init__(self, read: Any) -> None:
            self._read, self._name = read, read.__name__
            self.__doc__ = read.__doc__

        def __get__(self, subject: Any, owner: Any = None) -> Any:
            if subject is None:
                return self
            value = subject.__dict__[self._name] = self._read(subject)
            return value


__all__ = ["cached_property"]
