"""The disk that a running container takes, and what the host has left of it.

Docker can bound a container's files by itself on XFS with quotas alone, so the host looks. What
happens to a container that takes too much is the caller's.
"""

import contextlib
import os
import signal
import time
from typing import Any

import docker.types

from fc_resources.errors import TransientError
from fc_resources.sandbox import Limits

#: Exit code of a shell whose program wrote a file larger than the limit.
TOO_LARGE_A_FILE = 128 + signal.SIGXFSZ
#: The daemon walks all files of the container for its size: 1 ms for none of them, 8 for 1,000,
#: 430 for 110,000, all of it CPU. So regularly it takes a 50th of a core at most, and a tenth
#: where the host's space, which costs 2 µs to know, shrinks by what the container has left.
_REGULARLY_S, _REGULAR_SHARE, _URGENT_SHARE = 5.0, 50, 10


def one_file(limits: Limits) -> docker.types.Ulimit:
    """A bound of every single file: the kernel's, so that `fallocate` cannot outrun the watch."""
    return docker.types.Ulimit(name="fsize", soft=limits.disk_bytes, hard=limits.disk_bytes)


class Disk:
    """What one container adds to its image, in bytes as `ls` shows them.

    `root` is the daemon's folder, whose free space is not known where it is on another machine.
    """

    def __init__(self, container: Any, root: str, limits: Limits, min_free: int) -> None:
        self._container = container
        self._root = root
        self._limit = limits.disk_bytes
        self._min_free = min_free
        self._size, self._free = 0, free(root)
        self._soonest = time.monotonic()
        self._next = self._soonest + _REGULARLY_S

    def is_over(self) -> bool:
        """Whether the limit is met, as far as is known without looking too often.

        `TransientError` when the host is out of space and this container is not to blame.
        """
        left, now = free(self._root), time.monotonic()
        low = left is not None and left < self._min_free
        taken = 0 if left is None or self._free is None else self._free - left
        grown = self._size + taken >= self._limit and now >= self._soonest
        if (low or grown or now >= self._next) and self.is_over_now():
            return True
        if low and left is not None:
            raise TransientError(
                f"{self._root} has {left / 2**30:.1f} GiB left, and FC_FREE_GB keeps "
                f"{self._min_free / 2**30:g}: make room, with `docker system prune` for example"
            )
        return False

    def is_over_now(self) -> bool:
        """Whether the limit is met at this moment, whatever it costs to know."""
        started = time.monotonic()
        self._free = free(self._root)
        found = self._container.client.api.containers(
            all=True, size=True, filters={"id": self._container.id}
        )
        # 0 is left out of the answer, and -1 is a size that could not be told.
        self._size = max(0, found[0].get("SizeRw", 0)) if found else 0
        ended = time.monotonic()
        self._soonest = ended + _URGENT_SHARE * (ended - started)
        self._next = ended + max(_REGULARLY_S, _REGULAR_SHARE * (ended - started))
        return self._size >= self._limit


def free(root: str) -> int | None:
    """Bytes that may still be written to the file system of a folder; None if it is not here.

    One that has no files left to give has no bytes either: a hundredth of them is kept.
    """
    with contextlib.suppress(OSError):
        found = os.statvfs(root)
        if found.f_files and found.f_favail < found.f_files // 100:
            return 0
        return found.f_bavail * found.f_frsize
    return None
