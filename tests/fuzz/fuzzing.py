"""One target fuzzed by atheris, in a process of its own, since libFuzzer ends it."""

from __future__ import annotations

import hashlib
import logging
import pkgutil
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from random import Random

import atheris

from .targets import named

HANGING = 30
"""Seconds that one input may take."""

MOST_MEMORY = 2048
"""MiB that the process may have."""

SMALL = 128 * 128
"""Pixels of a picture."""


def _instrumented() -> None:
    """Import all of the emulator with its branches counted, what it would import later as well."""
    with atheris.instrument_imports(include=["emulator"], enable_loader_override=False):
        package = import_module("emulator")
        for module in pkgutil.walk_packages(package.__path__, "emulator."):
            if not module.name.endswith("__main__"):
                import_module(module.name)
    vars(import_module("emulator.replies.images"))["_AREA"] = SMALL  # drawing would take most of the time


def _signature(raised: BaseException) -> str:
    """What kind of failure it is: the exception, and the places in our own code that it came through."""
    frames = [
        f for f in traceback.extract_tb(raised.__traceback__) if "/emulator/" in f.filename or "/fuzz/" in f.filename
    ]
    places = [f"{f.filename}:{f.lineno}" for f in frames[-3:]]
    return hashlib.sha256(f"{type(raised).__name__} {places}".encode()).hexdigest()[:16]


def fuzz(name: str, folder: Path, flags: Sequence[str]) -> None:
    """Fuzz until the flags of libFuzzer say it's enough. `folder` gets the corpus, and what failed; of failures that
    are alike the first.
    """
    _instrumented()
    target = named(name)
    logging.disable(logging.INFO)
    corpus, seeds, found = (folder / part for part in ("corpus", "seeds", "found"))
    for each in (corpus, seeds, found):
        each.mkdir(parents=True, exist_ok=True)
    for seed, raw in target.seeds().items():
        (seeds / seed).write_bytes(raw)
    dictionary = folder / "words"
    escaped = ("".join(f"\\x{byte:02x}" for byte in word.encode()) for word in target.words if 0 < len(word) < 60)
    dictionary.write_text("".join(f'"{word}"\n' for word in escaped), encoding="ascii")

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except Exception as raised:
            path = found / _signature(raised)
            if not path.exists():
                path.write_bytes(data)
                print(f"\nFOUND {path}\n{data[:1000]!r}", file=sys.stderr)
                traceback.print_exception(raised)

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        assert target.mutate is not None
        return target.mutate(data, Random(seed))[:most]

    arguments = [
        "fuzz",
        str(corpus),
        str(seeds),
        f"-timeout={HANGING}",
        f"-rss_limit_mb={MOST_MEMORY}",
        f"-max_len={target.longest}",
        f"-artifact_prefix={found}/",
        *([f"-dict={dictionary}"] if target.words else []),
        "-print_final_stats=1",
        *flags,
    ]
    more = {} if target.mutate is None else {"custom_mutator": mutate}
    atheris.Setup(arguments, check, enable_python_coverage=True, **more)
    atheris.Fuzz()
