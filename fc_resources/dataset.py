"""A published dataset as versions of a few files: what both targets, a folder and the Hub, can do.

Which files there are and what they say is decided by `fc_assets.formulacode`.
"""

import dataclasses
import errno
from collections.abc import Iterator, Mapping
from typing import Protocol

from fc_resources.errors import TransientError, UnavailableError


class StaleError(TransientError):
    """Somebody made a version since the parent was looked up; nothing was changed."""


class NoVersionError(UnavailableError):
    """A version is not known, or not shown: a mistyped name, or a fault if it is one of `Refs`."""


@dataclasses.dataclass(frozen=True)
class Refs:
    """The newest version, None before the first, and the versions that tags name."""

    head: str | None
    tags: Mapping[str, str]


def full(error: object) -> bool:
    """Whether a disk, or what one may have of it, is full."""
    return isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)


class Dataset(Protocol):
    """Versions of files, each made from the one before in one step, and tags that never move."""

    @property
    def name(self) -> str:
        """The dataset as a person knows it."""
        ...

    @property
    def address(self) -> str:
        """The dataset as whoever loads it calls it."""
        ...

    def refs(self) -> Refs: ...

    def read(self, path: str, revision: str) -> bytes | None:
        """A file as a version has it, None if it has none; `NoVersionError` without a version."""
        ...

    def ancestors(self, revision: str) -> Iterator[str]:
        """The commits before one, newest first."""
        ...

    def commit(self, files: Mapping[str, bytes | None], parent: str | None, message: str) -> None:
        """Make a version: `parent` with these files, of which None removes one.

        `StaleError` when `parent` is not the newest version any more. After another
        `TransientError` the version may have been made all the same.
        """
        ...

    def tag(self, name: str, revision: str) -> None:
        """Name a version; `PermanentError` when another one has that name."""
        ...
