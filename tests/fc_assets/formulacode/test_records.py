"""Which tasks become records, where their images go, and what the folder says."""

import datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fc_assets.formulacode import asset, records
from fc_assets.tables import FORMULACODE
from fc_resources.dataset_folder import DatasetFolder
from fc_resources.docker import Docker
from fc_resources.warehouse import Rows

_JANUARY = datetime.date(2026, 1, 1)
_WHEN = datetime.datetime(2026, 1, 15, tzinfo=datetime.UTC)


def _task(**changes: Any) -> records.Task:
    parts: dict[str, Any] = {
        "candidate": {
            "owner": "O-x",
            "repo": "r",
            "issue_number": 3,
            "merged_at": _WHEN,
            "statement": "It is slow.",
            "leak_suspected": False,
            "reason": None,
            "extractor": "rules/1",
        },
        "pull_request": {"patch": "diff", "diff_source": "git"},
        "classification": {"category": "c", "difficulty": "easy", "classifier": "rules/1"},
        "container": {
            "sha": "a" * 40,
            "base_sha": "b" * 40,
            "python_version": "3.12",
            "origin": "stock",
            "sandbox": "process",
            "image": None,
        },
        "environment": {"pins": ["asv==0.6.5"]},
        "repository": {"license": "MIT"},
    }
    for name, change in changes.items():
        parts[name] = change if change is None else {**parts[name], **change}
    return records.Task(**parts)


def test_a_record_fits_its_table_and_tells_where_it_was_verified(tmp_path: Path) -> None:
    answer = records.publish(_task(), Docker(tmp_path), None)
    [row] = FORMULACODE.batch([{"partition_month": _JANUARY, **answer.rows[0]}]).to_pylist()
    assert row["task_id"] == "O-x__r-3"
    assert (row["gt_hash"], row["base_commit"]) == ("a" * 40, "b" * 40)
    assert (row["sandbox"], row["image_name"], row["image_digest"]) == ("process", None, None)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"container": None}, "no verified container"),
        ({"environment": None}, "no verified container"),
        ({"pull_request": {"patch": None, "diff_source": "unreachable"}}, "no patch (unreachable)"),
        (
            {"candidate": {"statement": None, "reason": "no linked issue"}},
            "no problem statement: no linked issue",
        ),
        ({"candidate": {"leak_suspected": True, "reason": "names x"}}, "leak suspected: names x"),
    ],
)
def test_what_stands_against_a_record_keeps_it_out_with_the_reason(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    answer = records.publish(_task(**changes), Docker(tmp_path), None)
    assert (list(answer.rows), answer.note) == ([], reason)


def test_image_names_do_not_collide() -> None:
    assert records.image_name("a-b", "c", 1) != records.image_name("a", "b-c", 1)
    assert records.image_name("A", "B", 1) == "a-b:1"


def _rows(month: datetime.date, numbers: list[int]) -> Rows:
    [record] = records.publish(_task(), Docker(Path("/")), None).rows
    made = [{"partition_month": month, **record, "issue_number": n} for n in numbers]
    return Rows(FORMULACODE.schema, [month], lambda: [FORMULACODE.batch(made)])


def test_a_month_is_replaced_whole_sorted_and_described(tmp_path: Path) -> None:
    folder = DatasetFolder(tmp_path)
    asset.export(_rows(_JANUARY, [5, 1]), folder)
    [path] = asset.export(_rows(_JANUARY, [9, 2, 4]), folder)
    assert path.name == "formulacode@2026-01.parquet"
    assert pq.read_table(path)["issue_number"].to_pylist() == [2, 4, 9]
    readme = (tmp_path / "README.md").read_text()
    assert "| 2026-01 | 3 |" in readme
    assert all(f"`{column.name}`" in readme for column in FORMULACODE.columns)


def test_a_month_without_records_has_no_file(tmp_path: Path) -> None:
    folder = DatasetFolder(tmp_path)
    asset.export(_rows(_JANUARY, [1]), folder)
    assert asset.export(_rows(_JANUARY, []), folder) == []
    assert folder.counts() == {}
    assert [p.name for p in tmp_path.iterdir()] == ["README.md"]
