"""A store that many machines write: DuckLake, with Parquet files in a folder or a bucket.

Its catalog is a schema in PostgreSQL, found by libpq's own rules: what a connection string leaves
out is in `PGHOST` and the like, passwords are in `PGPASSWORD` or the file of `PGPASSFILE` only,
for what is in a connection string is in SQL, and then in errors and logs. Credentials of a bucket
are parameters of SQL for the same reason; where they come from is in `s3`.
"""

import contextlib
import errno
import functools
import importlib.util
import os
import re
import urllib.parse
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import duckdb

from fc_resources import s3
from fc_resources.errors import TransientError, UnavailableError, UsageError, one_line
from fc_resources.settings import Settings
from fc_resources.warehouse_store import AgainError, Writing, identifier, literal, session

try:
    import psycopg
    import psycopg.conninfo
except ImportError:
    raise UsageError(
        "FC_WAREHOUSE needs PostgreSQL's client; pip install 'formulacode-data[cluster]'"
    ) from None

#: In PostgreSQL, apart from whatever else is in the database.
_SCHEMA = "fc_lake"
_EXTENSIONS = ("postgres_scanner", "ducklake", "httpfs")
#: DuckLake would keep small inserts in the catalog, a second way for the same rows.
_OPTIONS = f"METADATA_SCHEMA {literal(_SCHEMA)}, DATA_INLINING_ROW_LIMIT 0"
#: What conflicts, outages and restarts of the catalog or of a bucket are to DuckDB.
_PASSING = (duckdb.TransactionException, duckdb.IOException)
#: What the PostgreSQL client in DuckDB says, in English everywhere.
_BROKEN = re.compile(
    "server closed the connection|Unable to connect to Postgres|terminating connection"
    "|connection not open|no connection to the server|could not (receive|send) data"
)
#: What of an attachment no other attempt mends.
_WRONG = re.compile(r"DATA_PATH|version mismatch")
#: An advisory lock's number, apart from other programs' in the same database; its own lock.
_KEY = "hashtextextended('formulacode ' || %s, 0)"
_LOCK = f"advisory_lock({_KEY})"
#: A file is written before it is committed: one of today may belong to a transaction under way.
_LEAST_ORPHAN_DAYS = 1


