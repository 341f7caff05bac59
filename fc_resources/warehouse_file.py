"""A store that is one DuckDB file, for the processes of one machine.

DuckDB lets one process in at a time, readers included: every access holds a fair file lock.
"""

import contextlib
import logging
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path

import duckdb

from fc_resources import locks
from fc_resources.errors import TransientError, UsageError
from fc_resources.warehouse_store import Writing, literal, session

#: DuckDB keeps whole row groups in memory, and 2,048 rows are the least it can do with: 10,000
#: rows of 12 KB took 60 MB more memory and 2.3 s, with its default of 122,880 it was 100 and 5.5 s.
_ROW_GROUP_ROWS = 2048
#: What DuckDB 1.4 and later read. By default a file is one that all can read, and has texts of
#: some length as they are: 20,000 diffs took 228 MB, so they take 49.
_STORAGE = "v1.4.0"

_log = logging.getLogger(__name__)


class FileStore:
    """One file with a lock file beside it. Cheap to construct; nothing is opened yet."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.path, self.timeout_s = path, timeout_s
        self.staging = path.parent / "staging"
        self._lock = path.with_name(path.name + ".lock")

    def __str__(self) -> str:
        return str(self.path)

    def exists(self) -> bool:
        return self.path.exists()

    @contextlib.contextmanager
    def transaction(
        self, memory_mib: int, writing: Writing | None, snapshot: int | None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Store`; also waits, with a message, for a program that does not know our lock."""
        with (
            locks.exclusive(self._lock, self.timeout_s),
            contextlib.closing(self._open()) as con,
        ):
            con.execute("USE warehouse")
            session(con, memory_mib)
            con.execute(f"SET temp_directory = {literal(self.staging)}")
            con.begin()
            yield con
            con.commit()

    def snapshot(self, con: duckdb.DuckDBPyConnection) -> None:
        """It has none: what is locked out cannot change."""

    def created(self, con: duckdb.DuckDBPyConnection, table: str) -> None:
        """Nothing is left to do."""

    def meaning(self, error: duckdb.Error) -> Exception:
        return error

    def maintain(self, days: float) -> dict[str, int]:
        """Nothing old is kept."""
        return {}

    def _open(self) -> duckdb.DuckDBPyConnection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        deadline, told = time.monotonic() + self.timeout_s, False
        # Attached, because only so the row groups of its tables can be made smaller.
        options = f"ROW_GROUP_SIZE {_ROW_GROUP_ROWS}, STORAGE_VERSION {literal(_STORAGE)}"
        attach = f"ATTACH {literal(self.path)} AS warehouse ({options})"
        while True:
            con = duckdb.connect()
            try:
                con.execute(attach)
            except duckdb.Error as error:
                con.close()
                who = _holder(error)
                if who is None:
                    raise UsageError(self._unusable(error)) from None
                if time.monotonic() > deadline:
                    raise TransientError(
                        f"{self.path} is locked by {who} for more than "
                        f"{self.timeout_s:g} s; close that or raise FC_LOCK_TIMEOUT_S"
                    ) from None
                if not told:
                    _log.warning("waiting for %s, locked by %s", self.path, who)
                    told = True
                time.sleep(random.uniform(0.05, 0.25))
            else:
                return con

    def _unusable(self, error: duckdb.Error) -> str:
        if "database file with version number" in str(error):
            return (
                f"{self.path} was written by another DuckDB than {duckdb.__version__}; set FC_HOME "
                "to a new folder, or with the DuckDB that wrote it: ATTACH the new file with "
                f"(STORAGE_VERSION {literal(_STORAGE)}) and COPY FROM DATABASE"
            )
        return f"{self.path} cannot be opened as a DuckDB file: {str(error).splitlines()[0]}"


def _holder(error: duckdb.Error) -> str | None:
    """Who has the file that could not be opened."""
    if "is already attached by" in str(error):
        return f"another connection of this process (PID {os.getpid()})"
    found = re.search(r"Conflicting lock is held in (.*?)\.? See also", str(error))
    return found and found[1]
