"""The offline source: pull requests (and issues, repositories, git) from files instead of GitHub.

Either one Parquet file of pull requests, or a folder with `pull_requests.parquet` and, optionally,
`issues.parquet`, `repositories.parquet` and `git/<owner>/<name>.git`.
"""

import atexit
import contextlib
import dataclasses
import datetime
import functools
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from fc_resources import git
from fc_resources.errors import UsageError, one_line

_TEXT = ("VARCHAR", "VARCHAR")
_NUMBER = ("U?(BIG|SMALL|TINY)INT|U?INTEGER", "an integer")
_COMMIT = (r'STRUCT\((.*, )?"?sha"? VARCHAR\b[^\[]*\)', "STRUCT(sha VARCHAR)")
#: Columns of the pull-request file: the DuckDB types each may have, and how to say so.
_COLUMNS = {
    "repo_name": _TEXT,
    "pr_number": _NUMBER,
    "pr_title": _TEXT,
    "pr_body": _TEXT,
    "original_patch": _TEXT,
    "file_change_summary": _TEXT,
    "pr_state": _TEXT,
    "pr_created_at": _TEXT,
    "pr_merged_at": _TEXT,
    "pr_closed_at": _TEXT,
    "pr_merge_commit_sha": _TEXT,
    "pr_base": _COMMIT,
    "pr_head": _COMMIT,
    "pr_labels": (
        r'STRUCT\((.*, )?"?name"? VARCHAR\b.*\)\[\]',
        "STRUCT(name VARCHAR)[]",
    ),
}
_REQUIRED = ("repo_name", "pr_number", "pr_merged_at", "pr_merge_commit_sha")
_COMMENTS = (
    r"STRUCT\((?=.*\bauthor\b)(?=.*\bcreated_at\b)(?=.*\bbody\b).*\)\[\]",
    "STRUCT(author VARCHAR, created_at VARCHAR, body VARCHAR)[]",
)
_ISSUE = ("repo_name", "issue_number", "title", "body", "author", "created_at", "comments")
#: The files beside it that may be there: their columns, which have to be there, which of them
#: have no nulls, and what is unique.
_BESIDE = {
    "issues.parquet": (
        {
            "repo_name": _TEXT,
            "issue_number": _NUMBER,
            "title": _TEXT,
            "body": _TEXT,
            "author": _TEXT,
            "created_at": _TEXT,
            "comments": _COMMENTS,
        },
        _ISSUE,
        ("repo_name", "issue_number", "title", "created_at"),
        ("repo_name", "issue_number"),
    ),
    "repositories.parquet": (
        {
            "repo_name": _TEXT,
            "description": _TEXT,
            "stars": _NUMBER,
            "topics": (r"VARCHAR\[\]", "VARCHAR[]"),
            "license": _TEXT,
            "default_branch": _TEXT,
            "created_at": _TEXT,
            "archived": ("BOOLEAN", "BOOLEAN"),
        },
        ("repo_name",),
        ("repo_name",),
        ("repo_name",),
    ),
}
_MERGED = "CAST(pr_merged_at AS TIMESTAMPTZ)"


