"""`vars`: the only place where the environment comes in, and how conditions use it.

In `vars`, `${NAME}` is an environment variable and `${NAME:-default}` one with a default. In replies they are template
variables, `{{ vars.name }}`. Conditions are no templates; there exactly `{{ vars.name }}` is replaced, at load.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Mapping
from typing import Any

import msgspec

from .conditions import Report
from .model import given

_ENVIRONMENT = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(:-([^}]*))?\}")
_VARIABLE = re.compile(r"\{\{\s*vars\.(\w+)\s*\}\}")


def variables_of(declared: Mapping[str, str], environment: Mapping[str, str], report: Report) -> dict[str, str]:
    """The variables of a file; an environment variable that is unset and has no default is a mistake."""

    def value(name: str, text: str) -> str:
        def replaced(found: re.Match[str]) -> str:
            key, default = found[1], found[3]
            if environment.get(key):
                return environment[key]
            if default is None and key in environment:
                return ""
            if default is None:
                report((name,), f"the environment has no {key}; set it, or give a default: ${{{key}:-...}}")
            return default or ""

        return _ENVIRONMENT.sub(replaced, text)

    return {name: value(name, text) for name, text in declared.items()}


def environment_names(declared: Mapping[str, str]) -> set[str]:
    """The environment variables that these variables of a file refer to."""
    return {found[1] for text in declared.values() for found in _ENVIRONMENT.finditer(text)}


def substituted(spec: Any, variables: Mapping[str, str], report: Report) -> Any:
    """`spec` (a condition or anything made of them) with `{{ vars.name }}` replaced in every text."""
    if isinstance(spec, str):
        if "{{" not in spec:
            return spec

        def replaced(found: re.Match[str]) -> str:
            if found[1] not in variables:
                report((), f"no such variable: {found[1]}; vars has {', '.join(variables) or 'none'}")
            return variables.get(found[1], "")

        return _VARIABLE.sub(replaced, spec)
    if isinstance(spec, list):
        new = [substituted(element, variables, _below(report, i)) for i, element in enumerate(spec)]
        return spec if all(map(operator.is_, new, spec)) else new
    if isinstance(spec, dict):
        return {key: substituted(value, variables, _below(report, key)) for key, value in spec.items()}
    if isinstance(spec, msgspec.Struct):
        changed = {}
        for name, value in given(spec).items():
            written = spec.__struct_encode_fields__[spec.__struct_fields__.index(name)]
            new = substituted(value, variables, _below(report, written))
            if new is not value:
                changed[name] = new
        return msgspec.structs.replace(spec, **changed) if changed else spec
    return spec


def _below(report: Report, step: str | int) -> Report:
    return lambda path, text: report((step, *path), text)
