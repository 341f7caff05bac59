"""Versions of a dataset as plain files: one format for a folder and for a bucket.

`.versions` has each content once under its SHA-256, a file for each version and each tag, and
`head`, whose replacement is what makes a version. The files outside are a copy of the newest one,
made when it is tagged. How files are written so that two can do it at once is the place's affair.
"""

import abc
import contextlib
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

from fc_resources.dataset import NoVersionError, Refs, StaleError
from fc_resources.errors import PermanentError, UnavailableError

_VERSIONS = ".versions"
HEAD = f"{_VERSIONS}/head"
_SHOWN = f"{_VERSIONS}/shown"
_TAGS = f"{_VERSIONS}/tags"


class Versions(abc.ABC):
    """A dataset whose versions are files of a place; nothing is written before a commit."""

    @property
    @abc.abstractmethod
    def name(self) -> str: ...

    @abc.abstractmethod
    def _read(self, path: str) -> bytes | None: ...

    @abc.abstractmethod
    def _write(self, path: str, data: bytes) -> None:
        """A file is whole or not there, for readers and after a kill."""

    @abc.abstractmethod
    def _remove(self, path: str) -> None: ...

    @abc.abstractmethod
    def _names(self, folder: str) -> list[str]: ...

    @abc.abstractmethod
    def _create(self, path: str, data: bytes) -> None:
        """Write a file that is not there; one that is stays as it is."""

    @abc.abstractmethod
    def _holds(self, path: str, digest: str) -> bool:
        """Whether a file is there whose content has this SHA-256."""

    @abc.abstractmethod
    def _advance(self, parent: str | None, revision: str) -> None:
        """Make `revision` the head, which is `parent`; `StaleError` if somebody was faster."""

    @abc.abstractmethod
    def _alone(self) -> contextlib.AbstractContextManager[None]:
        """Nobody else shows files meanwhile, as far as the place can have that."""

    @abc.abstractmethod
    def _translated(self) -> contextlib.AbstractContextManager[None]:
        """Errors of the place in our words."""

    def refs(self) -> Refs:
        with self._translated():
            tags = {name: self._text(f"{_TAGS}/{name}") or "" for name in self._names(_TAGS)}
            return Refs(self._text(HEAD), tags)

    def read(self, path: str, revision: str) -> bytes | None:
        with self._translated():
            files, _ = self._made(revision)
            return self._content(files[path]) if path in files else None

    def ancestors(self, revision: str) -> Iterator[str]:
        with self._translated():
            _, parent = self._made(revision)
            while parent is not None:
                yield parent
                _, parent = self._made(parent)

    def commit(self, files: Mapping[str, bytes | None], parent: str | None, message: str) -> None:
        with self._translated(), self._alone():
            if self._text(HEAD) != parent:
                raise StaleError(f"{self.name} has a newer version")
            before, _ = self._made(parent) if parent else ({}, None)
            kept = {path: content for path, content in before.items() if path not in files}
            added = {path: self._store(data) for path, data in files.items() if data is not None}
            made = {"parent": parent, "message": message, "files": kept | added}
            revision = self._store(json.dumps(made, indent=1, sort_keys=True).encode())
            self._advance(parent, revision)

    def tag(self, name: str, revision: str) -> None:
        tag = f"{_TAGS}/{name}"
        with self._translated(), self._alone():
            # Before the tag: a version without one is tagged, and so shown, by who comes next.
            self._show(revision)
            self._create(tag, revision.encode())
            if self._text(tag) != revision:
                raise PermanentError(f"{self.name} has {name} already, for another version")

    def _text(self, path: str) -> str | None:
        data = self._read(path)
        return None if data is None else data.decode()

    def _made(self, revision: str) -> tuple[dict[str, str], str | None]:
        """Contents of a version by path, and its parent."""
        path = _object(revision)
        try:
            if re.fullmatch("[0-9a-f]{64}", revision) and (data := self._read(path)) is not None:
                made = json.loads(self._whole(path, data, revision))
                return made["files"], made["parent"]
        except (ValueError, TypeError, KeyError):  # a content, but not that of a version
            pass
        raise NoVersionError(f"{self.name} does not have version {revision}; restore {path}")

    def _content(self, digest: str) -> bytes:
        path = _object(digest)
        data = self._read(path)
        if data is None:
            raise UnavailableError(f"{self.name} shows no {path}; restore it from a copy")
        return self._whole(path, data, digest)

    def _whole(self, path: str, data: bytes, digest: str) -> bytes:
        if hashlib.sha256(data).hexdigest() != digest:
            raise PermanentError(f"{self.name}/{path} was changed; restore it from a copy")
        return data

    def _store(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        self._create(_object(digest), data)
        return digest

    def _show(self, revision: str) -> None:
        """Have the files outside be those of the newest version, also after a kill half-way."""
        newest = self._text(HEAD) or revision
        while True:
            wanted, _ = self._made(newest)
            for path, digest in wanted.items():
                if not self._holds(path, digest):
                    self._write(path, self._content(digest))
            for path in set(json.loads(self._text(_SHOWN) or "[]")) - wanted.keys():
                self._remove(path)
            self._write(_SHOWN, json.dumps(sorted(wanted)).encode())
            # Where nobody can be kept out, somebody may have shown a newer one in between.
            shown, newest = newest, self._text(HEAD) or revision
            if newest == shown:
                return


def _object(digest: str) -> str:
    return f"{_VERSIONS}/objects/{digest}"
