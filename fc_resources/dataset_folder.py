"""The dataset in a local folder: the files of its newest version, and all versions beside them.

`.versions` has each content once under its SHA-256, a file for each version and each tag, and
`head`, whose replacement is what makes a version. The files outside are a copy of the newest one,
made when it is tagged.
"""

import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from fc_resources import locks
from fc_resources.dataset import NoVersionError, Refs, StaleError, full
from fc_resources.errors import PermanentError, TransientError


class DatasetFolder:
    """A folder of published files; cheap to construct, nothing is written before a commit."""

    def __init__(self, path: Path, lock_timeout_s: float = 60) -> None:
        self.path = path
        self._versions = path / ".versions"
        self._parts = self._versions / "parts"
        self._timeout_s = lock_timeout_s

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def address(self) -> str:
        return self.path.name  # where it is on this machine is nobody's business

    def refs(self) -> Refs:
        with self._translated():
            tags = {tag.name: tag.read_text() for tag in sorted(self._versions.glob("tags/*"))}
            return Refs(self._head(), tags)

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
        with self._translated(), self._locked():
            if self._head() != parent:
                raise StaleError(f"{self.path} has a newer version")
            before, _ = self._made(parent) if parent else ({}, None)
            kept = {path: content for path, content in before.items() if path not in files}
            added = {path: self._store(data) for path, data in files.items() if data is not None}
            made = {"parent": parent, "message": message, "files": kept | added}
            revision = self._store(json.dumps(made, indent=1, sort_keys=True).encode())
            self._replace(self._versions / "head", revision.encode())

    def tag(self, name: str, revision: str) -> None:
        with self._translated(), self._locked():
            tag = self._versions / "tags" / name
            if tag.exists() and tag.read_text() != revision:
                raise PermanentError(f"{self.path} has {name} already, for another version")
            # Before the tag: a version without one is tagged, and so shown, by who comes next.
            self._show(self._head() or revision)
            if not tag.exists():
                self._replace(tag, revision.encode())

    def _head(self) -> str | None:
        head = self._versions / "head"
        return head.read_text() if head.exists() else None

    def _made(self, revision: str) -> tuple[dict[str, str], str | None]:
        """Contents of a version by path, and its parent."""
        known = self._versions / "objects" / revision
        try:
            if re.fullmatch("[0-9a-f]{64}", revision) and known.is_file():
                made = json.loads(self._content(revision))
                return made["files"], made["parent"]
        except (ValueError, TypeError, KeyError):  # a content, but not that of a version
            pass
        raise NoVersionError(f"{self.path} does not have version {revision}; restore {known}")

    def _content(self, digest: str) -> bytes:
        data = (self._versions / "objects" / digest).read_bytes()
        if hashlib.sha256(data).hexdigest() != digest:
            raise PermanentError(
                f"{self._versions}/objects/{digest} was changed; restore it from a copy"
            )
        return data

    def _store(self, data: bytes) -> str:
        digest = hashlib.sha256(data).hexdigest()
        target = self._versions / "objects" / digest
        if not target.exists():
            self._replace(target, data)
        return digest

    def _show(self, revision: str) -> None:
        """Have the files outside be those of a version, also after a kill half-way."""
        wanted, _ = self._made(revision)
        for path, digest in wanted.items():
            target = self.path / path
            data = self._content(digest)
            if not target.exists() or target.read_bytes() != data:
                self._replace(target, data)
        shown = self._versions / "shown"
        before = json.loads(shown.read_text()) if shown.exists() else []
        for path in set(before) - wanted.keys():
            (self.path / path).unlink(missing_ok=True)
        self._replace(shown, json.dumps(sorted(wanted)).encode())

    def _replace(self, target: Path, data: bytes) -> None:
        """A file is whole or not there, for readers and after a kill."""
        target.parent.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(exist_ok=True)
        fd, name = tempfile.mkstemp(dir=self._parts)
        try:
            with os.fdopen(fd, "wb") as part:
                part.write(data)
                part.flush()
                os.fsync(part.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(target)
        finally:
            Path(name).unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with locks.exclusive(self._versions / "lock", self._timeout_s):
            for left in self._parts.glob("*"):  # by who was killed
                left.unlink()
            yield

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = "has no space left; make some" if full(error) else f"fails: {error.strerror}"
            raise TransientError(f"{self.path} {what}; the version before is whole") from None
