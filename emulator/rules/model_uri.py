"""Model URIs: their parts, and the patterns that rules name models by.

`gpt://folder/yandexgpt/rc` is scheme, folder, name and branch; without a branch the service takes `latest` (docs). A
fine-tuned `gpt://folder/base/version@suffix` has `version@suffix` for its branch, and an older `ds://folder/id` its id
for the name.
"""

from __future__ import annotations

from functools import lru_cache

from .text import Glob, Text

LATEST = "latest"


class Model:
    """A model as a request names it. Parts that the URI lacks are empty, a missing branch is `latest`."""

    __slots__ = ("_full", "_label", "branch", "folder", "name", "uri")

    def __init__(self, uri: str, folder: str, name: str, branch: str) -> None:
        self.uri = uri
        self.folder = folder
        self.name = name
        self.branch = branch
        self._label: Text | None = None
        self._full: Text | None = None

    @classmethod
    def parse(cls, uri: str) -> Model:
        """The parts of `uri`; whatever it is, nothing is raised."""
        return _kept(uri) if len(uri) <= _LONGEST_KEPT else cls._parsed(uri)

    @classmethod
    def _parsed(cls, uri: str) -> Model:
        _, separator, rest = uri.partition("://")
        if separator:
            folder, _, rest = rest.partition("/")
        else:
            folder, rest = "", uri
        name, _, branch = rest.partition("/")
        return cls(uri, folder, name, branch or LATEST)

    @property
    def label(self) -> Text:
        """`name/branch`."""
        if self._label is None:
            self._label = Text(f"{self.name}/{self.branch}")
        return self._label

    @property
    def full(self) -> Text:
        """The URI with its branch, `latest` too."""
        if self._full is None:
            scheme, separator, _ = self.uri.partition("://")
            start = f"{scheme}://{self.folder}/" if separator else ""
            self._full = Text(f"{start}{self.name}/{self.branch}")
        return self._full

    def __repr__(self) -> str:
        return f"Model({self.uri!r})"


_LONGEST_KEPT = 256
_kept = lru_cache(256)(Model._parsed)


class ModelPattern:
    """`name`, `name/branch` or a full URI, each possibly a glob whose `*` stops at `/`; without a branch, `latest`.

    `literal` takes `*` and `?` for what they are. Raises ValueError for what can't be a model.
    """

    __slots__ = ("_full", "_glob", "source", "target")

    def __init__(self, source: str, *, literal: bool = False) -> None:
        self.source = source
        self._full = "://" in source
        expected = 4 if self._full else 1
        parts = source.split("/")
        if len(parts) == expected:
            parts.append(LATEST)
        if len(parts) != expected + 1 or not all(part for i, part in enumerate(parts) if not (self._full and i == 1)):
            raise ValueError(f"{source!r} is no model; write a name, name/branch, or scheme://folder/name/branch")
        self.target = "/".join(parts)
        self._glob = Glob(self.target, segments=True) if not literal and _WILD & set(source) else None

    @property
    def exact(self) -> bool:
        """Whether it names one model, which `target` then is, and is no glob."""
        return self._glob is None

    def matches(self, model: Model) -> bool:
        actual = (model.full if self._full else model.label).raw
        return actual == self.target if self._glob is None else self._glob.matches(actual)


_WILD = frozenset("*?")
