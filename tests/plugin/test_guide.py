"""The examples of the page about pytest are tests that pass."""

from __future__ import annotations

import re
from pathlib import Path

from .conftest import Run

pytest_plugins = ["pytester"]

PAGE = Path(__file__).parents[2] / "emulator/guide/pytest.md"


def test_the_examples_of_the_page_pass(run: Run) -> None:
    text = PAGE.read_text(encoding="utf-8")
    shown = re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    (ini,) = re.findall(r"^```ini\n\[pytest\]\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    tests = {f"test_{n}.py": block for n, block in enumerate(shown)}
    result = run("", ini=ini, beside=tests)
    result.assert_outcomes(passed=sum(block.count("def test_") for block in shown))


def test_the_page_tells_of_every_option_and_check() -> None:
    from emulator.engine.verify import CHECKS
    from emulator.pytest_plugin import INI

    text = PAGE.read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(\w+)`", text, flags=re.MULTILINE)) == {
        "fm_emulator_fixtures",
        "fm_emulator_engine",
        *(f"fm_emulator_{name}" for name in INI),
        *CHECKS,
    }
