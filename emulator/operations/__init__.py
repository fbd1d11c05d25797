"""Operations: what is under way. A session's operations by id, in order of creation.

An operation is a timeline, not a task. What a Get answers is a function of the record (creation time, timeline, polls,
what was done to it by hand) and the clock; nothing runs in the background, so a million waiting operations cost memory
alone, and little of it: what many have in common is kept once.
"""

from .collection import MOST_OPERATIONS, PREFIXES, RETENTION, Operations
from .record import Record, Tied
from .told import DESCRIPTIONS, TOLD, error_of

__all__ = [
    "DESCRIPTIONS",
    "MOST_OPERATIONS",
    "PREFIXES",
    "RETENTION",
    "TOLD",
    "Operations",
    "Record",
    "Tied",
    "error_of",
]
