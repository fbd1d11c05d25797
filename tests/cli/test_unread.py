"""PyYAML's patterns are made when they are used, and are then the same."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SAID = """
import datetime, re, sys
from emulator.cli.unread import Pattern, import_yaml
if sys.argv[1] == "late":
    import_yaml()
import yaml
late = [isinstance(p, Pattern) for p in (yaml.reader.Reader.NON_PRINTABLE, re.compile("a"))]
print(yaml.load("[2026-01-31, 12:30, yes, 1.5, 0x10, ~, x]", yaml.SafeLoader), yaml.safe_dump(["no", "1.5", "x"]))
try:
    yaml.load("a: \\x01", yaml.SafeLoader)
except yaml.YAMLError as error:
    print(error)
print(late, file=sys.stderr)
"""


@pytest.mark.parametrize(("when", "late"), [("late", "[True, False]"), ("early", "[False, False]")])
def test_what_reads_and_writes_yaml_in_python_does_the_same(when: str, late: str) -> None:
    def said(when: str) -> tuple[str, str]:
        done = subprocess.run([sys.executable, "-c", SAID, when], capture_output=True, text=True, check=True)
        return done.stdout, done.stderr.strip()

    assert said(when) == (said("early")[0], late)
    assert "special characters are not allowed" in said(when)[0]


def test_others_compile_as_ever_while_it_is_imported(tmp_path: Path) -> None:
    (tmp_path / "yaml").mkdir()
    other = "import re\nFOUND = re.compile('a', flags=re.I)\nexec('import re; re.compile(\"b\")', {})\n"
    (tmp_path / "other.py").write_text(other)
    (tmp_path / "yaml" / "__init__.py").write_text("import other, yaml.own\n")
    (tmp_path / "yaml" / "own.py").write_text("import re\nOWN = re.compile('a', flags=re.I)\nraise OSError('broken')\n")
    said = """
import re
compiles = re.compile
from emulator.cli.unread import Pattern, import_yaml
try:
    import_yaml()
except OSError as failed:
    print(failed, re.compile is compiles)
import other
print(type(other.FOUND) is Pattern, Pattern("a", flags=re.I).match("A") is not None)
"""
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.splitlines() == ["broken True", "False True"]
