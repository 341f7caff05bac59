"""The offline source: what is refused and how it is said, and which rows belong to a window.

What a pull request becomes is tested with `fc_assets.pull_requests`.
"""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fc_resources.errors import UsageError
from fc_resources.offline import OfflineSource
from tests.samples import SCHEMA as _SCHEMA

_FROM = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
_TO = datetime.datetime(2026, 2, 1, tzinfo=datetime.UTC)


def _row(**changes: Any) -> dict[str, Any]:
    return {
        "repo_name": "own/repo",
        "pr_number": 1,
        "pr_title": "Make it faster",
        "pr_merged_at": "2026-01-15T12:00:00+00:00",
        "pr_merge_commit_sha": "a" * 40,
        "pr_base": {"sha": "b" * 40},
        "pr_labels": [{"name": "perf"}],
        **changes,
    }


def _write(path: Path, *rows: dict[str, Any], schema: pa.Schema = _SCHEMA) -> OfflineSource:
    pq.write_table(pa.Table.from_pylist(list(rows), schema), path)
    return OfflineSource(path)


def _refusal(source: OfflineSource) -> str:
    with pytest.raises(UsageError) as caught:
        source.check()
    text = str(caught.value)
    assert "\n" not in text
    assert str(source.pull_requests_file) in text
    return text


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "prs.parquet"


# Refused.


def test_a_missing_file(file: Path) -> None:
    assert "No such file" in _refusal(OfflineSource(file))


def test_a_folder_without_pull_requests(tmp_path: Path) -> None:
    assert "No such file" in _refusal(OfflineSource(tmp_path))


@pytest.mark.parametrize("content", [b"", b"PAR1", b"repo_name,pr_number\n", b"PAR1" * 99])
def test_what_is_not_parquet(file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert "is not a Parquet file" in _refusal(OfflineSource(file))


def test_a_file_with_damaged_pages(file: Path) -> None:
    source = _write(file, *(_row(pr_number=n, pr_body="x" * n) for n in range(1, 2000)))
    content = file.read_bytes()
    file.write_bytes(b"PAR1" + b"\xa5" * 4000 + content[4004:])
    _refusal(source)


@pytest.mark.parametrize("column", _SCHEMA.names)
def test_a_lacking_column(file: Path, column: str) -> None:
    schema = pa.schema([field for field in _SCHEMA if field.name != column])
    assert f"lacks the column {column}" in _refusal(_write(file, schema=schema))


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("pr_number", pa.string()),
        ("pr_number", pa.float64()),
        ("pr_number", pa.list_(pa.int64())),
        ("pr_title", pa.int64()),
        ("pr_title", pa.list_(pa.string())),
        ("pr_merged_at", pa.timestamp("us")),
        ("pr_base", pa.string()),
        ("pr_base", pa.struct([("ref", pa.string())])),
        ("pr_base", pa.list_(_SCHEMA.field("pr_base").type)),
        ("pr_labels", pa.list_(pa.string())),
        ("pr_labels", pa.struct([("name", pa.string())])),
    ],
)
def test_a_wrong_type(file: Path, column: str, wrong: pa.DataType) -> None:
    schema = _SCHEMA.set(_SCHEMA.names.index(column), pa.field(column, wrong))
    assert f"column {column} is " in _refusal(_write(file, schema=schema))


@pytest.mark.parametrize(
    "column", ["repo_name", "pr_number", "pr_merged_at", "pr_merge_commit_sha"]
)
def test_a_null_key_with_its_row(file: Path, column: str) -> None:
    source = _write(file, _row(), _row(**{column: None}))
    assert "row 1 " in _refusal(source)
    assert f"has no {column}" in _refusal(source)


@pytest.mark.parametrize("date", ["yesterday", "", "2026-13-01T00:00:00Z", "2026-02-30"])
def test_a_date_that_is_none(file: Path, date: str) -> None:
    text = _refusal(_write(file, _row(), _row(pr_number=2, pr_merged_at=date)))
    assert "row 1 (own/repo#2) has a pr_merged_at that is not ISO 8601" in text


