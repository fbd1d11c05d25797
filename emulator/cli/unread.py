"""PyYAML, imported without the patterns that only its reader in Python uses.

To compile them takes longer than all the rest of its import, and libyaml, which reads fixtures where it is there, needs
none of them. So they are compiled when somebody matches with them, and are the same then.
"""

from __future__ import annotations

import re
import sys
from typing import Any


class Pattern:
    """What `re.compile` would make of the arguments, made when it is first asked for anything."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._arguments, self._named = arguments, named

    def __getattr__(self, name: str) -> Any:
        if name == "_made":
            self._made = re.compile(*self._arguments, **self._named)
            return self._made
        found = getattr(self._made, name)
        setattr(self, name, found)
        return found


def import_yaml() -> None:
    """Import PyYAML so. It is for the beginning of a process of our own, in which nothing else runs."""
    compile_ = re.compile

    def later(*arguments: Any, **named: Any) -> Any:
        whose = str(sys._getframe(1).f_globals.get("__name__", ""))
        return (Pattern if whose.startswith("yaml.") else compile_)(*arguments, **named)

    re.compile = later
    try:
        import yaml  # noqa: F401
    finally:
        re.compile = compile_
