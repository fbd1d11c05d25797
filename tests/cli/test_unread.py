"""PyYAML's patterns are made when they are used, and are then the same."""

from __future__ import annotations

import subprocess
import sys

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
