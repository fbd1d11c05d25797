"""Plain Python values to the graph of nodes that a file with the same content would have."""

from __future__ import annotations

import datetime
import math
import os
from collections.abc import Mapping
from typing import Any

import yaml

from emulator.rules.document import MAPPING, MAX_DEPTH, PLAIN, SEQUENCE, SURROGATE, TEXT
from emulator.rules.problems import short
from emulator.rules.scalars import MAX_DIGITS


def nodes_of(value: object) -> yaml.Node:
    """The node graph of plain Python values, so that inline fixtures pass through the same decoder as files.

    Texts stay texts whatever they look like; a timedelta becomes a duration, a path its text. Nodes stand at line 0.
    Raises TypeError for other values and ValueError for what no YAML file could hold (cycles, lone surrogates).
    """
    return _node_of(value, 0)


class _Nowhere:
    """The mark of a node that stands in no file: line and column 0 once they are counted from 1."""

    __slots__ = ()
    name = ""
    index = -1
    line = -1
    column = -1


_NOWHERE: Any = _Nowhere()


def _scalar_node(tag: str, value: str) -> yaml.Node:
    return yaml.ScalarNode(tag, value, _NOWHERE, _NOWHERE, None if tag is PLAIN else '"')


def _node_of(value: object, depth: int) -> yaml.Node:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH} levels, or holding itself")
    if isinstance(value, Mapping):
        entries: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, item in value.items():
            key_node = _node_of(key, depth + 1)
            if not isinstance(key_node, yaml.ScalarNode):
                raise TypeError(f"{type(key).__name__} can't be a key")
            if key_node.value in entries:
                raise ValueError(f"duplicate key `{short(key_node.value)}`")
            entries[key_node.value] = key_node, _node_of(item, depth + 1)
        return yaml.MappingNode(MAPPING, list(entries.values()), _NOWHERE, _NOWHERE, False)
    if isinstance(value, (list, tuple)):
        items = [_node_of(item, depth + 1) for item in value]
        return yaml.SequenceNode(SEQUENCE, items, _NOWHERE, _NOWHERE, False)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if isinstance(value, str):
        if SURROGATE.search(value):
            raise ValueError("a text holds half of a surrogate pair, which UTF-8 can't carry")
        return _scalar_node(TEXT, str.__str__(value))
    return _scalar_node(PLAIN, _plain(value))


def _plain(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        if value.bit_length() > 3 * MAX_DIGITS:
            raise ValueError(f"a number of more than {MAX_DIGITS} digits")
        return int.__repr__(value)
    if isinstance(value, float):
        if math.isfinite(value):
            return float.__repr__(value)
        return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
    if isinstance(value, datetime.timedelta):
        return f"{value // datetime.timedelta(microseconds=1)}us"
    raise TypeError(f"{type(value).__name__} has no place in fixtures: use dict, list, str, int, float, bool or None")
