"""Whose something is, so that what a killed process left can be told from what is in use.

A process id would do until it is given away again, or means another process in a container. What a
process makes carries its mark instead: a file of the home that it holds a lock on, which the kernel
drops with it. Which runs are alive is for `living`.
"""

import fcntl
import os
import re
import tempfile
import threading
import uuid
from pathlib import Path

_NAME = re.compile("[0-9a-f]{32}")
_mutex = threading.Lock()
#: By process, as a forked one has these too, and home: the mark, and the file that is locked.
_own: dict[tuple[int, Path], tuple[str, int]] = {}


def own(home: Path) -> str:
    """The mark of this process, 32 hexadecimal digits; those of processes that ended go."""
    with _mutex:
        key = os.getpid(), home
        if key not in _own:
            folder = _folder(home)
            folder.mkdir(parents=True, exist_ok=True)
            for other in folder.iterdir():
                if is_gone(home, other.name):
                    other.unlink(missing_ok=True)
            # Locked before it has its name, or others would take it for a dead one's.
            file, part = tempfile.mkstemp(".part", dir=folder)
            fcntl.flock(file, fcntl.LOCK_EX)
            name = uuid.uuid4().hex
            Path(part).rename(folder / name)
            _own[key] = name, file
        return _own[key][0]


def is_gone(home: Path, mark: str) -> bool:
    """Whether the process of a mark has ended; what is no mark is nobody's, so never gone."""
    if not _NAME.fullmatch(mark):
        return False
    try:
        with (_folder(home) / mark).open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return True
    return True


def _folder(home: Path) -> Path:
    return home / "locks" / "processes"
