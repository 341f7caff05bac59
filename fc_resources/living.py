"""Which runs of a home are alive: each holds a lock on a file, which the kernel drops with it.

A process id would do until it is given away again, or means another process in a container. What a
run did is in the ledger.
"""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from fc_resources import locks


@contextlib.contextmanager
def registered(home: Path, table: str, run_id: str, timeout_s: float) -> Iterator[None]:
    """Be alive as this run of this table; one process does that at a time.

    Files of runs that were killed are removed. Raises what `locks.exclusive` raises.
    """
    folder = _folder(home)
    path = folder / f"{table}.{run_id}"
    with contextlib.ExitStack() as held:
        # Between making a file and locking it, it would look like that of a dead run.
        with locks.exclusive(folder.with_suffix(".lock"), timeout_s):
            for other in folder.glob("*"):
                if not _is_held(other):
                    other.unlink()
            held.enter_context(locks.exclusive(path, timeout_s))
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def alive(home: Path) -> set[tuple[str, str]]:
    """Table and run of every living process; nothing is made where there is no home."""
    held = (path.name.partition(".") for path in _folder(home).glob("*") if _is_held(path))
    return {(table, run_id) for table, _, run_id in held}


def is_home(home: Path) -> bool:
    """Whether runs of this home would be seen to be alive."""
    return _folder(home).is_dir()


def _folder(home: Path) -> Path:
    return home / "locks" / "runs"


def _is_held(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it has just ended
        return False
    return False