class LakeStore:
    """A catalog and a data path. Cheap to construct; nothing is opened yet."""

    def __init__(
        self,
        place: str,
        data: str,
        staging: Path,
        timeout_s: float,
        path_style: bool | None = None,
    ) -> None:
        self.staging, self.timeout_s = staging, timeout_s
        self._data, self._path_style = data, path_style
        try:
            # postgres:host=... as DuckLake has it, or a URL, which needs no name for its kind.
            told = psycopg.conninfo.conninfo_to_dict(
                re.sub(r"^ducklake:(postgres:(?!//))?", "", place)
            )
        except psycopg.ProgrammingError:  # it would tell a part of what may be a password
            raise UsageError("FC_WAREHOUSE is no connection string of PostgreSQL") from None
        if "password" in told:
            raise UsageError(
                "FC_WAREHOUSE has a password; put it into PGPASSWORD or the file of PGPASSFILE"
            )
        self._conninfo = psycopg.conninfo.make_conninfo("", **{"connect_timeout": "10", **told})
        self._there = False

    @classmethod
    def of(cls, settings: Settings, place: str) -> "LakeStore":
        """As the settings say; `UsageError` without a data path."""
        data = settings.fc_warehouse_data
        if data is None:
            raise UsageError("FC_WAREHOUSE_DATA is not set; name a folder or s3://bucket/prefix")
        if "://" not in data:
            data = str(Path(data).expanduser().absolute())
        staging, path_style = settings.fc_home / "staging", settings.fc_s3_path_style
        return cls(place, data, staging, settings.fc_lock_timeout_s, path_style)

    def __str__(self) -> str:
        return f"the catalog of {self._data}"

    def exists(self) -> bool:
        """Only the catalog could tell, which is made when it is asked."""
        return True

    @contextlib.contextmanager
    def transaction(
        self, memory_mib: int, writing: Writing | None, snapshot: int | None
    ) -> Iterator[duckdb.DuckDBPyConnection]:
        """See `Store`. Only writers of the same months wait for each other."""
        self._make()
        with self._alone(writing) as still_there:
            try:
                with self._attached(snapshot) as con:
                    session(con, memory_mib)
                    con.begin()
                    yield con
                    still_there()
                    con.commit()
            except duckdb.Error:
                still_there()  # a server that was restarted looks like any error to DuckDB
                raise

    def snapshot(self, con: duckdb.DuckDBPyConnection) -> int:
        return _one(con, "FROM current_snapshot()")

    def created(self, con: duckdb.DuckDBPyConnection, table: str) -> None:
        """No file is of two months: replacing one drops its files, and touches no other's."""
        con.execute(f"ALTER TABLE {table} SET PARTITIONED BY (partition_month)")

    def meaning(self, error: duckdb.Error) -> Exception:
        """Whatever failed changed nothing, and may be a conflict or the catalog's restart."""
        # What PostgreSQL said while DuckLake read its tables has no class of its own; that the
        # connection broke there can have any, as if the query were wrong.
        passing = type(error) is duckdb.Error or isinstance(error, _PASSING)
        if not passing and not _BROKEN.search(str(error)):
            return error
        told = TransientError(f"{self}: {one_line(error)}")
        # What a failed write leaves is not removed before tomorrow: more of it makes no room.
        return told if os.strerror(errno.ENOSPC) in str(error) else AgainError(told)

    def maintain(self, days: float) -> dict[str, int]:
        """See `Store`; nothing is done while another machine does it."""
        self._make()
        with self._session() as catalog, self._attached() as con:
            if not _one(catalog, f"SELECT pg_try_{_LOCK}", ["maintain"]):
                return {}
            # Snapshots have the catalog's time.
            ago = "SELECT (now() - make_interval(secs => %s))::text"
            before = _one(catalog, ago, [days * 86400])
            orphaned = _one(catalog, ago, [max(days, _LEAST_ORPHAN_DAYS) * 86400])
            lake = literal(_one(con, "SELECT current_database()"))
            old = f"{lake}, older_than => TIMESTAMPTZ {literal(before)}"
            calls = {
                "snapshots": f"ducklake_expire_snapshots({old})",
                "merged": f"ducklake_merge_adjacent_files({lake})",
                "files": f"ducklake_cleanup_old_files({old})",
                "orphans": "ducklake_delete_orphaned_files"
                f"({lake}, older_than => TIMESTAMPTZ {literal(orphaned)})",
            }
            return {what: len(con.execute(f"CALL {c}").fetchall()) for what, c in calls.items()}

    def _make(self) -> None:
        """The catalog's tables, made once: DuckLake's own attempts at that would collide."""
        if self._there:
            return
        with self._session() as catalog:
            catalog.execute(f"SELECT pg_{_LOCK}", ["make"])
            if _one(catalog, "SELECT to_regclass(%s)", [f"{_SCHEMA}.ducklake_metadata"]) is None:
                with self._attached() as con:
                    lake = literal(_one(con, "SELECT current_database()"))
                    # Texts take two thirds of what they do by default.
                    con.execute(f"CALL ducklake_set_option({lake}, 'parquet_compression', 'zstd')")
        self._there = True

    @contextlib.contextmanager
    def _attached(self, snapshot: int | None = None) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection that uses the lake; what was not committed is forgotten."""
        lake = identifier(f"lake_{uuid.uuid4().hex}")
        place = literal(f"ducklake:postgres:{self._conninfo}")
        at = "" if snapshot is None else f", SNAPSHOT_VERSION {snapshot}"
        options = f"DATA_PATH {literal(self._data)}, {_OPTIONS}{at}"
        engine = _engine(os.getpid(), self.staging, self._path_style)
        with contextlib.closing(engine.cursor()) as con:
            if self._data.startswith("s3://"):
                for name, value in s3.duckdb_settings().items():
                    con.execute(f"SET GLOBAL {name} = $1", [value])
            try:
                try:
                    con.execute(f"ATTACH {place} AS {lake} ({options})")
                except duckdb.Error as error:
                    if not _WRONG.search(str(error)):
                        raise
                    raise UsageError(f"FC_WAREHOUSE: {one_line(error)}") from None
                con.execute(f"USE {lake}")
                yield con
            finally:
                for leave in ("ROLLBACK", "USE memory", f"DETACH DATABASE IF EXISTS {lake}"):
                    with contextlib.suppress(duckdb.Error):
                        con.execute(leave)

    @contextlib.contextmanager
    def _alone(self, writing: Writing | None) -> Iterator[Callable[[], object]]:
        """Hold locks in PostgreSQL, which serves waiters in the order they came.

        DuckLake sees that two transactions delete the same file, not that both insert a month
        that was not there. Locks end with their process. Yields what raises if they were lost,
        or the server.
        """
        with self._session() as catalog:
            if writing is not None:
                self._lock(catalog, writing)
            yield lambda: catalog.execute("SELECT 1")

    def _lock(self, catalog: psycopg.Connection[Any], writing: Writing) -> None:
        try:
            of_table = "advisory_lock" if writing.months is None else "advisory_lock_shared"
            catalog.execute(f"SELECT pg_{of_table}({_KEY})", [writing.table])
            for month in sorted(set(writing.months or ())):
                catalog.execute(f"SELECT pg_{_LOCK}", [f"{writing.table} {month}"])
        except psycopg.errors.LockNotAvailable:
            raise TransientError(
                f"{writing.table} is written by another process for more than "
                f"{self.timeout_s:g} s; wait for it or raise FC_LOCK_TIMEOUT_S"
            ) from None

    @contextlib.contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection to PostgreSQL of our own, which DuckDB's cannot be used for."""
        try:
            with self._admitted() as catalog:
                limit = f"{max(1, round(self.timeout_s * 1000))}ms"
                catalog.execute("SELECT set_config('lock_timeout', %s, false)", [limit])
                yield catalog
        except psycopg.OperationalError as error:
            raise AgainError(UnavailableError(f"FC_WAREHOUSE: {one_line(error)}")) from None

    def _admitted(self) -> psycopg.Connection[Any]:
        """Connect; `UsageError` when a server that answers does not let us in."""
        try:
            return psycopg.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError:
            if psycopg.pq.PGconn.ping(self._conninfo.encode()) != psycopg.pq.Ping.OK:
                raise
        try:  # now that it answers
            return psycopg.connect(self._conninfo, autocommit=True)
        except psycopg.OperationalError as error:
            full = re.search("too many clients|connection slots", str(error))
            if full or psycopg.pq.PGconn.ping(self._conninfo.encode()) != psycopg.pq.Ping.OK:
                raise
            raise UsageError(f"FC_WAREHOUSE is refused: {one_line(error)}") from None


