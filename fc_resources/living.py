"""Which runs of a home are alive: each holds a lock on a file, which the kernel drops with it.

A process id would do until it is given away again, or means another process in a container. Where
machines share a home, a lock says nothing of another machine: a run there is alive as long as it
touches its file. Who shares only the ledger knows of leases alone (`ledger_claims`). What a run did
is in the ledger.
"""

import contextlib
import dataclasses
import fcntl
import os
import platform
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

from fc_resources import locks, meanwhile

#: How often a run touches its file, and when one that did not is gone.
_TOUCH_S, _SILENCE_S = 60.0, 900.0


def _this_boot() -> str:
    """What all processes share that see each other's locks, and no others."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except FileNotFoundError:  # not Linux
        return platform.node()


_BOOT = _this_boot()


@dataclasses.dataclass(frozen=True)
class Worker:
    """A run of a table in this process; no other anywhere has its name."""

    table: str
    run_id: str
    name: str = dataclasses.field(default_factory=lambda: uuid.uuid4().hex)
    home: Path | None = None

    def knows_dead(self, other: str) -> bool:
        """Whether the worker of that name is known to be gone; of most nothing is known."""
        return self.home is not None and is_dead(self.home, other)


@contextlib.contextmanager
def registered(home: Path, table: str, run_id: str, timeout_s: float) -> Iterator[Worker]:
    """Be alive as this run of this table; one process does that at a time.

    Files of runs that were killed are removed. Raises what `locks.exclusive` raises.
    """
    folder = _folder(home)
    path = folder / f"{table}.{run_id}@{_BOOT}"

    def touch() -> None:
        with contextlib.suppress(OSError):  # the disk is away
            os.utime(path)

    with contextlib.ExitStack() as held:
        # Between making a file and locking it, it would look like that of a dead run.
        with locks.exclusive(folder.with_suffix(".lock"), timeout_s):
            identity = _identity(home) or _new_identity(home)
            for other in folder.glob(f"*@{_BOOT}"):
                if not _is_held(other):
                    other.unlink()
            held.enter_context(locks.exclusive(path, timeout_s))
        try:
            with meanwhile.every(_TOUCH_S, touch):
                yield Worker(table, run_id, f"{identity}/{path.name}", home)
        finally:
            path.unlink(missing_ok=True)


def alive(home: Path) -> set[tuple[str, str]]:
    """Table and run of every living process; nothing is made where there is no home."""
    names = (path.name.partition("@")[0] for path in _folder(home).glob("*") if _lives(path))
    return {(table, run_id) for table, _, run_id in (name.partition(".") for name in names)}


def is_dead(home: Path, name: str) -> bool:
    """Whether the worker of that name was of this home and is certainly gone.

    What another machine's run has not written yet, or this one not read, proves nothing.
    """
    identity, _, file = name.partition("/")
    path = _folder(home) / file
    is_ours = bool(identity) and identity == _identity(home)
    return is_ours and not _lives(path) and (file.endswith(f"@{_BOOT}") or path.exists())


def _folder(home: Path) -> Path:
    return home / "locks" / "runs"


def _identity(home: Path) -> str | None:
    """What tells this home from another machine's at the same path."""
    try:
        return (home / "locks" / "identity").read_text("ascii")
    except FileNotFoundError:
        return None


def _new_identity(home: Path) -> str:
    identity = uuid.uuid4().hex
    (home / "locks" / "identity").write_text(identity, "ascii")
    return identity


def _lives(path: Path) -> bool:
    return _is_held(path) if path.name.endswith(f"@{_BOOT}") else _is_touched(path)


def _is_held(path: Path) -> bool:
    try:
        with path.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:  # it has just ended
        return False
    return False


def _is_touched(path: Path) -> bool:
    """By the file system's clock, which is the same for all who share it."""
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent.parent) as probe:
            now = Path(probe.name).stat().st_mtime
        return now - path.stat().st_mtime < _SILENCE_S
    except FileNotFoundError:
        return False
