"""What the README says of each client is what is installed and run here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .programs import EXAMPLES

PROGRAMS = sorted(path.name for path in EXAMPLES.iterdir() if path.is_dir())


PINS = {
    "requirements.txt": r"==(\S+)",
    "package.json": r'nodejs-sdk": "(.*?)"',
    "go.mod": r"go-sdk/v2 v(\S+)",
    "pom.xml": r"java-sdk-services</artifactId>\s*<version>(.*?)<",
}
"""Where a program pins its client, and what the version is in it: the first that is found."""


def pinned(folder: Path) -> str:
    for file, pattern in PINS.items():
        if (folder / file).exists():
            found = re.search(pattern, (folder / file).read_text(encoding="utf-8"))
            assert found is not None, f"{file} of {folder.name} pins no client"
            return found[1]
    raise AssertionError(f"{folder.name} pins nothing")


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_table_has_each_program_with_the_version_it_pins(name: str) -> None:
    page = (EXAMPLES.parent.parent / "README.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("|")]
    (row,) = [
        cells for cells in rows if len(cells) == 8 and cells[3].startswith(f"[`{name}`](examples/clients/{name}/")
    ]
    assert row[2] == pinned(EXAMPLES / name)


@pytest.mark.parametrize("page", ["../README.md", "README.md", "clients/README.md"])
def test_the_pages_name_only_files_that_are_there(page: str) -> None:
    path = EXAMPLES.parent / page
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8"))
    assert [link for link in links if not path.parent.joinpath(link).exists()] == []


def test_nothing_that_is_pinned_names_a_registry() -> None:
    lock = (EXAMPLES / "node" / "package-lock.json").read_text(encoding="utf-8")
    assert '"resolved"' not in lock
    assert '"integrity"' in lock
