"""What is wrong in a fixture file, each mistake told with the place where it stands."""

from __future__ import annotations

from typing import TypeAlias

import yaml

from emulator.errors import Mistake

Path: TypeAlias = tuple["str | int", ...]

_LONGEST_TEXT = 1000


class Problems:
    """The mistakes and warnings of one file, told by the path of what they are about, e.g. `("rules", 3, "reply")`."""

    def __init__(self, file: str, mistakes: list[Mistake] | None = None, warnings: list[Mistake] | None = None) -> None:
        self.file = file
        self.mistakes = [] if mistakes is None else mistakes
        self.warnings = [] if warnings is None else warnings
        self._roots: dict[Path, yaml.Node] = {}

    def place(self, path: Path, node: yaml.Node) -> None:
        """Let `node` be what stands at `path`; `decode` does so for the node it is given."""
        root = self._roots.get(())
        if root is None or _descend(root, path)[1] is not node:
            self._roots[path] = node

    def mark(self, path: Path) -> tuple[int, int]:
        """The 1-based line and column of the longest known beginning of `path`; (0, 0) if nothing of it is known.

        A mapping's entry stands where its key does.
        """
        # Looked up when asked, not recorded for every node: most files have nothing wrong.
        for length in range(len(path), -1, -1):
            if (root := self._roots.get(path[:length])) is not None:
                mark, _ = _descend(root, path[length:])
                return mark.line + 1, mark.column + 1
        return 0, 0

    def at(self, path: Path, text: str) -> None:
        """Record a mistake at `path`."""
        self.mistakes.append(self._told(path, text))

    def warn(self, path: Path, text: str) -> None:
        """Record a warning at `path`."""
        self.warnings.append(self._told(path, text))

    def _told(self, path: Path, text: str) -> Mistake:
        line, column = self.mark(path)
        where = dotted(path, line > 0)
        text = text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
        return Mistake(self.file, line, column, f"{where}: {text}" if where else text)


def dotted(path: Path, with_line: bool = True) -> str:
    """`("rules", 3, "reply", "stream")` as `reply.stream` where a line number says which rule, else in full."""
    if with_line and len(path) > 1 and path[0] == "rules" and isinstance(path[1], int):
        path = path[2:]
    steps = (f"[{step}]" if isinstance(step, int) else f".{short(step)}" for step in path)
    return "".join(steps).removeprefix(".")


def mistake_at(file: str, mark: yaml.Mark | None, text: str) -> Mistake:
    """A mistake that stands at `mark`, which counts from 0; without one it is about the file as a whole."""
    if mark is None:
        return Mistake(file, 0, 0, text)
    return Mistake(file, mark.line + 1, mark.column + 1, text)


def short(text: str, limit: int = 60) -> str:
    """`text` in at most `limit` characters, as a complaint quotes it."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _descend(node: yaml.Node, path: Path) -> tuple[yaml.Mark, yaml.Node]:
    """Where the longest known beginning of `path` stands below `node`, and what stands there."""
    mark = node.start_mark
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and 0 <= step < len(node.value):
            node = node.value[step]
            mark = node.start_mark
            continue
        if not isinstance(node, yaml.MappingNode):
            break
        name = str(step)
        entry = next((entry for entry in node.value if entry[0].value == name), None)
        if entry is None:
            break
        mark, node = entry[0].start_mark, entry[1]
    return mark, node
