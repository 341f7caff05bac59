"""A fair lock between processes on one machine: `flock`, waited for in the kernel's queue.

Polling libraries starve under many writers; the kernel serves waiters in the order they came.
"""

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from fc_resources.errors import TransientError


@contextlib.contextmanager
def exclusive(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold the lock file `path`; `TransientError` after `timeout_s`. A dead holder frees it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _wait(fd, path, timeout_s)
    try:
        yield
    finally:
        os.close(fd)


def _wait(fd: int, path: Path, timeout_s: float) -> None:
    """Block in a helper thread: `flock` has no time-out, and signals belong to the main thread.

    Whoever stops waiting, by an interrupt too, leaves the descriptor to the helper.
    """
    mutex, acquired, gave_up = threading.Lock(), threading.Event(), threading.Event()

    def block() -> None:
        fcntl.flock(fd, fcntl.LOCK_EX)
        with mutex:
            acquired.set()
            if gave_up.is_set():
                os.close(fd)

    threading.Thread(target=block, daemon=True).start()
    try:
        acquired.wait(timeout_s)
    except BaseException:
        with mutex:
            gave_up.set()
            if acquired.is_set():
                os.close(fd)
        raise
    with mutex:
        if acquired.is_set():
            return
        gave_up.set()
    raise TransientError(
        f"{path} is held by another process for more than {timeout_s:g} s; "
        "stop that process or raise FC_LOCK_TIMEOUT_S"
    )
