"""`Datasets`: those of a session, by id, in order of creation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .. import wording
from ..apart import in_thread
from ..clock import Clock
from ..content import Content, Full, Room, Store
from ..errors import Code, Status
from ..seed import Seed
from .given import Fixture, Given
from .model import Dataset, Stand
from .rows import Rows
from .upload import UPLOADABLE, Parts, Upload

MOST_DATASETS = 1000
"""Datasets that a session holds (our choice)."""

FIRST = -1_000_000
"""Less than the number of every dataset: those of fixtures come first."""


class Datasets:
    """The datasets of a session. `store` holds their contents; `made` and `uploads` count those ever created and
    uploads by parts ever begun. `given` tells those of the fixtures, which are there `since` the session began (ns) and
    made by `account`; `hidden` are the ids of those that were deleted here.
    """

    def __init__(
        self,
        clock: Clock,
        given: Callable[[], Mapping[str, Fixture]] = dict,
        account: Callable[[], str] = str,
        room: Room | None = None,
    ) -> None:
        self._clock, self._given, self._account = clock, given, account
        self.store = Store(room)
        self.since = clock.now()
        self.made = self.uploads = 0
        self.hidden: set[str] = set()
        self._all: dict[str, Dataset] = {}
        self._fixtures: dict[str, tuple[Fixture, Dataset]] = {}

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Dataset]:
        """Those that are there, the oldest first. What is asked of their rows may have to settle first."""
        now = self._clock.now()
        given = [dataset for id_ in self._given() if (dataset := self._fixture(id_)) is not None]
        found = sorted((*given, *self._all.values()), key=lambda dataset: dataset.number)
        return (dataset for dataset in found if dataset.origin.stand(now) is not None)

    def __contains__(self, dataset_id: object) -> bool:
        return isinstance(dataset_id, str) and self._find(dataset_id) is not None

    def _find(self, dataset_id: str) -> Dataset | None:
        found = self._all.get(dataset_id) or self._fixture(dataset_id)
        return found if found is not None and found.origin.stand(self._clock.now()) is not None else None

    def _fixture(self, dataset_id: str) -> Dataset | None:
        """The dataset of the fixtures, made when first asked for; None if there is none, or another stands for it."""
        fixtures = self._given()
        fixture = fixtures.get(dataset_id)
        if fixture is None or dataset_id in self.hidden or dataset_id in self._all:
            return None
        known = self._fixtures.get(dataset_id)
        if known is not None and known[0] is fixture:
            return known[1]
        if known is not None:  # the fixtures were loaded anew
            known[1].origin.close()
        origin = Given(Rows(Content.of(fixture.raw), fixture.task_type, self.store), self.since)
        dataset = Dataset(
            id=dataset_id,
            folder=fixture.folder,
            name=fixture.name,
            created=self.since,
            account=self._account(),
            task_type=fixture.task_type,
            origin=origin,
            upload_format="jsonlines",
            description=fixture.description,
            labels=dict(fixture.labels),
            number=FIRST + list(fixtures).index(dataset_id),
        )
        self._fixtures[dataset_id] = fixture, dataset
        return dataset

    def own(self) -> list[Dataset]:
        """Those that are this session's alone."""
        return list(self._all.values())

    def owns(self, dataset_id: str) -> bool:
        """Whether that is the id of a dataset which only this session has."""
        return dataset_id in self._all

    def get(self, dataset_id: str) -> Dataset:
        """The dataset of that id. Raises NOT_FOUND."""
        found = self._find(dataset_id)
        if found is None:
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset_id))
        return found

    async def look(self, dataset_id: str) -> tuple[Dataset, Stand]:
        """The dataset of that id and what it is now. Raises NOT_FOUND."""
        dataset, now = self.get(dataset_id), self._clock.now()
        stand = await self.stand(dataset, now)
        if stand is None:  # deleted, or loaded anew
            return await self.look(dataset_id)
        return dataset, stand

    async def stand(self, dataset: Dataset, now: int) -> Stand | None:
        """What it is at the instant `now`; None where it is deleted while that is found out."""
        try:
            await dataset.origin.settled(now)
        except Status:
            if self._there(dataset):
                raise
        return dataset.origin.stand(now) if self._there(dataset) else None

    def _there(self, dataset: Dataset) -> bool:
        return self._find(dataset.id) is dataset

    def fresh(self, seed: Seed, *purpose: object) -> str:
        """An id for something new."""
        found, n = seed.identifier("fds", *purpose), 0
        while found in self or found in self._all:
            n += 1
            found = seed.identifier("fds", *purpose, "again", n)
        return found

    def make_room(self) -> None:
        """See to it that one more can be kept. Raises RESOURCE_EXHAUSTED at the limit."""
        if len(self._all) >= MOST_DATASETS:
            now = self._clock.now()
            self._all = {id_: dataset for id_, dataset in self._all.items() if not dataset.origin.never(now)}
        if len(self._all) >= MOST_DATASETS:
            text = f"there are {MOST_DATASETS} datasets in this session, results of batches among them; delete some"
            raise Status(Code.RESOURCE_EXHAUSTED, text)

    def add(self, dataset: Dataset) -> None:
        """Keep a new one. Raises RESOURCE_EXHAUSTED at the limit."""
        self.make_room()
        self.made += 1
        dataset.number = self.made
        self._all[dataset.id] = dataset

    def change(self, dataset_id: str, changes: Mapping[str, Any]) -> Dataset:
        """Change fields of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        if dataset_id not in self._all:
            del self._fixtures[dataset_id]
            self._all[dataset_id] = dataset  # from here on it is the session's own
        for name, value in changes.items():
            setattr(dataset, name, value)
        dataset.updated = self._clock.now()
        return dataset

    async def joined(self, dataset: Dataset, parts: Parts) -> None:
        """Put the parts together, in a thread; they are what was uploaded. Raises RESOURCE_EXHAUSTED where there
        is no room, NOT_FOUND where the dataset is deleted meanwhile, and FAILED_PRECONDITION where it is validated.
        """
        try:
            content = await in_thread(parts.joined, self.store)
        except OSError as failed:
            code = Code.RESOURCE_EXHAUSTED if isinstance(failed, Full) else Code.INTERNAL
            raise Status(code, f"the parts could not be joined: {failed.strerror or failed}") from None
        finally:
            parts.drop()
        upload, stand = dataset.origin, dataset.origin.stand(self._clock.now())
        if not self._there(dataset) or not isinstance(upload, Upload) or stand is None:
            content.drop()
            raise Status(Code.NOT_FOUND, wording.dataset_not_found(dataset.id))
        if stand.status not in UPLOADABLE:
            content.drop()
            text = f"dataset {dataset.id} is {stand.status}: other rows came while the parts were joined"
            raise Status(Code.FAILED_PRECONDITION, text)
        upload.take(content)

    def delete(self, dataset_id: str) -> Dataset:
        """Let go of it. Raises NOT_FOUND."""
        dataset = self.get(dataset_id)
        self._all.pop(dataset_id, None)
        self._fixtures.pop(dataset_id, None)
        if dataset_id in self._given():
            self.hidden.add(dataset_id)
        dataset.origin.close()
        return dataset

    def _at_hand(self) -> list[Dataset]:
        return [*self._all.values(), *(dataset for _, dataset in self._fixtures.values())]

    def under_way(self) -> list[asyncio.Task[Any]]:
        """Everything that `clear` cancels."""
        return [task for dataset in self._at_hand() for task in dataset.origin.under_way()]

    def clear(self) -> None:
        """As in the beginning: those of the fixtures, and no others."""
        for dataset in self._at_hand():
            dataset.origin.close()
        self._all.clear()
        self._fixtures.clear()
        self.hidden.clear()
        self.made = self.uploads = 0

    def put(self, datasets: Iterable[Dataset], since: int, made: int, uploads: int, hidden: Iterable[str]) -> None:
        """Have exactly these of its own."""
        self.clear()
        self._all = {dataset.id: dataset for dataset in datasets}
        self.since, self.made, self.uploads, self.hidden = since, made, uploads, set(hidden)

    def let_go(self) -> None:
        """The operations are forgotten: validations that are not over never will be, and what batches were still to
        fill isn't there.
        """
        now = self._clock.now()
        for dataset in self.own():
            if dataset.origin.let_go(now):
                del self._all[dataset.id]
                dataset.origin.close()

    def close(self) -> None:
        """Let go of all, and of the files."""
        self.clear()
        self.store.close()
