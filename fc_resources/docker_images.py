"""Images made for one home: what they take, who uses them, and which of them go.

How an image is made is `docker`'s. The daemon knows neither when an image was used nor by whom,
so the home does: the time of `locks/images/<image>.lock` is its last use, and each process lists
what it uses in a file of its own under `locks/images-used`, which a dead one no longer locks.
"""

import contextlib
import fcntl
import hashlib
import os
import time
import uuid
import weakref
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.errors
import docker.utils

from fc_resources import locks

_MADE_BY = "org.formulacode.made-by"
#: An image that is being committed has no name yet, for some milliseconds.
_UNNAMED_S = 60
#: Nothing is there; or it is in use, has children, or another process removes it at this moment.
_GONE, _CONFLICT = 404, 409


class Images:
    """Images with the label of one home."""

    def __init__(self, client: Any, home: Path, lock_timeout_s: float) -> None:
        self._client = client
        self._locks = home / "locks"
        self._timeout_s = lock_timeout_s
        # An image may be published, and a path has the user's name.
        self._mark = hashlib.sha256(str(home).encode()).hexdigest()[:16]
        self._used: set[str] = set()
        self._list: int | None = None

    @property
    def label(self) -> dict[str, str]:
        """The label that makes an image this home's."""
        return {_MADE_BY: self._mark}

    def building(self, image: str) -> contextlib.AbstractContextManager[None]:
        """Hold an image's name while it is made."""
        return locks.exclusive(self._lock(image), self._timeout_s)

    def use(self, image: str) -> bool:
        """Whether an image is here. It stays, also one built later, until this process prunes."""
        with self._registering():
            self._note(image)
        try:
            self._client.api.inspect_image(image)
        except docker.errors.ImageNotFound:
            return False
        return True

    def sweep(self) -> int:
        """Remove images without a name and without children; how many there were.

        A process killed while the daemon commits leaves one, if its successor is so quick that
        both commits get to the same name.
        """
        with self._registering():
            self._in_use()
        label = f"{_MADE_BY}={self._mark}"
        found = self._client.api.images(filters={"dangling": True, "label": label})
        old = [image for image in found if time.time() - image["Created"] >= _UNNAMED_S]
        return sum(self._untag(image["Id"]) for image in old)

    def marginal_bytes(self, image: str, parent: str) -> int:
        """Bytes of the layers that an image has and its parent has not, uncompressed."""
        below = self._layers(parent)
        return sum(size for layer, size in self._layers(image).items() if layer not in below)

    def prune(self, max_bytes: int, keep: Collection[str] = ()) -> int:
        """Remove images, least recently used first, until they take `max_bytes`; bytes freed.

        What counts are the layers that only images of this home have, each once; 0 is no limit.
        An image stays while a container or another image is made of it, another process of this
        home uses it, it is in `keep`, or it has a name that somebody else gave it. What this
        process used until here is free to go.
        """
        if not max_bytes:
            return 0
        with self._registering():
            self._used.clear()
            if self._list is not None:
                os.ftruncate(self._list, 0)
        here = {image["Id"]: image for image in self._client.api.images(all=True)}
        layers = {name: found for name in here if (found := self._layers(name))}
        ours = {name for name in layers if self._is_ours(here[name])}
        before = total = _own_bytes(layers, ours)
        tried: set[str] = set()
        while total > max_bytes:
            parents = {here[name]["ParentId"] for name in layers}
            free = ours - tried - parents
            if not free:
                break
            image = min(free, key=lambda name: self._last_use(here[name]["RepoTags"] or []))
            tried.add(image)
            if self._remove(image, set(keep)):
                ours.remove(image)
                del layers[image]
                total = _own_bytes(layers, ours)
        return before - total

    def _remove(self, image: str, keep: set[str]) -> bool:
        """Remove an image, unless somebody needs it; nobody begins to use it meanwhile."""
        with self._registering():
            try:
                found = self._client.api.inspect_image(image)
            except docker.errors.ImageNotFound:
                return True
            names = set(found["RepoTags"] or [])
            if names & (keep | self._in_use()) or not all(self._may_untag(n, found) for n in names):
                return False
            containers = self._client.api.containers(all=True, filters={"ancestor": image})
            if any(container["ImageID"] == image for container in containers):
                return False
            return all(self._untag(name) for name in sorted(names) or [image])

    def _untag(self, name: str) -> bool:
        """Remove a name, and with the last one the image; False if the daemon refuses."""
        try:
            # Parents without a name could be somebody else's.
            self._client.api.remove_image(name, noprune=True)
        except docker.errors.APIError as error:
            if error.status_code not in (_GONE, _CONFLICT):
                raise
            return error.status_code == _GONE
        return True

    def _may_untag(self, name: str, image: Mapping[str, Any]) -> bool:
        """Whether a name was given by a build, or belongs to a registry that has the image."""
        pushed = {digest.partition("@")[0] for digest in image["RepoDigests"] or []}
        return self._lock(name).exists() or docker.utils.parse_repository_tag(name)[0] in pushed

    def _is_ours(self, image: Mapping[str, Any]) -> bool:
        return (image["Labels"] or {}).get(_MADE_BY) == self._mark

    def _layers(self, image: str) -> dict[str, int]:
        """Sizes of layers by what identifies them: their history up to there.

        The daemon tells digests without sizes and, in the history, sizes without digests.
        """
        layers, chain = {}, ""
        with contextlib.suppress(docker.errors.ImageNotFound):
            for step in reversed(self._client.api.history(image)):
                told = [chain, *(str(step[n]) for n in ("Id", "Created", "CreatedBy", "Size"))]
                chain = hashlib.sha256("\0".join(told).encode()).hexdigest()
                layers[chain] = step["Size"]
        return layers

    def _lock(self, image: str) -> Path:
        return self._locks / "images" / f"{image.replace('/', '_').replace(':', '_')}.lock"

    def _last_use(self, names: Collection[str]) -> float:
        known = [lock.stat().st_mtime for name in names if (lock := self._lock(name)).exists()]
        return max(known, default=0)

    @contextlib.contextmanager
    def _registering(self) -> Iterator[None]:
        """Nobody begins to use an image while another decides that nobody uses it."""
        with locks.exclusive(self._locks / "images.lock", self._timeout_s):
            yield

    def _note(self, image: str) -> None:
        lock = self._lock(image)
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        if image in self._used:
            return
        if self._list is None:
            folder = self._locks / "images-used"
            folder.mkdir(exist_ok=True)
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
            self._list = os.open(folder / uuid.uuid4().hex, flags, 0o644)
            weakref.finalize(self, os.close, self._list)
            fcntl.flock(self._list, fcntl.LOCK_EX)  # until it is closed or this process ends
        os.write(self._list, f"{image}\n".encode())
        self._used.add(image)

    def _in_use(self) -> set[str]:
        """Names that living processes noted; lists of dead ones are removed."""
        names: set[str] = set()
        for path in (self._locks / "images-used").glob("*"):
            with path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    names.update(file.read().split())
                else:
                    path.unlink()
        return names


def _own_bytes(layers: Mapping[str, Mapping[str, int]], ours: Collection[str]) -> int:
    """Bytes of layers that only `ours` have."""
    own: dict[str, int] = {}
    for image in ours:
        own.update(layers[image])
    foreign = {layer for image, found in layers.items() if image not in ours for layer in found}
    return sum(size for layer, size in own.items() if layer not in foreign)
