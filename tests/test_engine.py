"""Which engine serves: nobody pays for one that wasn't chosen."""

from __future__ import annotations

import subprocess
import sys


def test_grpc_aio_imports_nothing_of_the_other() -> None:
    late = {"emulator.transport.native", "emulator.transport.http2"}
    program = (
        "import sys\nfrom emulator import Emulator\n"
        f"with Emulator(engine='grpc.aio'):\n    print(sorted({late} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout + done.stderr == "[]\n"
