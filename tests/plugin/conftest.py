"""What tests of the plugin share: pytest runs inside pytest, in this process, with warnings as errors."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from configparser import RawConfigParser as ConfigParser
from types import MappingProxyType

import pytest

import emulator
from emulator.rules.document import collector_paused

pytest.importorskip("yandex_ai_studio_sdk")

for module in pkgutil.walk_packages(emulator.__path__, "emulator."):
    if not module.name.startswith(("emulator.__main__", "emulator.cli")):
        importlib.import_module(module.name)  # a run inside takes away the modules that it was first to import

Run = Callable[..., pytest.RunResult]

INI = """
[pytest]
filterwarnings = error
addopts = --strict-markers -p no:cacheprovider -p no:hypothesispytest
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """`run(test, ini=..., beside=..., args=..., inside=...)` runs pytest on a file with that text, which lies beside
    others (texts by name); `inside` False: in a process of its own.
    """

    def run(
        test: str,
        ini: str = "",
        beside: Mapping[str, str] = MappingProxyType({}),
        args: tuple[str, ...] = (),
        inside: bool = True,
    ) -> pytest.RunResult:
        settings = ConfigParser()
        settings.read_string(INI)
        settings.read_string(f"[pytest]\n{ini}")
        with (pytester.path / "pytest.ini").open("w", encoding="utf-8") as file:
            settings.write(file)
        for name, text in {**beside, "test_it.py": test}.items():
            (pytester.path / name).parent.mkdir(parents=True, exist_ok=True)
            (pytester.path / name).write_text(text, encoding="utf-8")
        if not inside:
            return pytester.runpytest_subprocess(*args)
        with collector_paused():  # in Python 3.11 a collection while a test file is parsed can break the parsing
            return pytester.runpytest_inprocess(*args)

    return run