@dataclasses.dataclass(frozen=True)
class OfflineSource:
    """Rows of an offline source, read per month with DuckDB; memory does not grow with the file."""

    path: Path

    @property
    def pull_requests_file(self) -> Path:
        return self.path / "pull_requests.parquet" if self.path.is_dir() else self.path

    @property
    def git(self) -> Path | None:
        """Folder of the repositories that came along, if any."""
        folder = self.path / "git"
        return folder if folder.is_dir() else None

    @property
    def version(self) -> str:
        """Changes whenever one of its files does."""
        names = ("pull_requests", "issues", "repositories")
        files = [self.pull_requests_file, *(self.path / f"{name}.parquet" for name in names)]
        stats = [file.stat() for file in dict.fromkeys(files) if file.is_file()]
        parts = [f"{stat.st_size}.{stat.st_mtime_ns}" for stat in stats]
        return " ".join([str(self.path), *parts])

    def check(self) -> None:
        """`UsageError` (one line) when the source cannot be used; a file is read once."""
        try:
            stat = self.pull_requests_file.stat()
        except OSError as error:
            raise UsageError(
                f"offline source {self.pull_requests_file}: {error.strerror}"
            ) from None
        _check(self.pull_requests_file, stat.st_mtime_ns, stat.st_size)
        for name in _BESIDE:
            self._beside(name)

    def repositories(
        self, start: datetime.datetime, end: datetime.datetime
    ) -> list[dict[str, Any]]:
        """Repositories with a pull request merged in [start, end), what is known of each."""
        found = self._merged("repo_name", start, end, "ALL")
        known = {r["repo_name"]: r for r in self._optional("repositories.parquet")}
        return [known.get(r["repo_name"], {}) | r for r in found]

    def pull_requests(
        self, start: datetime.datetime, end: datetime.datetime
    ) -> list[dict[str, Any]]:
        """Pull requests merged in [start, end), identical duplicates collapsed."""
        return self._merged(", ".join(_COLUMNS), start, end, "repo_name, pr_number")

    def issues(self) -> list[dict[str, Any]]:
        """All issues with their comments; empty when the source brings none."""
        return self._optional("issues.parquet")

    def _merged(
        self, columns: str, start: datetime.datetime, end: datetime.datetime, order: str
    ) -> list[dict[str, Any]]:
        """Columns of pull requests merged in [start, end), each combination once."""
        self.check()
        with _connect() as con:
            return _rows(
                con,
                f"SELECT DISTINCT {columns} FROM read_parquet(?) "
                f"WHERE {_MERGED} >= ? AND {_MERGED} < ? ORDER BY {order}",
                [str(self.pull_requests_file), start, end],
            )

    def _beside(self, name: str) -> Path | None:
        """A file that may be there, checked; None when it is not."""
        file = self.path / name
        if not file.is_file():
            return None
        stat = file.stat()
        _check_beside(file, stat.st_mtime_ns, stat.st_size)
        return file

    def _optional(self, name: str) -> list[dict[str, Any]]:
        file = self._beside(name)
        if file is None:
            return []
        with _readable(file):
            return pq.read_table(file).to_pylist()


@functools.lru_cache(maxsize=8)
def _check(file: Path, mtime_ns: int, size: int) -> None:
    """`mtime_ns` and `size` make a changed file be read again."""
    try:
        pq.ParquetFile(file).close()
    except (pa.ArrowInvalid, OSError):
        raise UsageError(f"offline source {file} is not a Parquet file") from None
    with _readable(file), _connect() as con:
        _check_columns(con, file, _COLUMNS, _COLUMNS)
        for column in _REQUIRED:
            where = f"{column} IS NULL"
            _refuse(con, file, where, f"has no {column}")
        _refuse(con, file, f"TRY_{_MERGED} IS NULL", "has a pr_merged_at that is not ISO 8601")
        _refuse(con, file, "pr_number < 1", "has a pr_number below 1")
        sha = "NOT regexp_full_match(pr_merge_commit_sha, '[0-9a-f]{40}')"
        _refuse(con, file, sha, "has a pr_merge_commit_sha that is not a full commit hash")
        for (name,) in con.execute(
            "SELECT DISTINCT repo_name FROM read_parquet(?)", [str(file)]
        ).fetchall():
            owner, _, repo = name.partition("/")
            try:
                git.check_repository(owner, repo)
            except UsageError as error:
                raise UsageError(f"offline source {file}: {error}") from None
        _refuse_conflicts(con, file)


