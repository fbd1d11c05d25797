"""Datasets: what is stored. A session's datasets by id, in order of creation.

What a dataset is now is a function of the clock, as for operations: where its rows come from (`Origin`) tells it. What
its rows are is found out once, when it is first asked for, outside the loop.
"""

from .collection import FIRST, MOST_DATASETS, Datasets
from .given import Fixture, Given
from .model import Dataset, Origin, Stand, described
from .rows import Rows
from .upload import UPLOADABLE, VALIDATION, Parts, Upload

__all__ = [
    "FIRST",
    "MOST_DATASETS",
    "UPLOADABLE",
    "VALIDATION",
    "Dataset",
    "Datasets",
    "Fixture",
    "Given",
    "Origin",
    "Parts",
    "Rows",
    "Stand",
    "Upload",
    "described",
]
