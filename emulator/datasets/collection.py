"""`Datasets`: those of a session, by id, in order of creation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from .. import wording
from ..apart import in_thread
from ..clock import Clock
from ..content import Store
from ..errors import Code, Status
from ..seed import Seed
from .model import Dataset, Stand
from .upload import Parts, Upload

MOST_DATASETS = 1000
"""Datasets that a session holds (our choice)."""

FIRST = -1_000_000
"""Less than the number of every dataset: those of fixtures come first."""


class Datasets:
    """The datasets of a session. `store` holds their contents; `made` and `uploads` count those ever created and
    uploads by parts ever begun.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.store = Store()
        self.made = self.uploads = 0
        self._all: dict[str, Dataset] = {}

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Dataset]:
        """Those that are there, the oldest first. What is asked of their rows may have to settle first."""
        now = self._clock.now()
        return (dataset for dataset in tuple(self._all.values()) if dataset.origin.stand(now) is not None)

    def __contains__(self, dataset_id: object) -> bool:
        found = self._all.get(dataset_id) if isinstance(dataset_id, str) else None
        return found is not None and found.origin.stand(self._clock.now()) is not None

    def owns(self, dataset_id: str) -> bool:
        """Whether that is the id of a dataset which only this session has."""
        return dataset_id in self._all

    def get(self, dataset_id: str) -> Dataset:
        """The dataset of that id. Raises NOT_FOUND."""
        if dataset_id not in self:
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset_id))
        return self._all[dataset_id]

    async def look(self, dataset_id: str) -> tuple[Dataset, Stand]:
        """The dataset of that id and what it is now. Raises NOT_FOUND."""
        dataset, now = self.get(dataset_id), self._clock.now()
        await dataset.origin.settled(now)
        stand = dataset.origin.stand(now)
        assert stand is not None
        return dataset, stand

    def fresh(self, seed: Seed, *purpose: object) -> str:
        """An id for something new."""
        found, n = seed.identifier("fds", *purpose), 0
        while found in self._all:
            n += 1
            found = seed.identifier("fds", *purpose, "again", n)
        return found

    def add(self, dataset: Dataset) -> None:
        """Keep a new one. Raises RESOURCE_EXHAUSTED at the limit."""
        if len(self._all) >= MOST_DATASETS:
            text = f"there are {MOST_DATASETS} datasets in this session; delete some"
            raise Status(Code.RESOURCE_EXHAUSTED, text)
        self.made += 1
        dataset.number = self.made
        self._all[dataset.id] = dataset

    def change(self, dataset_id: str, changes: Mapping[str, Any]) -> Dataset:
        """Change fields of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.updated = self._clock.now()
        return dataset

    async def joined(self, dataset: Dataset, parts: Parts) -> None:
        """Put the parts together, in a thread; they are what was uploaded. Raises INTERNAL where the disk is full, and
        NOT_FOUND where the dataset is deleted meanwhile.
        """
        try:
            content = await in_thread(parts.joined, self.store)
        except OSError as failed:
            raise Status(Code.INTERNAL, f"the parts could not be joined: {failed.strerror or failed}") from None
        finally:
            parts.drop()
        if self._all.get(dataset.id) is not dataset or not isinstance(dataset.origin, Upload):
            content.drop()
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset.id))
        dataset.origin.take(content)

    def delete(self, dataset_id: str) -> Dataset:
        """Let go of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        del self._all[dataset_id]
        dataset.origin.close()
        return dataset

    def clear(self) -> None:
        """Let go of all."""
        for dataset in self._all.values():
            dataset.origin.close()
        self._all.clear()
        self.made = self.uploads = 0

    def close(self) -> None:
        """Let go of all, and of the files."""
        self.clear()
        self.store.close()
