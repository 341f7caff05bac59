"""The published folder: whole files or none. What records hold is tested with `fc_assets`."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fc_resources.dataset_folder import DatasetFolder


@pytest.fixture
def folder(tmp_path: Path) -> DatasetFolder:
    return DatasetFolder(tmp_path / "published")


def _records(*ids: int) -> pa.Table:
    return pa.table({"id": pa.array(ids, pa.int64())})


def test_a_month_is_one_file_in_the_given_order(folder: DatasetFolder) -> None:
    path = folder.write("2026-01", _records(3, 1, 2))
    assert path == folder.path / "formulacode@2026-01.parquet"
    assert pq.read_table(path)["id"].to_pylist() == [3, 1, 2]


def test_months_are_counted_in_order(folder: DatasetFolder) -> None:
    assert folder.counts() == {}
    folder.write("2026-02", _records(1))
    folder.write("2025-12", _records(1, 2))
    folder.describe("# Data\n")
    assert list(folder.counts().items()) == [("2025-12", 2), ("2026-02", 1)]


def test_a_month_without_records_has_no_file(folder: DatasetFolder) -> None:
    assert folder.write("2026-01", _records()) is None
    folder.write("2026-01", _records(1))
    assert folder.write("2026-01", _records()) is None
    assert folder.counts() == {}


def test_a_failed_write_keeps_the_old_file_and_leaves_none_of_its_own(
    folder: DatasetFolder,
) -> None:
    path = folder.write("2026-01", _records(1))
    assert path is not None
    unwritable = pa.table({"id": pa.array([None], pa.null()), "bad": _dense_union()})
    with pytest.raises(pa.ArrowException):
        folder.write("2026-01", unwritable)
    with pytest.raises(UnicodeEncodeError):
        folder.describe("\ud800")
    assert [entry.name for entry in folder.path.iterdir()] == [path.name]
    assert pq.read_table(path)["id"].to_pylist() == [1]


def _dense_union() -> pa.Array:
    """A type that Parquet has no form for."""
    return pa.UnionArray.from_dense(
        pa.array([0], pa.int8()), pa.array([0], pa.int32()), [pa.array([1])]
    )


def test_files_can_be_read_by_others(folder: DatasetFolder) -> None:
    path = folder.write("2026-01", _records(1))
    assert path is not None
    assert path.stat().st_mode & 0o777 == 0o644


def test_a_reader_of_the_old_file_is_not_disturbed(folder: DatasetFolder) -> None:
    path = folder.write("2026-01", _records(1))
    assert path is not None
    with path.open("rb") as old:
        folder.write("2026-01", _records(2))
        assert pq.read_table(old)["id"].to_pylist() == [1]