@pytest.mark.parametrize("number", [0, -1])
def test_a_number_that_is_none(file: Path, number: int) -> None:
    assert "pr_number below 1" in _refusal(_write(file, _row(pr_number=number)))


@pytest.mark.parametrize("sha", ["abc", "A" * 40, "--output=x", "a" * 41])
def test_a_commit_that_is_none(file: Path, sha: str) -> None:
    assert "not a full commit hash" in _refusal(_write(file, _row(pr_merge_commit_sha=sha)))


@pytest.mark.parametrize(
    "name", ["../etc", "own/..", "own/re po", "-x/repo", "own/-x", "own", "own/", "o/a/b", "o\n/r"]
)
def test_a_repository_that_is_none(file: Path, name: str) -> None:
    assert "is not a repository name" in _refusal(_write(file, _row(), _row(repo_name=name)))


def test_different_rows_of_one_pull_request_with_both_shown(file: Path) -> None:
    rows = (_row(pr_title="Faster"), _row(pr_number=2), _row(pr_title="Slower\nreally"))
    text = _refusal(_write(file, *rows))
    assert "two different own/repo#1" in text
    assert "'Faster'" in text
    assert "'Slower really'" in text
    assert "pr_merged_at" not in text


# Accepted.


def test_identical_rows_are_one(file: Path) -> None:
    assert len(_write(file, _row(), _row(), _row()).pull_requests(_FROM, _TO)) == 1


def test_structs_may_have_more_fields_in_any_order(file: Path) -> None:
    more = pa.struct([("label", pa.string()), ("sha", pa.string())])
    labels = pa.list_(pa.struct([("id", pa.int64()), ("name", pa.string())]))
    schema = _SCHEMA.set(11, pa.field("pr_base", more)).set(13, pa.field("pr_labels", labels))
    [found] = _write(file, _row(), schema=schema).pull_requests(_FROM, _TO)
    assert found["pr_base"]["sha"] == "b" * 40
    assert found["pr_labels"][0]["name"] == "perf"


@pytest.mark.parametrize("kind", [pa.int32(), pa.uint64(), pa.int16()])
def test_any_integer_is_a_number(file: Path, kind: pa.DataType) -> None:
    schema = _SCHEMA.set(1, pa.field("pr_number", kind))
    assert _write(file, _row(), schema=schema).pull_requests(_FROM, _TO)[0]["pr_number"] == 1


@pytest.mark.parametrize(
    ("merged_at", "inside"),
    [
        ("2025-12-31T23:59:59.999999+00:00", False),
        ("2026-01-01T00:00:00+00:00", True),
        ("2026-01-01T00:00:00Z", True),
        ("2026-01-01T01:00:00+01:00", True),
        ("2026-01-01T00:59:59+01:00", False),
        ("2025-12-31T19:00:00-05:00", True),
        ("2026-01-31T23:59:59.999999+00:00", True),
        ("2026-01-31T23:59:59-00:30", False),
        ("2026-02-01T00:00:00+00:00", False),
        ("2026-02-01T00:30:00+01:00", True),
    ],
)
def test_a_window_is_half_open_whatever_the_offset(
    file: Path, merged_at: str, inside: bool
) -> None:
    source = _write(file, _row(pr_merged_at=merged_at))
    assert bool(source.pull_requests(_FROM, _TO)) == inside
    assert bool(source.repositories(_FROM, _TO)) == inside


def test_rows_are_in_order_of_repository_and_number(file: Path) -> None:
    keys = [("b/b", 2), ("a/a", 10), ("a/a", 9)]
    source = _write(file, *(_row(repo_name=name, pr_number=number) for name, number in keys))
    found = source.pull_requests(_FROM, _TO)
    assert [(row["repo_name"], row["pr_number"]) for row in found] == sorted(keys)
    assert [row["repo_name"] for row in source.repositories(_FROM, _TO)] == ["a/a", "b/b"]


