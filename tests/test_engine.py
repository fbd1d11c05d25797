"""Which engine serves: what is said where it can't be had, and that nobody pays for one that wasn't chosen."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = "import sys\nsys.modules['h2corn'] = None\n"


def said(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("(3, 13, 0)", "fm-emulator: engine: native needs h2corn: pip install 'fm-emulator[native]'\n"),
        ("(3, 10, 5)", "fm-emulator: engine: native needs Python 3.11 or newer; leave it out for grpc.aio\n"),
    ],
)
def test_a_missing_engine_is_told_before_anything_listens(version: str, told: str) -> None:
    program = WITHOUT + (
        "from emulator.cli import main\nimport emulator.transport.native\n"
        f"sys.version_info = {version}\n"
        "sys.argv = ['fm-emulator', 'serve', '--port', '0', '--engine', 'native']\nmain()"
    )
    assert said(program) == told


def test_grpc_aio_imports_nothing_of_the_other() -> None:
    late = {"h2corn", "emulator.transport.native"}
    program = (
        "import sys\nfrom emulator import Emulator\n"
        f"with Emulator(engine='grpc.aio'):\n    print(sorted({late} & set(sys.modules)))"
    )
    assert said(program) == "[]\n"
