"""`Ends`: which operations are done, those that ended first before others, without a look at all of them.

Most timelines end at an age, so the instant is known from the start and the record itself stands in the queue. An end
that a Get or somebody's hand brings, or that comes sooner by a step, is added when it comes. An entry is a claim:
whether its operation is kept, and done, is looked at when its turn comes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from heapq import heapify, heappop, heappush

from .record import Record


class Ends:
    """`kept` tells whether a record is still there."""

    def __init__(self, kept: Callable[[Record], bool]) -> None:
        self._kept = kept
        self.clear()

    def clear(self) -> None:
        """Nothing was begun."""
        self._due: list[Record] = []  # a queue by when the timeline ends
        self._told: list[tuple[int, int, Record]] = []  # by the instant (ns); numbers tell entries of one instant apart
        self._numbered = 0

    def expect(self, record: Record, kept: int) -> None:
        """An operation has begun, one of `kept`."""
        if record.timeline.ends is not None:
            heappush(self._due, record)
        if len(self._due) > 2 * kept + 64:  # most have ended in another way, and are gone
            self._due = [one for one in self._due if self._kept(one)]
            heapify(self._due)

    def ended(self, record: Record, instant: int, kept: int) -> None:
        """It is done at `instant` (ns), whatever its timeline said when it began."""
        self._numbered += 1
        heappush(self._told, (instant, self._numbered, record))
        if len(self._told) > 2 * kept + 64:
            soonest = {one[2].id: one for one in sorted(self._told, reverse=True) if self._kept(one[2])}
            self._told = sorted(soonest.values())

    def again(self, records: Iterable[Record], now: int) -> None:
        """Begin anew with these, which the clock or a restore has put to the instant `now`: what is done already may
        have been told of at a later one, or have begun then.
        """
        self.clear()
        for record in records:
            ends, more = record.timeline.ends, record.more
            if ends is not None:
                self._due.append(record)
            if not (record.polls or more.ended is not None or more.skew or record.created > now):
                continue  # its timeline says it all
            moment = record.moment(now)
            if moment.done:
                self._claim(record, min(record.changed(moment), now))
            elif ends is not None and more.skew:
                self._claim(record, record.created + ends - more.skew)
        heapify(self._due)
        heapify(self._told)

    def _claim(self, record: Record, instant: int) -> None:
        self._numbered += 1
        self._told.append((instant, self._numbered, record))

    def first(self, now: int) -> Record | None:
        """That which has been done the longest at the instant `now`; None where none is done."""
        while self._due or self._told:
            due, told = self._due[:1], self._told[:1]
            by_age = due[0].created + (due[0].timeline.ends or 0) if due else None
            aside = bool(told) and (by_age is None or told[0][0] < by_age)
            instant, record = (told[0][0], told[0][2]) if aside else (by_age or 0, due[0])
            if instant > now:
                return None
            if self._kept(record) and record.moment(now).done:
                return record
            if aside:
                heappop(self._told)
            else:
                heappop(self._due)
        return None
