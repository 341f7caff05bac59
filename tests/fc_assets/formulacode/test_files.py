"""Parquet and manifest: the same bytes for the same records, and everything said in the file."""

import io

import pyarrow.parquet as pq
import pytest

from fc_assets.formulacode import files
from fc_assets.formulacode.files import Manifest, Withdrawal
from fc_assets.tables import FORMULACODE
from fc_resources.errors import PermanentError
from tests.fc_assets.formulacode import material


def test_the_same_records_are_the_same_bytes() -> None:
    one, two = material.rows(1), material.rows(2)
    first = files.to_parquet(files.table([*one, *two]))
    assert files.to_parquet(files.table([*two, *one])) == first
    assert files.to_parquet(files.from_parquet(first)) == first


def test_parquet_is_compressed_has_statistics_and_tells_what_columns_mean() -> None:
    file = pq.ParquetFile(io.BytesIO(files.to_parquet(material.table(1, 2))))
    group = file.metadata.row_group(0)
    columns = [group.column(index) for index in range(group.num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    assert all(column.is_stats_set for column in columns)
    told = {field.name: (field.metadata or {})[b"description"] for field in file.schema_arrow}
    declared = {c.name: c.doc.encode() for c in FORMULACODE.all_columns}
    assert told.keys() == declared.keys() - {"published_at"}
    assert all(told[name] == declared[name] for name in told)


def test_rows_are_in_the_order_of_their_key_and_without_when_they_were_published() -> None:
    found = files.table(material.rows(10, 2, 1, published_at=material.WHEN))
    assert found["issue_number"].to_pylist() == [1, 2, 10]
    assert "published_at" not in found.column_names


def test_only_measured_ones_are_faster() -> None:
    rows = [
        *material.rows(1),
        *material.rows(2, verdict=None),
        *material.rows(3, verdict="unknown"),
    ]
    assert files.faster(files.table(rows))["issue_number"].to_pylist() == [1]


def test_a_month_is_counted_by_what_the_card_shows() -> None:
    rows = [*material.rows(1), *material.rows(2, verdict="not_faster", license=None, best=0.5)]
    month = files.month("formulacode@2026-01", material.WHEN, files.table(rows))
    assert month.counts["verdict"] == {"faster": 1, "not_faster": 1}
    assert month.counts["license"] == {"MIT": 1, "not known": 1}
    assert month.counts["speedup"] == {"to 1.5x": 1}
    assert month.counts["repository"] == {"O-x/r": 2}
    assert {*month.records} == {"O-x__r-1", "O-x__r-2"}


def test_a_manifest_reads_as_it_was_written() -> None:
    month = files.month("formulacode@2026-01", material.WHEN, material.table(1))
    described = dict([files.described("data/2026-01.parquet", b"content")])
    manifest = Manifest(["formulacode@2026-01"], {"2026-01": month}, described, ["a", "b"])
    assert Manifest.load(manifest.dump()) == manifest
    one = Withdrawal("O-x__r-1", "it leaks", material.WHEN, "2026-01")
    assert files.load_withdrawn(files.dump_withdrawn([one])) == {one.task_id: one}


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"format": 2}', b'{"format": 1}', b"\xff"])
def test_a_manifest_that_cannot_be_read_is_refused(data: bytes) -> None:
    with pytest.raises(PermanentError, match="update formulacode-data"):
        Manifest.load(data)


@pytest.mark.parametrize("data", [b"", b"{}x", b"[1]", b'[{"task_id": "x"}]'])
def test_withdrawals_that_cannot_be_read_are_refused(data: bytes) -> None:
    with pytest.raises(PermanentError, match="update formulacode-data"):
        files.load_withdrawn(data)
