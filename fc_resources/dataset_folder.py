"""The dataset in a local folder: who writes holds a lock, and replaces whole files."""

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fc_resources import locks
from fc_resources.dataset import full
from fc_resources.dataset_versions import HEAD, Versions
from fc_resources.errors import TransientError


class DatasetFolder(Versions):
    """A folder of published files; cheap to construct, nothing is written before a commit."""

    def __init__(self, path: Path, lock_timeout_s: float = 60) -> None:
        self.path = path
        self._parts = path / ".versions" / "parts"
        self._timeout_s = lock_timeout_s

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def address(self) -> str:
        return self.path.name  # where it is on this machine is nobody's business

    def _read(self, path: str) -> bytes | None:
        try:
            return (self.path / path).read_bytes()
        except FileNotFoundError:
            return None

    def _write(self, path: str, data: bytes) -> None:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        self._parts.mkdir(parents=True, exist_ok=True)
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

    def _remove(self, path: str) -> None:
        (self.path / path).unlink(missing_ok=True)

    def _names(self, folder: str) -> list[str]:
        return sorted(path.name for path in (self.path / folder).glob("*"))

    def _create(self, path: str, data: bytes) -> None:
        if not (self.path / path).exists():
            self._write(path, data)

    def _holds(self, path: str, digest: str) -> bool:
        data = self._read(path)
        return data is not None and hashlib.sha256(data).hexdigest() == digest

    def _advance(self, parent: str | None, revision: str) -> None:
        self._write(HEAD, revision.encode())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with locks.exclusive(self.path / ".versions" / "lock", self._timeout_s):
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
