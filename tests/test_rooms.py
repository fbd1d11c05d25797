"""The package is cut into rooms, and imports run one way: a room knows only those above it in this list."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.rules.document import collector_paused

ROOMS = (
    (
        "errors",
        "wording",
        "clock",
        "digests",
        "folders",
        "seed",
        "config",
        "installation",
        "masking",
        "addresses",
        "loops",
        "content",
        "apart",
        "presigned",
        "rows",
        "tls",
    ),
    ("api", "calls"),
    ("call",),
    ("rules",),
    ("replies",),
    ("journal", "behaviour", "operations", "datasets", "iam", "quotas", "idempotency", "chaos"),
    ("engine",),
    ("sessions", "snapshots", "batches"),
    ("gates", "observe"),
    ("services",),
    ("control", "http", "recorded", "reload", "sdk", "proxy"),
    ("steering", "transport"),
    ("server",),
    ("behind",),
    ("cli", "pytest_plugin"),
)
RANK = {room: rank for rank, rooms in enumerate(ROOMS) for room in rooms}
PACKAGE = Path(__file__).parent.parent / "emulator"
MODULES = sorted(p for p in PACKAGE.rglob("*.py") if p.parent != PACKAGE or p.stem in RANK)


def parsed(path: Path) -> ast.Module:
    """Its syntax tree. Python 3.11 can't bear that a collection in the middle formats a traceback, which parses too."""
    with collector_paused():
        return ast.parse(path.read_text(encoding="utf-8"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST, module: tuple[str, ...]) -> Iterator[str]:
    """The rooms that a module imports from when it runs; what only type checkers see doesn't count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if isinstance(node, ast.ImportFrom):
            base = module[: len(module) - node.level] if node.level else ()
            names = [node.module] if node.module else [alias.name for alias in node.names]
            for name in names:
                full = ".".join((*base, *name.split(".")))
                if full.startswith("emulator."):
                    yield full.split(".")[1]
        yield from imported(node, module)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_own_room_and_those_above(path: Path) -> None:
    parts = ("emulator", *path.relative_to(PACKAGE).with_suffix("").parts)
    module = parts if path.stem != "__init__" else (*parts[:-1], "__init__")
    mine = room_of(path)
    rooms = set(imported(parsed(path), module))
    assert mine in RANK
    assert {room for room in rooms if room in RANK and RANK[room] > RANK[mine]} == set()


def test_every_room_is_in_the_list() -> None:
    found = {room_of(p) for p in PACKAGE.rglob("*.py")} - {"__init__", "__main__"}
    assert found == set(RANK)


def test_only_clock_and_seed_know_time_and_chance() -> None:
    for path in PACKAGE.rglob("*.py"):
        names = {alias.name for node in ast.walk(parsed(path)) if isinstance(node, ast.Import) for alias in node.names}
        assert "random" not in names
        assert "time" not in names or path.stem == "clock"