@pytest.mark.parametrize("name", ["a b.parquet", "it's.parquet", "x[1]*.parquet"])
def test_any_file_name_will_do(tmp_path: Path, name: str) -> None:
    assert len(_write(tmp_path / name, _row()).pull_requests(_FROM, _TO)) == 1


def test_a_changed_file_is_checked_again(file: Path) -> None:
    source = _write(file, _row())
    source.check()
    version = source.version
    _write(file, _row(pr_merged_at="never"), _row(pr_number=2))
    assert "ISO 8601" in _refusal(source)
    assert source.version != version


# A folder.


def _table(path: Path, *rows: dict[str, Any]) -> None:
    pq.write_table(pa.Table.from_pylist(list(rows)), path)


_ISSUE = {
    "repo_name": "own/repo",
    "issue_number": 3,
    "title": "Slow",
    "body": "It is.",
    "author": "ana",
    "created_at": "2026-01-01T00:00:00Z",
    "comments": [{"author": "bo", "created_at": "2026-01-02T00:00:00Z", "body": "Yes."}],
}


@pytest.mark.parametrize(
    ("issues", "message"),
    [
        ([{k: v for k, v in _ISSUE.items() if k != "author"}], "lacks the column author"),
        ([{**_ISSUE, "issue_number": "3"}], "issue_number is VARCHAR, not an integer"),
        ([_ISSUE, {**_ISSUE, "title": None}], "has a row without title"),
        ([{**_ISSUE, "created_at": "yesterday"}], "yesterday is not ISO 8601"),
        ([_ISSUE, {**_ISSUE, "title": "Fast"}], "own/repo#3 twice"),
        ([{**_ISSUE, "comments": [{"text": "hm"}]}], "column comments is"),
    ],
)
def test_issues_that_cannot_be_used_are_refused_before_anything_runs(
    tmp_path: Path, issues: list[dict[str, Any]], message: str
) -> None:
    _write(tmp_path / "pull_requests.parquet", _row())
    pq.write_table(pa.Table.from_pylist(issues), tmp_path / "issues.parquet")
    with pytest.raises(UsageError, match=message):
        OfflineSource(tmp_path).check()


def test_a_folder_may_bring_repositories_issues_and_git(tmp_path: Path) -> None:
    _write(tmp_path / "pull_requests.parquet", _row(), _row(repo_name="own/plain", pr_number=2))
    source = OfflineSource(tmp_path)
    assert (source.issues(), source.git) == ([], None)
    _table(tmp_path / "repositories.parquet", {"repo_name": "own/repo", "stars": 7})
    _table(tmp_path / "issues.parquet", _ISSUE)
    (tmp_path / "git").mkdir()
    found = {row["repo_name"]: row for row in source.repositories(_FROM, _TO)}
    assert found == {
        "own/repo": {"repo_name": "own/repo", "stars": 7},
        "own/plain": {"repo_name": "own/plain"},
    }
    assert [issue["issue_number"] for issue in source.issues()] == [3]
    assert source.git == tmp_path / "git"


@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("issues", lambda source: source.issues()),
        ("repositories", lambda source: source.repositories(_FROM, _TO)),
    ],
)
def test_a_damaged_companion_is_a_usage_error(
    tmp_path: Path, name: str, read: Callable[[OfflineSource], Any]
) -> None:
    _write(tmp_path / "pull_requests.parquet", _row())
    for damage in (lambda f: f.write_bytes(b"no"), lambda f: _table(f, {"other": 1})):
        damage(tmp_path / f"{name}.parquet")
        with pytest.raises(UsageError, match=f"{name}.parquet") as caught:
            read(OfflineSource(tmp_path))
        assert "\n" not in str(caught.value)
