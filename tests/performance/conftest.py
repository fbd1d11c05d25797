"""The benchmarks are a package beside `emulator`, in the checkout alone; it is found last, whatever is installed."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[2]))