def _one(con: Any, query: str, values: Sequence[object] = ()) -> Any:
    [(found,)] = con.execute(query, values).fetchall()
    return found


@functools.cache
def _engine(pid: int, staging: Path, path_style: bool | None) -> duckdb.DuckDBPyConnection:
    """DuckDB with what a lake needs, once a process: to check the extensions takes 0.4 s."""
    staging.mkdir(parents=True, exist_ok=True)
    con = duckdb.connect(
        config={"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    )
    for extension in _EXTENSIONS:
        try:
            con.execute(f"LOAD {literal(_file(extension))}")
        except duckdb.Error as error:
            raise UsageError(
                f"FC_WAREHOUSE needs DuckDB's extension {extension}; "
                f"pip install 'formulacode-data[cluster]' ({one_line(error)})"
            ) from None
    con.execute(f"SET temp_directory = {literal(staging)}")
    place = urllib.parse.urlsplit(
        os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or ""
    )
    if place.hostname:
        port = f":{place.port}" if place.port else ""
        con.execute(f"SET GLOBAL s3_endpoint = {literal(place.hostname + port)}")
        con.execute(f"SET GLOBAL s3_use_ssl = {place.scheme == 'https'}")
    # Files of a month in parts of 5 MiB: for the largest that S3 can have they would be of 80.
    con.execute("SET GLOBAL s3_uploader_max_filesize = '50GB'")
    # A service of one's own rarely has a host name for each bucket.
    if place.hostname if path_style is None else path_style:
        con.execute("SET GLOBAL s3_url_style = 'path'")
    return con


def _file(extension: str) -> str:
    """From its package; else DuckDB looks for it where it keeps what was installed by hand."""
    package = importlib.util.find_spec(f"duckdb_extension_{extension}")
    folders = package.submodule_search_locations if package else None
    found = [f for place in folders or () for f in Path(place).rglob("*.duckdb_extension")]
    return str(found[0]) if found else extension
