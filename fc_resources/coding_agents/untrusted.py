"""Reading files where somebody hostile can write: no link is followed, no pipe waited for."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

_MOST_FOLDERS = 200


def content(name: str, folder: int, limit: int, *, end: bool = False) -> bytes | None:
    """The bytes of a regular file in an open folder; None for anything else.

    One of more than `limit` bytes is None too, or its last bytes if the `end` is asked for.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
    try:
        descriptor = os.open(name, flags, dir_fd=folder)
    except OSError:
        return None
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode) or (status.st_size > limit and not end):
            return None
        os.lseek(descriptor, max(0, status.st_size - limit), os.SEEK_SET)
        found = b""
        # One byte more than the limit tells of a file that grew meanwhile.
        while len(found) <= limit and (piece := os.read(descriptor, limit + 1 - len(found))):
            found += piece
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return found[:limit] if end or len(found) <= limit else None


@contextlib.contextmanager
def folder(root: Path, *names: str) -> Iterator[int | None]:
    """A descriptor of the folder `names` below `root`, which is ours; None if there is none."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.ExitStack() as opened:
        descriptor: int | None = os.open(root, flags)
        opened.callback(os.close, descriptor)
        for name in names:
            try:
                descriptor = os.open(name, flags, dir_fd=descriptor)
            except OSError:
                descriptor = None
                break
            opened.callback(os.close, descriptor)
        yield descriptor


def below(
    root: Path, names: Sequence[str], prefix: str, suffix: str, limit: int
) -> Iterator[tuple[str, bytes]]:
    """Path and last bytes of each regular file with a name of that kind below `folder`'s."""
    with folder(root, *names) as opened:
        if opened is None:
            return
        for number, (path, _, files, inner) in enumerate(os.fwalk(".", dir_fd=opened)):
            if number == _MOST_FOLDERS:
                return
            for name in files:
                if name.startswith(prefix) and name.endswith(suffix):
                    found = content(name, inner, limit, end=True)
                    if found is not None:
                        yield f"{path}/{name}", found