@functools.lru_cache(maxsize=8)
def _check_beside(file: Path, mtime_ns: int, size: int) -> None:
    """The same for a file beside the pull requests, whose keys have to be unique."""
    columns, needed, required, key = _BESIDE[file.name]
    with _readable(file), _connect() as con:
        _check_columns(con, file, columns, needed)
        for column in required:
            found = f"SELECT count(*) FROM read_parquet(?) WHERE {column} IS NULL"
            if con.execute(found, [str(file)]).fetchall()[0][0]:
                raise UsageError(f"offline source {file} has a row without {column}")
        if "created_at" in required:
            found = "SELECT created_at FROM read_parquet(?) "
            found += "WHERE TRY_CAST(created_at AS TIMESTAMPTZ) IS NULL LIMIT 1"
            for (text,) in con.execute(found, [str(file)]).fetchall():
                raise UsageError(f"offline source {file}: {_short(text)} is not ISO 8601")
        keys = ", ".join(key)
        twice = f"SELECT {keys} FROM read_parquet(?) GROUP BY ALL HAVING count(*) > 1 LIMIT 1"
        for row in con.execute(twice, [str(file)]).fetchall():
            raise UsageError(f"offline source {file} has {_short('#'.join(map(str, row)))} twice")


def _check_columns(
    con: duckdb.DuckDBPyConnection,
    file: Path,
    columns: Mapping[str, tuple[str, str]],
    needed: Collection[str],
) -> None:
    described = con.execute("DESCRIBE SELECT * FROM read_parquet(?)", [str(file)]).fetchall()
    types = {name: kind for name, kind, *_ in described}
    for column, (pattern, wanted) in columns.items():
        if column not in types:
            if column in needed:
                raise UsageError(f"offline source {file} lacks the column {column}")
            continue
        if not re.fullmatch(pattern, types[column]):
            raise UsageError(
                f"offline source {file}: column {column} is {types[column]}, not {wanted}"
            )


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """DuckDB's errors about the file as ours; the footer of a damaged file may be intact."""
    try:
        yield
    except (duckdb.Error, pa.ArrowException, OSError) as error:
        raise UsageError(f"offline source {file} is damaged: {one_line(error)}") from None


def _refuse(con: duckdb.DuckDBPyConnection, file: Path, where: str, what: str) -> None:
    rows = con.execute(
        "SELECT file_row_number, repo_name, pr_number "
        f"FROM read_parquet(?, file_row_number = true) WHERE {where} LIMIT 1",
        [str(file)],
    ).fetchall()
    for row, repository, number in rows:
        raise UsageError(f"offline source {file}: row {row} ({_short(repository)}#{number}) {what}")


def _refuse_conflicts(con: duckdb.DuckDBPyConnection, file: Path) -> None:
    columns = ", ".join(_COLUMNS)
    keys = con.execute(
        "SELECT repo_name, pr_number FROM ("
        f"  SELECT repo_name, pr_number, hash({columns}) AS content FROM read_parquet(?)"
        ") GROUP BY ALL HAVING count(DISTINCT content) > 1 ORDER BY ALL LIMIT 1",
        [str(file)],
    ).fetchall()
    if not keys:
        return
    [key] = keys
    first, second, *_ = _rows(
        con,
        f"SELECT DISTINCT {columns} FROM read_parquet(?) WHERE repo_name = ? AND pr_number = ?",
        [str(file), *key],
    )
    differing = [c for c in _COLUMNS if first[c] != second[c]]
    shown = [{c: _short(row[c]) for c in differing} for row in (first, second)]
    raise UsageError(
        f"offline source {file} has two different {key[0]}#{key[1]}: {shown[0]} and {shown[1]}"
    )


def _short(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else text[:59] + "…"


@functools.cache
def _database() -> duckdb.DuckDBPyConnection:
    """One database in memory for the process; a query takes a cursor of it."""
    return duckdb.connect(config={"threads": min(2, os.cpu_count() or 1), "memory_limit": "512MB"})


#: DuckDB complains on standard error about a connection that outlives the interpreter.
atexit.register(_database.cache_clear)


def _connect() -> duckdb.DuckDBPyConnection:
    con = _database().cursor()
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    return con


def _rows(con: duckdb.DuckDBPyConnection, query: str, values: list[Any]) -> list[dict[str, Any]]:
    return con.sql(query, params=values).to_arrow_table().to_pylist()
