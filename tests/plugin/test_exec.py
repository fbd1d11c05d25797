"""The fixture `fm_emulator_exec`: programs as they are, answered by the rules of the test."""

from __future__ import annotations

import errno
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from emulator import Emulator
from emulator.behind import Completed, run
from emulator.errors import UsageError

if TYPE_CHECKING:
    from conftest import Serve

    from .conftest import Run

pytest_plugins = ["pytester"]

OFFICIAL = """
from yandex_ai_studio_sdk import AIStudio
print(AIStudio().models.completions("yandexgpt").run("Привет").text)
"""
OUTSIDE = "import httpx, sys; print(httpx.get('http://fm-emulator.invalid/').text); sys.exit(3)"


def test_a_program_is_answered_by_the_rules_of_the_test(fm_emulator: Emulator, fm_emulator_exec: Any) -> None:
    fm_emulator.rule(reply="Здравствуйте!")
    done = fm_emulator_exec([sys.executable, "-c", OFFICIAL])
    assert (done.returncode, done.stdout) == (0, "Здравствуйте!\n"), done.stderr
    assert (done.taken, done.refused) == ({"api.cloud.yandex.net:443": 1}, {})
    fm_emulator.assert_called(1, kind="completion")


def test_what_is_refused_is_told(fm_emulator_exec: Any) -> None:
    done: Completed = fm_emulator_exec([sys.executable, "-c", OUTSIDE])
    assert done.returncode == 3
    assert "fm-emulator.invalid:80 is outside, and not allowed" in done.stdout
    assert done.refused == {"fm-emulator.invalid:80": 1}
    assert fm_emulator_exec([sys.executable, "-c", OUTSIDE], allow="*.invalid").refused == {}


def test_arguments_of_subprocess_are_taken(fm_emulator_exec: Any) -> None:
    program = "import os; print(os.environ['NAME'], input())"
    done = fm_emulator_exec([sys.executable, "-c", program], env={"NAME": "раз"}, input="два\n")
    assert done.stdout == "раз два\n"
    both = "import os; os.write(1, b'a'); os.write(2, b'b')"
    assert fm_emulator_exec([sys.executable, "-c", both], stderr=subprocess.STDOUT).stdout == "ab"
    assert fm_emulator_exec(["true"], capture_output=False).stdout is None
    with pytest.raises(FileNotFoundError):
        fm_emulator_exec(["no-such-program"])
    with pytest.raises(subprocess.TimeoutExpired):
        fm_emulator_exec(["sleep", "60"], timeout=0.1)


def test_where_nothing_can_be_written_it_says_so(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found")

    emulator = serve(tls=True)
    monkeypatch.setattr(tempfile, "mkdtemp", refuse)
    with pytest.raises(UsageError, match=r"exec: there is no folder to write roots to: .*; name one in TMPDIR"):
        run(emulator, ["true"])


def test_it_needs_tls(serve: Serve) -> None:
    with pytest.raises(RuntimeError, match="begin it with tls=True"):
        run(serve(), ["true"])


def test_without_cryptography_other_tests_go_on_and_it_says_what_to_install(run: Run) -> None:
    tests = "def test_a(fm_emulator): pass\ndef test_b(fm_emulator_exec): pass\n"
    hide = (
        "import importlib.util\nfound = importlib.util.find_spec\n"
        "import emulator.pytest_plugin as plugin\n"
        "plugin.find_spec = lambda name: None if name == 'cryptography' else found(name)\n"
    )
    result = run(tests, beside={"conftest.py": hide}, inside=False)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*certificates need cryptography: pip install 'fm-emulator?tls?'*"])


def test_one_that_is_asked_for_on_the_way_says_what_to_do(run: Run) -> None:
    result = run("def test_it(request):\n    request.getfixturevalue('fm_emulator_exec')\n", inside=False)
    result.assert_outcomes(errors=0, failed=1)
    result.stdout.fnmatch_lines(["*fm_emulator_exec: name it among the arguments of the test, so that TLS is there*"])
