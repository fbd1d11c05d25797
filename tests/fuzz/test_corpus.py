"""What once failed under the fuzzer passes, and so does what it begins from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from . import served
from .targets import NAMES, named

CORPUS = Path(__file__).parent / "corpus"
ONCE_FAILED = [path for name in NAMES for path in sorted((CORPUS / name).glob("*"))]


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    served.close()


@pytest.mark.parametrize(
    "path", [path for name in NAMES for path in sorted((CORPUS / name).glob("*"))], ids=lambda path: path.name
)
def test_what_once_failed_passes(path: Path) -> None:
    named(path.parent.name).check(path.read_bytes())


@pytest.mark.parametrize("name", NAMES)
def test_seeds_pass_and_can_be_mutated(name: str) -> None:
    target = named(name)
    seeds = target.seeds()
    assert seeds
    for i, raw in enumerate(seeds.values()):
        target.check(raw)
        if target.mutate is not None:
            target.check(target.mutate(raw, Random(i))[: target.longest])


def test_every_folder_of_the_corpus_is_a_targets() -> None:
    assert {path.name for path in CORPUS.iterdir()} <= set(NAMES)
